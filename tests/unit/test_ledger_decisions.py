"""Tests of what was judged: changes only, holds, observations, old rules."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import pytest

from tests.builders import T0, a_task, an_observation
from triaged.ledger import Ledger, decisions
from triaged.ledger.decisions import DecisionRecord
from triaged.ledger.holds import Hold
from triaged.ledger.location import LedgerLocation
from triaged.rules.conditions import DuplicateOf, Keep
from triaged.rules.context import EvaluationContext
from triaged.rules.task import (
    Decision,
    HumanDecision,
    LeaveCause,
    ProposedDismissal,
    Task,
)

LATER: Final = T0 + timedelta(hours=1)
COPY: Final = DuplicateOf(("description",), Keep.OLDEST)
SEEN: Final = ProposedDismissal("watch", "testing")


@pytest.fixture
def ledger(place: LedgerLocation) -> Iterator[Ledger]:
    with Ledger.open(place) as opened:
        yield opened


def left(task: Task | None = None, cause: LeaveCause = LeaveCause.NO_RULE) -> Decision:
    return Decision(task or a_task(), cause)


def remember(
    ledger: Ledger,
    *decisions: Decision,
    rules: str = "ab12",
    at: datetime = T0,
    spare: dict[str, bool] | None = None,
) -> int:
    return ledger.decisions.save(
        decisions,
        rules_sha256=rules,
        context=EvaluationContext(at, {COPY: spare or {}}),
        duplicates=[COPY] if spare is not None else [],
        at=at,
    )


def test_a_judgement_is_remembered_whole(ledger: Ledger) -> None:
    """All that a decision was made of and by is kept."""
    task = a_task(description="Müller")
    decision = Decision(task, LeaveCause.HELD, "clutter", "testing", (SEEN,))
    count = remember(ledger, decision, spare={"task-1": True})

    assert count == 1
    assert ledger.decisions.latest("task-1") == DecisionRecord(
        task_id="task-1",
        decided_at=T0,
        cause=LeaveCause.HELD,
        rule="clutter",
        reason="testing",
        observed=("watch",),
        duplicate_flags=(True,),
        rules_sha256="ab12",
        task=dict(task.raw),
    )


def test_a_dismissal_has_no_cause(ledger: Ledger) -> None:
    """A decision to dismiss reads back as one, and an unclear copy as unclear."""
    remember(ledger, Decision(a_task(), None, "clutter", "testing"), spare={})
    last = ledger.decisions.latest("task-1")
    assert last is not None

    assert (last.cause, last.duplicate_flags) == (None, (None,))


def test_an_unknown_task_was_not_judged(ledger: Ledger) -> None:
    """There is no judgement on what was never listed."""
    assert ledger.decisions.latest("nobody") is None


def test_the_same_judgement_is_not_written_again(ledger: Ledger) -> None:
    """A decision that did not change keeps the moment when it was made."""
    remember(ledger, left())
    again = remember(ledger, left(), at=LATER)
    last = ledger.decisions.latest("task-1")
    assert last is not None

    assert (again, last.decided_at) == (0, T0)


@pytest.mark.parametrize(
    ("decision", "rules"),
    [
        (left(cause=LeaveCause.YOUNG), "ab12"),
        (left(cause=LeaveCause.NO_RULE), "cd34"),
        (left(a_task(description="other")), "ab12"),
        (Decision(a_task(), LeaveCause.NO_RULE, "clutter"), "ab12"),
        (Decision(a_task(), None), "ab12"),
        (Decision(a_task(), LeaveCause.NO_RULE, observed=(SEEN,)), "ab12"),
    ],
)
def test_every_change_is_written(
    ledger: Ledger, decision: Decision, rules: str
) -> None:
    """Another cause, rule, ruleset, content or observation is another judgement."""
    remember(ledger, left())
    changed = remember(ledger, decision, rules=rules, at=LATER)
    last = ledger.decisions.latest("task-1")
    assert last is not None

    assert (changed, last.decided_at) == (1, LATER)
    assert (last.cause, last.rule) == (decision.cause, decision.rule)
    assert last.observed == tuple(seen.rule for seen in decision.observed)


def test_a_task_without_id_is_not_remembered(ledger: Ledger) -> None:
    """What nobody can ask for is not kept."""
    assert remember(ledger, left(a_task(id=None), LeaveCause.MALFORMED)) == 0


def test_a_task_without_id_hides_no_other(ledger: Ledger) -> None:
    """Those listed after a task without id are remembered all the same."""
    nameless = left(a_task(id=None), LeaveCause.MALFORMED)

    assert remember(ledger, nameless, left()) == 1
    assert ledger.decisions.latest("task-1") is not None


def test_a_long_list_is_remembered_whole(ledger: Ledger) -> None:
    """Rows are written in portions, and each of them is kept and counted."""
    decisions = [left(a_task(id=str(number))) for number in range(2_500)]

    assert remember(ledger, *decisions) == 2_500
    assert remember(ledger, *decisions) == 0
    for number in (0, 999, 1_000, 1_999, 2_000, 2_499):
        assert ledger.decisions.latest(str(number)) is not None


def test_left_last_is_newest_first(ledger: Ledger) -> None:
    """The page shows the last decisions to leave, those of a cycle by id."""
    remember(ledger, left(a_task(id="old")))
    remember(
        ledger,
        left(a_task(id="b"), LeaveCause.YOUNG),
        left(a_task(id="a"), LeaveCause.HELD),
        Decision(a_task(id="going"), None, "clutter", "testing"),
        at=LATER,
    )

    assert [j.task_id for j in ledger.decisions.latest_left(9)] == ["a", "b", "old"]
    assert [j.cause for j in ledger.decisions.latest_left(1)] == [LeaveCause.HELD]


def test_wanted_is_counted_by_what_keeps_it(ledger: Ledger) -> None:
    """Only tasks that a rule wants dismissed count, each under its cause."""
    before = ledger.decisions.count_wanted()
    remember(
        ledger,
        Decision(a_task(id="a"), LeaveCause.OVER_CAP, "clutter", "testing"),
        Decision(a_task(id="b"), LeaveCause.OVER_CAP, "clutter", "testing"),
        Decision(a_task(id="c"), LeaveCause.HELD, "clutter", "testing"),
        left(a_task(id="d"), LeaveCause.LEAVE_RULE),
    )

    assert before == {}
    assert ledger.decisions.count_wanted() == {
        LeaveCause.OVER_CAP: 2,
        LeaveCause.HELD: 1,
    }


def test_only_the_newest_decisions_are_kept(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is bounded in rows and in bytes, whatever is listed."""
    monkeypatch.setattr(decisions, "MAX_DECISIONS", 2)
    for age, task_id in enumerate("abc"):
        remember(ledger, left(a_task(id=task_id)), at=T0 + timedelta(minutes=age))
    by_rows = ledger.decisions.trim(), ledger.decisions.latest("a")
    monkeypatch.setattr(decisions, "MAX_DECISION_BYTES", 1)

    assert by_rows == (1, None)
    assert ledger.decisions.trim() == 2


def test_rules_are_kept_by_their_hash(ledger: Ledger) -> None:
    """The text of old rules is there when a decision is explained."""
    ledger.rulesets.save("ab12", "version: 1 # ü", at=T0)
    ledger.rulesets.save("ab12", "version: 1 # ü", at=LATER)

    assert ledger.rulesets.source("ab12") == "version: 1 # ü"
    assert ledger.rulesets.source("cd34") is None


def test_exactly_these_holds_are_kept(ledger: Ledger) -> None:
    """A hold that was not seen again has ended, the others go on."""
    a, b, c = (Hold(task_id, "clutter", "f1") for task_id in "abc")
    ledger.holds.replace({a: T0, b: T0})
    ledger.holds.replace({b: T0, c: LATER})
    kept = ledger.holds.all()
    ledger.holds.replace(dict(kept))
    same = ledger.holds.all()
    ledger.holds.replace({})

    assert kept == same == {b: T0, c: LATER}
    assert ledger.holds.all() == {}


def test_an_observation_is_new_once(ledger: Ledger) -> None:
    """Each task counts once for a rule, however often it is seen."""
    other = an_observation(rule="other")
    first = ledger.observations.record([an_observation(), an_observation()], at=T0)
    again = ledger.observations.record([an_observation(), other], at=LATER)

    assert (first, again) == ([an_observation()], [other])


def test_a_changed_rule_takes_its_observations_with_it(ledger: Ledger) -> None:
    """A pair seen before is not new, but is evidence for the rule as it is now."""
    ledger.observations.record([an_observation()], at=T0)
    ledger.feedback.record({"task-1": HumanDecision.DISMISSED}, at=LATER)
    before = ledger.feedback.evidence("watch", "f1", since=T0, after=None)
    again = ledger.observations.record([an_observation(fingerprint="f2")], at=LATER)

    assert (before, again) == ((1, 0), [])
    assert ledger.feedback.evidence("watch", "f1", since=T0, after=None) == (0, 0)
    assert ledger.feedback.evidence("watch", "f2", since=T0, after=None) == (1, 0)


@pytest.mark.parametrize("day", [T0, T0 + timedelta(days=1) - timedelta.resolution])
def test_observed_on_a_day_is_by_rule(ledger: Ledger, day: datetime) -> None:
    """What was seen first on that UTC day counts, from its first moment to its last."""
    tomorrow = T0 + timedelta(days=1)
    ledger.observations.record([an_observation("a")], at=T0 - timedelta.resolution)
    of_today = [an_observation(each) for each in ("a", "b", "e")]
    ledger.observations.record(of_today, at=T0)
    ledger.observations.record(
        [an_observation("c"), an_observation("a", rule="other")],
        at=tomorrow - timedelta.resolution,
    )
    ledger.observations.record([an_observation("d")], at=tomorrow)

    assert ledger.observations.count_on(day) == {"watch": 3, "other": 1}


def test_prune_forgets_what_is_old(place: LedgerLocation) -> None:
    """Judgements and observations from before the moment go, the others stay."""
    with Ledger.open(place) as ledger:
        remember(ledger, left(a_task(id="old")))
        remember(ledger, left(a_task(id="young")), at=LATER)
        ledger.observations.record([an_observation("old")], at=T0)
        ledger.observations.record([an_observation("young")], at=LATER)
        pruned = ledger.prune(before=LATER)
        seen = [an_observation(each) for each in ("old", "young")]
        new = ledger.observations.record(seen, at=LATER)

        assert pruned == 2
        assert ledger.decisions.latest("old") is None
        assert ledger.decisions.latest("young") is not None
        assert len(new) == 1


def test_workspaces_judge_for_themselves(place: LedgerLocation) -> None:
    """Neither judgements, holds nor observations reach another workspace."""
    with (
        Ledger.open(place, workspace="a") as a,
        Ledger.open(place, workspace="b") as b,
    ):
        remember(a, left(cause=LeaveCause.OVER_CAP))
        a.holds.replace({Hold("task-1", "clutter", "f1"): T0})
        a.observations.record([an_observation()], at=T0)
        theirs = (
            b.decisions.latest("task-1"),
            b.decisions.latest_left(9),
            b.decisions.times(),
            b.observations.count_on(T0),
            b.decisions.count_wanted(),
            b.holds.all(),
            b.prune(before=LATER),
            b.observations.record([an_observation()], at=T0),
        )

        assert theirs == (None, [], {}, {}, {}, {}, 0, [an_observation()])
        assert list(a.decisions.times()) == ["task-1"]
