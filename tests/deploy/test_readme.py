"""The operators' page: files, links and commands that it names exist."""

import re

import pytest

from tests.deploy.external_tools import DEPLOY, ROOT
from triaged.cli import COMMAND_MODULES

PAGE = (DEPLOY / "README.md").read_text()


def section(title: str) -> str:
    """Return what stands under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# "deploy/triaged" is how kubectl calls the Deployment.
PATHS = set(re.findall(r"(?<![\w/])(?:tests/)?deploy/[\w./-]+\w", PAGE)) - {
    "deploy/triaged"
}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_every_file_named_is_there(path: str) -> None:
    """A path on the page leads to a file or a directory."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize("place", ["systemd", "Container", "Kubernetes"])
@pytest.mark.parametrize("task", ["Upgrade", "Roll back", "New rules", "by hand"])
def test_every_place_says_how(place: str, task: str) -> None:
    """Each way to run it says how to do what an operator has to do."""
    assert task in section(place)


@pytest.mark.parametrize("task", ["Rotate the key", "Back up the ledger"])
def test_every_place_has_its_way(task: str) -> None:
    """Key and ledger are looked after in all three places."""
    assert all(f"**{p}**" in section(task) for p in ("systemd", "Container"))
    assert "**Kubernetes**" in section(task)


def test_links_within_the_page_lead_somewhere() -> None:
    """Each link to a heading has its heading."""
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors


def test_links_to_other_pages_lead_somewhere() -> None:
    """Each link to a file has its file."""
    for link in re.findall(r"\]\(([\w/.-]+)\)", PAGE):
        assert (DEPLOY / link).exists(), link


@pytest.mark.parametrize("page", ["README.md", "kubernetes/README.md"])
def test_the_commands_it_names_exist(page: str) -> None:
    """Whatever an operator is told to run is a command of this version."""
    text = (DEPLOY / page).read_text()
    named = set(re.findall(r"`triaged ([a-z]+)", text))
    named |= set(re.findall(r"triaged(?:-manual)? (?:-- )?triaged ([a-z]+)", text))
    named |= set(re.findall(r"^triaged ([a-z]+)", text, re.MULTILINE))

    assert {"history", "backup"} <= named
    assert named <= set(COMMAND_MODULES)
