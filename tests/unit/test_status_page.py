"""The page for people: everything that matters, nothing that a task could steer."""

import re
from datetime import timedelta
from html import unescape

from tests.builders import T0
from triaged.daemon.health import Health
from triaged.daemon.status_page import StatusPageData, render_page
from triaged.ledger.decisions import DecisionRecord
from triaged.ledger.dismissals import DismissalRecord, Outcome, Source
from triaged.ledger.holds import Hold
from triaged.quota import QuotaLimiter, QuotaSettings
from triaged.rules.rule import Ruleset
from triaged.rules.task import LeaveCause
from triaged.rulesfile.loader import parse

STARTER = QuotaSettings.for_plan("starter")
RULES = b"""
version: 1
rules:
  - name: clutter
    hold: 24h
    match: {description: '^TEST'}
    dismiss: testing
"""


def an_entry(description: str) -> DismissalRecord:
    return DismissalRecord(
        id="e1",
        task_id="t1",
        rule="clutter",
        reason="testing",
        source=Source.DAEMON,
        cycle="c1",
        decided_at=T0,
        outcome=Outcome.CONFIRMED,
        resolved_at=T0,
        request_id=None,
        detail=None,
        rules_sha256="0",
        content_sha256="0",
        task={"description": description, "metadata": {"secret": "metadata-secret"}},
        trace={},
    )


def a_page(**given: object) -> str:
    ruleset: Ruleset = parse(RULES, "rules.yaml").ruleset
    facts: dict[str, object] = {
        "workspace": "acme",
        "now": T0,
        "dry_run": False,
        "health": Health(heartbeat_at=T0, interval=timedelta(minutes=5)),
        "quota": QuotaLimiter(QuotaSettings.for_plan("starter")).snapshot(
            T0.timestamp()
        ),
        "ruleset": ruleset,
        "paused": None,
        "breaker": None,
        "spent": {"clutter": 3},
        "observed": {"clutter": 7},
        "held": (),
        "recent": (),
        "left": (),
        **given,
    }
    return render_page(StatusPageData(**facts))  # type: ignore[arg-type]


def cells(page: str) -> list[str]:
    """Return the text of all table cells, as a reader sees it."""
    return [unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page)]


def test_it_shows_the_state_of_things() -> None:
    """QuotaLimiter, rules and what each did today are there at a glance."""
    page = a_page()

    assert "100 of 100 calls left, 20 of them kept" in page
    assert "at work · not paused · breaker closed" in page
    assert cells(page)[:5] == ["clutter", "dismiss as testing", "enforce", "3", "7"]


def test_it_warns() -> None:
    """Pause, breaker and refused rules are said with their reasons."""
    health = Health(heartbeat_at=T0, interval=timedelta(minutes=5))
    health.rules_rejected = "rules.yaml:2:8: expected"
    page = a_page(paused="audit week", breaker="40 of 50", health=health)

    for said in ("audit week", "40 of 50", "rules.yaml:2:8", "no cycle has succeeded"):
        assert said in page


def test_held_tasks_say_until_when() -> None:
    """A held task is listed with the moment at which its hold ends."""
    held = ((Hold("t9", "clutter", "f"), T0 - timedelta(hours=23)),)

    assert "t9 clutter 2026-03-01 01:00:00 UTC" in " ".join(cells(a_page(held=held)))


def test_decisions_say_why() -> None:
    """What stays is listed with its cause, as text."""
    stays = DecisionRecord(
        task_id="t7",
        decided_at=T0,
        cause=LeaveCause.YOUNG,
        rule="clutter",
        reason="testing",
        observed=(),
        duplicate_flags=(),
        rules_sha256="0",
        task={"description": "<i>x</i>", "metadata": {"secret": "metadata-secret"}},
    )
    page = a_page(left=[stays])

    assert "t7 <i>x</i> young clutter" in " ".join(cells(page))
    assert "metadata-secret" not in page


def test_text_of_tasks_is_only_text() -> None:
    """Markup and control characters are shown, never obeyed; metadata is not shown."""
    page = a_page(recent=[an_entry("<script>x</script>\x1b[31m\u202e")])

    assert "<script>" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "metadata-secret" not in page
