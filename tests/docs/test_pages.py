"""The pages agree with the code and with each other."""

import re
import shutil
from pathlib import Path

import pytest

from docs.generate import DOCS, LOG_EVENTS, log_events, pages
from tests.docs.blocks import PAGES, ROOT, blocks
from triaged.clock import SystemClock
from triaged.rulesfile.loader import load_rules

LINKING = (*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")))


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return pages()


def test_what_comes_from_the_code_is_fresh(generated: dict[str, str]) -> None:
    """Reference and pictures are what ``python docs/generate.py`` writes now."""
    differs = [n for n, text in generated.items() if (DOCS / n).read_text() != text]

    assert differs == []


def test_every_log_event_has_its_sentence() -> None:
    """An event that is logged is described, and one that is not is not."""
    assert set(log_events()) == set(LOG_EVENTS)


def test_the_picture_asks_no_other_host() -> None:
    """A reader of the README tells no third party."""
    picture = (DOCS / "images/plan.svg").read_text()

    assert set(re.findall(r"https?://[^\s\"')]+", picture)) == {
        "http://www.w3.org/2000/svg"
    }


@pytest.mark.parametrize("page", LINKING, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a page has its file."""
    links = re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    """A page that exists can be found, and a page that is named exists."""
    named = set(
        re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    )

    assert named == {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")}


RULES = [
    (page, block.text)
    for page in PAGES
    for block in blocks(page)
    if block.language == "yaml" and block.text.startswith("version:")
]


@pytest.mark.parametrize(
    ("page", "text"), RULES, ids=lambda it: it.name if isinstance(it, Path) else ""
)
def test_rules_on_a_page_work(page: Path, text: str, tmp_path: Path) -> None:
    """Each rules file on a page loads without a warning, and its tests pass."""
    for listed in (DOCS / "recipes").glob("*.txt"):
        shutil.copy(listed, tmp_path)
    (tmp_path / page.with_suffix(".yaml").name).write_text(text)
    _, loaded = load_rules(
        tmp_path / page.with_suffix(".yaml").name, now=SystemClock().now()
    )

    assert loaded.warnings == ()
    assert loaded.tests
