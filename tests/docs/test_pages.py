"""The pages agree with the code and with each other."""

import re
import shutil
from pathlib import Path

import pytest

from docs.generate import DOCS, pages
from docs.log_events import LOG_EVENTS, log_events
from tests.docs.blocks import PAGES, ROOT, blocks
from triaged.clock import SystemClock
from triaged.daemon.page_forms import FORM_SECONDS, MAX_FORM_BYTES
from triaged.daemon.request_filter import PER_PEER, TOTAL
from triaged.daemon.serving import IDLE_SECONDS, MAX_CONNECTIONS, MAX_HEADER_BYTES
from triaged.leadlex.connection import TOTAL_TIMEOUT
from triaged.leadlex.list_decoder import (
    MAX_DECODED_CHARS,
    MAX_ENTRY_CHARS,
    MAX_HELD_BYTES,
    MAX_TASKS,
)
from triaged.leadlex.protocol import MAX_BODY_BYTES, MAX_LIST_BYTES, MIB
from triaged.ledger.decisions import MAX_DECISION_BYTES, MAX_DECISIONS
from triaged.rulesfile.loader import load_rules
from triaged.rulesfile.parser.nodes import MAX_BYTES, MAX_DEPTH
from triaged.settings import DEFAULT_RETENTION
from triaged.triage.last_check import MAX_LIST_AGE

LINKING = (*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")))


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return pages()


def test_what_comes_from_the_code_is_fresh(generated: dict[str, str]) -> None:
    """Reference and pictures are what ``python -m docs.generate`` writes now."""
    differs = [n for n, text in generated.items() if (DOCS / n).read_text() != text]

    assert differs == []


def test_every_log_event_has_its_sentence() -> None:
    """An event that is logged is described, and one that is not is not."""
    assert set(log_events()) == set(LOG_EVENTS)


@pytest.mark.parametrize("name", ["plan.svg", "page.svg"])
def test_a_picture_asks_no_other_host(name: str) -> None:
    """A reader of the README tells no third party."""
    picture = (DOCS / "images" / name).read_text()

    assert set(re.findall(r"https?://[^\s\"')]+", picture)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xhtml",
    }
    assert "<script" not in picture


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


def test_the_example_rules_are_clean() -> None:
    """rules.example.yaml loads without a warning and passes its own tests."""
    _, loaded = load_rules(ROOT / "rules.example.yaml", now=SystemClock().now())

    assert loaded.warnings == ()


def test_the_readme_is_read_in_two_minutes() -> None:
    """It has fewer words than people read in that time, commands and links included."""
    assert len((ROOT / "README.md").read_text().split()) < 650


@pytest.mark.parametrize(
    "claim",
    [
        f"{MAX_DECISIONS:,} of them and {MAX_DECISION_BYTES // MIB} MiB of task text",
        f"{MAX_LIST_BYTES // MIB} MiB, {MAX_TASKS:,} tasks",
        f"{MAX_HELD_BYTES // MIB} MiB in memory",
        f"{MAX_ENTRY_CHARS // MIB} MiB of characters for an entry",
        f"{MAX_DECODED_CHARS // MIB} MiB for one that is decoded",
        f"{TOTAL_TIMEOUT:.0f} seconds in all",
        f"bounded at {MAX_BODY_BYTES // MIB} MiB",
        f"at most {MAX_HEADER_BYTES // 1024} KiB, {MAX_CONNECTIONS:,} connections",
        f"{IDLE_SECONDS} seconds for an idle connection",
        f"at most {MAX_FORM_BYTES // 1024} KiB within {FORM_SECONDS:.0f} seconds",
        f"{PER_PEER.per_second} a second from one peer",
        f"{TOTAL.per_second} a second in all",
        f"a list of at most {MAX_LIST_AGE.seconds // 60} minutes",
        f"size ({MAX_BYTES // MIB} MiB) and nesting ({MAX_DEPTH})",
        f"({DEFAULT_RETENTION.days} days)",
    ],
)
def test_limits_in_security_are_those_of_the_code(claim: str) -> None:
    """A limit that SECURITY.md states is the one in force."""
    assert claim in (ROOT / "SECURITY.md").read_text()
