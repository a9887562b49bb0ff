"""The operators' page: what it says is there, and what it says to run works."""

import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import T0
from tests.deploy.parts import DEPLOY, ROOT
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName

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


def test_the_backup_is_whole_while_the_daemon_works(tmp_path: Path) -> None:
    """The copy has what is in the write-ahead log alone, and nothing is disturbed."""
    script = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)[0]
    script = script.replace("/var/lib/triaged", str(tmp_path / "state"))
    copy = tmp_path / "copy" / "ledger.sqlite3"
    copy.parent.mkdir()
    with Ledger(tmp_path / "state", workspace="default") as ledger:
        ledger.flags.set(FlagName.PAUSED, note="holidays", at=T0)
        assert (tmp_path / "state/ledger.sqlite3-wal").stat().st_size > 0
        done = subprocess.run(
            [sys.executable, "-"],
            input=script.encode(),
            capture_output=True,
            check=True,
        )

    copy.write_bytes(done.stdout)
    with contextlib.closing(sqlite3.connect(copy)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Ledger(copy.parent, workspace="default") as restored:
        mark = restored.flags.get(FlagName.PAUSED)
        assert mark is not None
        assert mark.reason == "holidays"
