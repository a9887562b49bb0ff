"""Rules that act by evidence: promoted, audited, demoted, and started anew."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.builders import T0, a_task
from tests.fakes import TriageHarness
from triaged.ledger.flags import FlagName
from triaged.ledger.location import LedgerLocation
from triaged.ledger.observations import ObservationKind
from triaged.rules.conditions import TypeIn
from triaged.rules.describe import rule_fingerprint
from triaged.rules.evidence import (
    EVIDENCE_LIFETIME,
    is_audited,
    mode_in_force,
    rules_in_force,
)
from triaged.rules.rule import DEFAULT_AUDIT, Mode, Promotion, Rule, Ruleset
from triaged.rules.task import Change, LeaveCause
from triaged.triage.evidence import change_mode, promote_by_evidence
from triaged.triage.feedback import REFRESH_INTERVAL

RULES: Final = r"""
version: 1
safety: {max_share_of_pending: 1.0}
rules:
  - name: watch
    mode: observe
    promote: {agreement: 0.5, tasks: 5}
    audit: AUDIT
    match: {description: '^\[TEST\]'}
    dismiss: testing
"""
ACTING: Final = RULES.replace("mode: observe", "mode: enforce")
RULE: Final = Rule(name="watch", match=TypeIn(("a",)), reason="testing")


def rules(text: str = RULES, *, audit: str = "0") -> str:
    return text.replace("AUDIT", audit)


@pytest.fixture
def harness(place: LedgerLocation) -> Iterator[TriageHarness]:
    harness = TriageHarness(place)
    harness.rules(rules())
    yield harness
    harness.ledger.close()


async def settle(harness: TriageHarness, **statuses: str) -> None:
    """Let people settle tasks, and a day pass until triaged asks for it."""
    for task_id, status in statuses.items():
        harness.leadlex.tasks[task_id]["status"] = status
    harness.clock.advance(REFRESH_INTERVAL.total_seconds() + 1)
    await harness.cycle()


async def observe_and_settle(
    harness: TriageHarness, prefix: str, dismissed: int, approved: int = 0
) -> None:
    ids = [f"{prefix}{number}" for number in range(dismissed + approved)]
    harness.leadlex.add(*ids)
    await harness.cycle()
    statuses = {
        task_id: "dismissed" if number < dismissed else "approved"
        for number, task_id in enumerate(ids)
    }
    await settle(harness, **statuses)


def mode(harness: TriageHarness) -> Mode:
    rule = harness.ready.ruleset.rules[0]
    return mode_in_force(rule, harness.ledger.rule_changes.changes())


@pytest.mark.anyio
async def test_a_rule_is_promoted_once_people_agreed(harness: TriageHarness) -> None:
    """It acts from the cycle on in which its evidence suffices, and says by what."""
    await observe_and_settle(harness, "t", dismissed=5)
    harness.leadlex.add("next")
    with capture_logs() as logs:
        await harness.cycle()

    (change,) = harness.ledger.rule_changes.since(None)
    assert (change.change, change.by) == (Change.PROMOTED, "")
    assert (change.evidence["dismissed"], change.evidence["approved"]) == (5, 0)
    assert harness.leadlex.tasks["next"]["status"] == "dismissed"
    assert "rule.promoted" in [log["event"] for log in logs]
    assert harness.ledger.counters.values("rule_changes") == {("watch", "promoted"): 1}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("dismissed", "approved"), [(4, 0), (5, 5)], ids=["too few", "too divided"]
)
async def test_without_the_evidence_it_goes_on_observing(
    harness: TriageHarness, dismissed: int, approved: int
) -> None:
    """Number and lower bound must both be reached."""
    await observe_and_settle(harness, "t", dismissed=dismissed, approved=approved)
    await harness.cycle()

    assert mode(harness) is Mode.OBSERVE


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["breaker", "clock", "age", "dry run"])
async def test_nothing_is_promoted_in_doubt(harness: TriageHarness, what: str) -> None:
    """An open breaker, a wrong clock, old evidence or a dry run promote nothing."""
    await observe_and_settle(harness, "t", dismissed=5)
    ledger, now = harness.ledger, harness.clock.now()
    ruleset, skew = harness.ready.ruleset, timedelta(0)
    if what == "breaker":
        ledger.flags.set(FlagName.BREAKER, reason="too many", at=now)
    if what == "clock":
        skew = timedelta(minutes=3)
    if what == "age":
        now += EVIDENCE_LIFETIME + timedelta(days=2)
    if what == "dry run":
        await harness.cycle(dry_run=True)
    else:
        assert promote_by_evidence(ledger, ruleset, now=now, clock_skew=skew) == ()

    assert mode(harness) is Mode.OBSERVE


@pytest.mark.anyio
async def test_a_changed_rule_starts_anew(harness: TriageHarness) -> None:
    """Neither the promotion nor the evidence of another match or reason counts."""
    await observe_and_settle(harness, "t", dismissed=5)
    await harness.cycle()
    before = mode(harness)
    harness.rules(rules().replace("dismiss: testing", "dismiss: not_relevant"))
    harness.leadlex.add("next")
    await harness.cycle()

    assert (before, mode(harness)) == (Mode.ENFORCE, Mode.OBSERVE)
    assert harness.leadlex.tasks["next"]["status"] == "pending"


@pytest.mark.anyio
async def test_audited_tasks_are_left_and_recorded(harness: TriageHarness) -> None:
    """Such a share of its matches stays with people, under a cause of its own."""
    harness.rules(rules(ACTING, audit="0.5"))
    ids = [f"t{number}" for number in range(20)]
    harness.leadlex.add(*ids)
    report = await harness.cycle()
    again = await harness.cycle()
    rule = harness.ready.ruleset.rules[0]
    audited = {task_id for task_id in ids if is_audited(rule, a_task(id=task_id))}
    kept = {k for k, t in harness.leadlex.tasks.items() if t["status"] == "pending"}

    assert 0 < len(audited) < 20
    assert kept == audited
    assert report.left_by_cause[LeaveCause.AUDIT] == len(audited)
    assert again.left_by_cause[LeaveCause.AUDIT] == len(audited)
    seen = harness.ledger.observations.query(limit=99)
    assert {each.task_id for each in seen} == audited
    assert {each.kind for each in seen} == {ObservationKind.AUDITED}
    assert harness.ledger.counters.values("observed") == {}


@pytest.mark.anyio
async def test_one_approved_audit_demotes(harness: TriageHarness) -> None:
    """The rule observes again before anything more of it is dismissed."""
    harness.rules(rules(ACTING, audit="1"))
    harness.leadlex.add("audited", "right")
    await harness.cycle()
    with capture_logs() as logs:
        await settle(harness, audited="approved", right="dismissed")
    harness.rules(rules(ACTING, audit="0"))
    harness.leadlex.add("next")
    await harness.cycle()

    (change,) = harness.ledger.rule_changes.since(None)
    assert (change.change, change.evidence["task_id"]) == (Change.DEMOTED, "audited")
    assert harness.leadlex.tasks["next"]["status"] == "pending"
    assert "rule.demoted" in [log["event"] for log in logs]


@pytest.mark.anyio
async def test_an_approved_observation_demotes_nothing(harness: TriageHarness) -> None:
    """Only the control group of an acting rule speaks against it."""
    await observe_and_settle(harness, "t", dismissed=5, approved=1)

    assert harness.ledger.rule_changes.since(None) == []


@pytest.mark.anyio
async def test_it_returns_by_new_evidence_only(harness: TriageHarness) -> None:
    """What people did before the demotion does not promote it again."""
    await observe_and_settle(harness, "t", dismissed=5)
    rule = harness.ready.ruleset.rules[0]
    at = harness.clock.now()
    change_mode(harness.ledger, rule, Change.PROMOTED, {}, at)
    change_mode(
        harness.ledger, rule, Change.DEMOTED, {}, at + timedelta(microseconds=1)
    )
    harness.clock.advance(1)
    await harness.cycle()
    before = mode(harness)
    await observe_and_settle(harness, "n", dismissed=5)
    await harness.cycle()

    assert (before, mode(harness)) == (Mode.OBSERVE, Mode.ENFORCE)


@pytest.mark.anyio
async def test_a_demotion_holds_what_is_about_to_leave(harness: TriageHarness) -> None:
    """A rule that is demoted while its tasks are sent dismisses nothing more."""
    harness.rules(rules(ACTING))
    harness.leadlex.add(*(f"t{number}" for number in range(9)))
    rule = harness.ready.ruleset.rules[0]

    def demote() -> None:
        if not harness.ledger.rule_changes.since(None):
            change_mode(harness.ledger, rule, Change.DEMOTED, {}, harness.clock.now())

    harness.leadlex.before_dismiss = demote
    await harness.cycle()
    gone = [t for t in harness.leadlex.tasks.values() if t["status"] == "dismissed"]

    assert len(gone) == 1


@pytest.mark.parametrize("given_mode", Mode)
@pytest.mark.parametrize("change", [None, *Change])
def test_which_mode_is_in_force(given_mode: Mode, change: Change | None) -> None:
    """A change decides over enforce and observe; what is off stays off."""
    rule = Rule(name="r", match=RULE.match, reason="testing", mode=given_mode)
    changes = {} if change is None else {"r": {rule_fingerprint(rule): change}}
    expected = {
        (Mode.ENFORCE, Change.DEMOTED): Mode.OBSERVE,
        (Mode.OBSERVE, Change.PROMOTED): Mode.ENFORCE,
    }.get((given_mode, change), given_mode)  # type: ignore[arg-type]

    assert mode_in_force(rule, changes) is expected


def test_a_rule_that_leaves_never_changes() -> None:
    """It stays as it is written, whatever the ledger says of its name."""
    rule = Rule(name="r", match=RULE.match, reason=None, mode=Mode.ENFORCE)
    ruleset = Ruleset(rules=(rule,))
    changes = {"r": {rule_fingerprint(rule): Change.DEMOTED}}

    assert rules_in_force(ruleset, changes) is ruleset


@given(st.text(), st.floats(0, 1))
def test_a_task_always_falls_the_same_way(task_id: str, share: float) -> None:
    """Whether it is audited depends on rule and task only; a larger share keeps it."""
    smaller = Rule(name="r", match=RULE.match, reason="x", audit=share)
    larger = Rule(name="r", match=RULE.match, reason="x", audit=min(1.0, share * 2))
    task = a_task(id=task_id)

    assert is_audited(smaller, task) == is_audited(smaller, a_task(id=task_id))
    assert is_audited(smaller, task) <= is_audited(larger, task)


def test_the_audited_share_is_about_as_large_as_written() -> None:
    """Of many tasks, the share that is audited is near the one in the file."""
    rule = Rule(name="r", match=RULE.match, reason="x", audit=0.05)
    audited = sum(is_audited(rule, a_task(id=str(n))) for n in range(10_000))

    assert 400 < audited < 600


def test_rules_with_promote_are_audited_unless_they_say_otherwise() -> None:
    """One in twenty by default; 0 only if it is written."""
    earned = Promotion(agreement=0.9, tasks=40)
    plain = Rule(name="r", match=RULE.match, reason="x")
    by_default = Rule(name="r", match=RULE.match, reason="x", promote=earned)
    never = Rule(name="r", match=RULE.match, reason="x", promote=earned, audit=0.0)

    shares = [rule.audited_share for rule in (plain, by_default, never)]
    assert shares == [0, DEFAULT_AUDIT, 0]


def test_the_ledger_knows_what_was_in_force_then(harness: TriageHarness) -> None:
    """An explanation of the past applies the changes up to its moment only."""
    rule = harness.ready.ruleset.rules[0]
    change_mode(harness.ledger, rule, Change.PROMOTED, {}, T0)
    later = T0 + timedelta(hours=1)
    change_mode(harness.ledger, rule, Change.DEMOTED, {}, later, by="ann")
    stored = harness.ledger.rule_changes

    assert stored.changes(at=T0)["watch"] == {rule_fingerprint(rule): Change.PROMOTED}
    assert stored.changes()["watch"] == {rule_fingerprint(rule): Change.DEMOTED}
    assert [change.by for change in stored.since(T0)] == ["ann"]
