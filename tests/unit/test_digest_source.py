"""Tests of what the ledger tells digest and alerts, from real cycles."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0, an_intent
from tests.fakes import TriageHarness
from triaged.ledger.dismissals import Outcome
from triaged.ledger.flags import FlagName
from triaged.ledger.notifications import NotificationOutcome
from triaged.ledger.rule_changes import RuleChange
from triaged.ledger.state import StateName
from triaged.rules.task import Change, HumanDecision
from triaged.triage.agreement import Agreement
from triaged.triage.digest import Digest
from triaged.triage.digest_source import digest_begins, read_alerts, read_digest

DAY = timedelta(days=1)
HELD_RULES = r"""
version: 1
safety: {max_share_of_pending: 1.0}
rules:
  - name: slow
    hold: 20h
    match: {description: '^\[TEST\]'}
    dismiss: testing
"""

pytestmark = pytest.mark.anyio


@pytest.fixture
def harness(tmp_path: Path) -> TriageHarness:
    return TriageHarness(tmp_path)


def digest_of(harness: TriageHarness, *problems: str) -> Digest:
    now = harness.clock.now()
    return read_digest(
        harness.ledger,
        since=digest_begins(harness.ledger, now),
        now=now,
        problems=problems,
    )


def save_rules(harness: TriageHarness, **rule: object) -> None:
    """Store the state of a daemon, as it does after each cycle."""
    harness.ledger.state.save(StateName.DAEMON, {"rules": [rule]}, at=T0)


async def test_a_cycle_is_told_by_rule(harness: TriageHarness) -> None:
    """What was dismissed with examples, what was observed, nothing of what was left."""
    harness.leadlex.add("t1", "t2", "t3", "t4")
    harness.leadlex.add("t5", description="an ordinary task")
    await harness.cycle()
    harness.clock.advance(60)
    digest = digest_of(harness)

    row = digest.dismissed[0]
    assert (row.rule, row.reason, row.count) == ("clutter", "testing", 4)
    assert len(row.examples) == 3
    assert all(e.description == f"[TEST] {e.task_id}" for e in row.examples)
    assert [(seen.rule, seen.count) for seen in digest.observed] == [("watch", 4)]
    assert digest.problems == ()


async def test_the_next_digest_begins_where_the_last_one_ended(
    harness: TriageHarness,
) -> None:
    """Nothing is told twice, and nothing is left out."""
    harness.leadlex.add("t1")
    await harness.cycle()
    harness.clock.advance(60)
    before = digest_of(harness)
    harness.ledger.notifications.begin(["digest 1"], at=harness.clock.now())
    harness.ledger.notifications.settle(
        ["digest 1"], NotificationOutcome.SENT, at=harness.clock.now()
    )
    nothing = digest_of(harness)
    harness.clock.advance(60)
    harness.leadlex.add("t2", "t3")
    await harness.cycle()

    counts = [d.dismissed_total for d in (before, nothing, digest_of(harness))]
    assert counts == [1, 0, 2]


@pytest.mark.parametrize(
    ("outcome", "covered"),
    [
        (NotificationOutcome.SENT, True),
        (NotificationOutcome.PARTIAL, True),
        (NotificationOutcome.QUIET, True),
        (NotificationOutcome.FAILED, False),
        (NotificationOutcome.UNKNOWN, False),
        (None, False),
    ],
)
async def test_what_people_may_not_have_read_is_told_again(
    harness: TriageHarness, outcome: NotificationOutcome | None, *, covered: bool
) -> None:
    """A digest that may not have arrived does not end a period."""
    harness.ledger.notifications.begin(["digest 1"], at=T0 - 2 * timedelta(hours=1))
    if outcome is not None:
        harness.ledger.notifications.settle(["digest 1"], outcome, at=T0)

    begin = T0 - 2 * timedelta(hours=1) if covered else T0 - DAY
    assert digest_begins(harness.ledger, T0) == begin


async def test_holds_of_acting_rules_are_planned(harness: TriageHarness) -> None:
    """With the time at which they end; those of an observing rule dismiss nothing."""
    harness.rules(HELD_RULES)
    harness.leadlex.add("t1")
    await harness.cycle()
    save_rules(harness, name="slow", mode="enforce", hold_seconds=72_000)
    acting = digest_of(harness)
    save_rules(harness, name="slow", mode="observe", hold_seconds=72_000)
    observing = digest_of(harness)

    (planned,) = acting.planned
    assert planned.due == T0 + timedelta(hours=20)
    assert (planned.task.task_id, planned.task.description) == ("t1", "[TEST] t1")
    assert observing.planned_total == 0


async def test_agreement_is_told_when_people_decided(harness: TriageHarness) -> None:
    """Of this period, and over all time; what triaged dismissed is no agreement."""
    harness.leadlex.add("t1", "t2", "t3")
    await harness.cycle(dry_run=True)
    feedback = harness.ledger.feedback
    feedback.record({"t1": HumanDecision.DISMISSED}, at=T0 - 2 * DAY)
    feedback.record({"t2": HumanDecision.APPROVED}, at=T0)
    rows = {row.rule: row for row in digest_of(harness).observed}

    assert rows["watch"].decided == Agreement(0, 1)
    assert rows["watch"].agreement == Agreement(1, 1)
    assert rows["watch"].count == 3


async def test_what_needs_a_person_is_told(harness: TriageHarness) -> None:
    """Breaker, pause and old unknown outcomes from the ledger, the rest as given."""
    ledger, now = harness.ledger, harness.clock.now()
    ledger.flags.set(FlagName.BREAKER, reason="30 of 40", at=now)
    ledger.flags.set(FlagName.PAUSED, reason="audit", by="lex@laptop", at=now)
    for task_id, hours in (("new", 0), ("old", 2)):
        decided_at = now - timedelta(hours=hours)
        ledger.dismissals.record_intent(an_intent(task_id, decided_at=decided_at))
    problems = digest_of(harness, "Not ready: x.").problems

    assert [text.split()[:3] for text in problems] == [
        ["The", "breaker", "has"],
        ["Dismissing", "has", "been"],
        ["1", "dismissal", "was"],
        ["Not", "ready:", "x."],
    ]
    assert "by lex@laptop since" in problems[1]
    assert "(audit)" in problems[1]


async def test_a_dismissal_resolved_later_is_told_then(harness: TriageHarness) -> None:
    """An outcome that a later list told belongs to the day on which it did."""
    dismissals = harness.ledger.dismissals
    entry = dismissals.record_intent(an_intent("t1", decided_at=T0 - 3 * DAY))
    dismissals.record_outcome(entry, Outcome.CONFIRMED, at=T0)

    assert digest_of(harness).dismissed_total == 1


async def test_events_come_from_flags_and_changes(harness: TriageHarness) -> None:
    """An open breaker, however old, and the changes of the last day."""
    ledger = harness.ledger
    ledger.flags.set(FlagName.BREAKER, reason="x", at=T0 - 9 * DAY)
    for hours, change in ((30, Change.PROMOTED), (2, Change.DEMOTED)):
        ledger.rule_changes.record(
            RuleChange(
                rule="a",
                fingerprint="f1",
                change=change,
                at=T0 - timedelta(hours=hours),
                by="lex",
                evidence={},
            )
        )
    alerts = read_alerts(ledger, T0)

    assert [(a.kind, a.detail) for a in alerts] == [
        ("breaker", "x"),
        ("demoted", "lex"),
    ]
    assert [c.is_promotion for c in digest_of(harness).changes] == [False]


async def test_many_dismissals_are_counted_and_few_are_listed(
    harness: TriageHarness,
) -> None:
    """By rule and reason, those by hand apart; a text that is none is empty."""
    dismissals = harness.ledger.dismissals
    with harness.ledger.transaction():
        for number in range(40):
            rule = None if number % 4 == 0 else "clutter"
            entry = dismissals.record_intent(an_intent(f"t{number}", rule=rule))
            dismissals.record_outcome(entry, Outcome.CONFIRMED, at=T0)
        for outcome in (Outcome.GONE, Outcome.REJECTED, Outcome.FAILED):
            entry = dismissals.record_intent(an_intent(f"x{outcome}"))
            dismissals.record_outcome(entry, outcome, at=T0)
    rows = digest_of(harness).dismissed

    assert [(row.rule, row.count, len(row.examples)) for row in rows] == [
        ("clutter", 30, 3),
        (None, 10, 3),
    ]
