"""Tests of intents and outcomes: durable, settled once, found again."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from tests.builders import T0, a_task, an_intent
from triaged.ledger import Ledger
from triaged.ledger.dismissals import (
    DismissalFilter,
    DismissalRecord,
    Dismissals,
    FinalOutcome,
    Intent,
    Outcome,
    Source,
)
from triaged.ledger.location import LedgerLocation

MOMENT: Final = timedelta.resolution
DAY: Final = timedelta(days=1)

# Records an intent and is killed at once, as by `kill -9`.
DYING: Final = """
import os, signal, sys
from pathlib import Path
from tests.builders import an_intent
from triaged.ledger import Ledger
from triaged.ledger.location import LedgerLocation
place = LedgerLocation(Path(sys.argv[1]), sys.argv[2] or None)
Ledger.open(place).dismissals.record_intent(an_intent())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def ledger(place: LedgerLocation) -> Iterator[Ledger]:
    with Ledger.open(place) as ledger:
        yield ledger


@pytest.fixture
def dismissals(ledger: Ledger) -> Dismissals:
    return ledger.dismissals


def only(entries: list[DismissalRecord]) -> DismissalRecord:
    (entry,) = entries
    return entry


def ids(entries: list[DismissalRecord]) -> list[str]:
    return [entry.task_id for entry in entries]


def settled(dismissals: Dismissals, outcome: Outcome | None, intent: Intent) -> str:
    entry_id = dismissals.record_intent(intent)
    if outcome is not None:
        dismissals.record_outcome(entry_id, outcome, at=T0)
    return entry_id


def test_an_intent_is_remembered_whole(dismissals: Dismissals) -> None:
    """All that explains a dismissal is kept, and no outcome is made up."""
    intent = an_intent(task=a_task(description="Müller \U0001f600"))
    entry_id = dismissals.record_intent(intent)

    assert only(dismissals.unresolved()) == DismissalRecord(
        id=entry_id,
        task_id="task-1",
        rule="clutter",
        reason="testing",
        source=Source.DAEMON,
        cycle="cycle-1",
        decided_at=T0,
        outcome=None,
        resolved_at=None,
        request_id=None,
        detail=None,
        rules_sha256="ab12",
        content_sha256=intent.task.content_hash(),
        task=dict(intent.task.raw),
        trace={"rule": "clutter"},
    )


def test_each_intent_has_its_id(dismissals: Dismissals) -> None:
    """Each intent gets an id of its own."""
    first = dismissals.record_intent(an_intent("a"))
    second = dismissals.record_intent(an_intent("b"))
    dismissals.record_outcome(first, Outcome.CONFIRMED, at=T0)
    rest = only(dismissals.unresolved())

    assert (rest.id, rest.task_id) == (second, "b")


def test_no_intent_without_an_id() -> None:
    """A task without an id cannot be meant."""
    with pytest.raises(ValueError, match="cannot be dismissed"):
        _ = an_intent(task=a_task(id=None)).task_id


def test_an_intent_survives_a_kill(place: LedgerLocation) -> None:
    """What was meant just before a SIGKILL is found open afterwards."""
    process = subprocess.run(
        [sys.executable, "-c", DYING, str(place.directory), place.url or ""],
        check=False,
        timeout=60,
    )

    assert process.returncode == -signal.SIGKILL
    with Ledger.open(place, create=False) as ledger:
        assert ids(ledger.dismissals.unresolved()) == ["task-1"]


def test_an_outcome_is_remembered(dismissals: Dismissals) -> None:
    """The outcome is kept with its moment, the request and the detail."""
    entry_id = dismissals.record_intent(an_intent())
    dismissals.record_outcome(
        entry_id, Outcome.REJECTED, at=T0 + DAY, request_id="req_1", detail="no"
    )
    entry = only(dismissals.query(DismissalFilter()))

    assert (entry.outcome, entry.resolved_at) == (Outcome.REJECTED, T0 + DAY)
    assert (entry.request_id, entry.detail) == ("req_1", "no")
    assert dismissals.unresolved() == []


@pytest.mark.parametrize("outcome", [each for each in Outcome if each != "unknown"])
def test_an_outcome_is_settled_once(dismissals: Dismissals, outcome: Outcome) -> None:
    """What is settled stays, whatever comes later."""
    entry_id = settled(dismissals, outcome, an_intent())
    dismissals.record_outcome(entry_id, Outcome.UNKNOWN, at=T0 + DAY, detail="late")
    entry = only(dismissals.query(DismissalFilter()))

    assert (entry.outcome, entry.resolved_at, entry.detail) == (outcome, T0, None)


def test_a_recheck_does_not_move_the_time_of_an_outcome(
    dismissals: Dismissals,
) -> None:
    """An attempt that is found failed again failed when it was found so first."""
    entry_id = dismissals.record_intent(an_intent())
    dismissals.record_outcome(entry_id, Outcome.UNKNOWN, at=T0)
    dismissals.record_outcome(entry_id, Outcome.FAILED, at=T0 + MOMENT, recheck=True)
    dismissals.record_outcome(entry_id, Outcome.FAILED, at=T0 + DAY)

    assert only(dismissals.query(DismissalFilter())).resolved_at == T0 + MOMENT
    assert dismissals.to_recheck() == []


def test_an_unknown_outcome_settles_later(dismissals: Dismissals) -> None:
    """Unknown stays open; settling it keeps the request that was made."""
    entry_id = dismissals.record_intent(an_intent())
    dismissals.record_outcome(
        entry_id, Outcome.UNKNOWN, at=T0, request_id="r", detail="cut"
    )
    still_open = ids(dismissals.unresolved())
    dismissals.record_outcome(entry_id, Outcome.CONFIRMED, at=T0 + DAY)
    entry = only(dismissals.query(DismissalFilter()))

    assert still_open == ["task-1"]
    assert (entry.outcome, entry.resolved_at) == (Outcome.CONFIRMED, T0 + DAY)
    assert (entry.request_id, entry.detail) == ("r", "cut")
    assert dismissals.unresolved() == []


@pytest.mark.parametrize(
    ("outcome", "is_closed"),
    [
        (Outcome.CONFIRMED, True),
        (Outcome.ALREADY_HANDLED, True),
        (Outcome.GONE, True),
        (Outcome.REJECTED, True),
        (Outcome.UNKNOWN, False),
        (Outcome.FAILED, False),
        (None, False),
    ],
)
def test_what_closes_a_task(
    dismissals: Dismissals, outcome: Outcome | None, *, is_closed: bool
) -> None:
    """Only outcomes that speak against trying again close a task."""
    settled(dismissals, outcome, an_intent())
    closed = dismissals.final_outcomes(["task-1", "task-2"])

    assert (closed == {}) is not is_closed
    for each in closed.get("task-1", []):
        assert each == FinalOutcome(Outcome(str(outcome)), a_task().content_hash(), T0)


def test_what_rules_did_is_told_from_what_people_did(dismissals: Dismissals) -> None:
    """A rule's dismissal counts as its own even while unknown; a person's has why."""
    settled(dismissals, Outcome.CONFIRMED, an_intent("by-rule"))
    settled(dismissals, Outcome.FAILED, an_intent("failed"))
    dismissals.record_intent(an_intent("unknown"))
    by_hand = an_intent("by-hand", rule=None, reason="duplicate", source=Source.HAND)
    settled(dismissals, Outcome.CONFIRMED, by_hand)

    assert dismissals.by_rules() == {"by-rule", "unknown"}
    assert dismissals.reasons_by_hand() == {"by-hand": "duplicate"}


def test_closed_gives_all_and_only_what_was_asked(dismissals: Dismissals) -> None:
    """A task may be closed more than once, and others are not told."""
    for outcome in (Outcome.REJECTED, Outcome.CONFIRMED):
        settled(dismissals, outcome, an_intent("a"))
    settled(dismissals, Outcome.GONE, an_intent("b"))
    closed = dismissals.final_outcomes(["a"])

    assert sorted(each.outcome for each in closed["a"]) == ["confirmed", "rejected"]
    assert closed.keys() == {"a"}
    assert dismissals.final_outcomes([]) == {}


def test_closed_takes_a_workspace_of_any_size(dismissals: Dismissals) -> None:
    """More ids than one statement can take are asked for in parts."""
    settled(dismissals, Outcome.GONE, an_intent("39999"))

    assert dismissals.final_outcomes([str(n) for n in range(40_000)]).keys() == {
        "39999"
    }


@pytest.mark.parametrize(
    ("decided_at", "counts"),
    [(T0 - MOMENT, 0), (T0, 1), (T0 + DAY - MOMENT, 1), (T0 + DAY, 0)],
)
def test_a_day_is_a_utc_day_to_the_moment(
    dismissals: Dismissals, decided_at: datetime, counts: int
) -> None:
    """What counts for a day lies from its midnight to before the next."""
    settled(dismissals, Outcome.CONFIRMED, an_intent(decided_at=decided_at))
    spent = dismissals.count_by_rule(T0 + timedelta(hours=13))

    assert sum(spent.values()) == counts


def test_spent_is_what_may_have_been_done(dismissals: Dismissals) -> None:
    """Open, unknown and confirmed dismissals are spent; others did nothing."""
    for number, outcome in enumerate([*Outcome, None]):
        settled(dismissals, outcome, an_intent(str(number)))
    settled(dismissals, None, an_intent("hand", rule=None, source=Source.HAND))

    assert dismissals.count_by_rule(T0) == {"clutter": 3, None: 1}


def test_all_moments_of_a_day_ask_for_the_same_day(dismissals: Dismissals) -> None:
    """A cycle late in the day counts what was dismissed at its first moment."""
    dismissals.record_intent(an_intent(decided_at=T0))

    for asked_at in (
        T0,
        T0 + timedelta(hours=9, minutes=5, seconds=7),
        T0 + DAY - MOMENT,
    ):
        assert dismissals.count_by_rule(asked_at) == {"clutter": 1}


@pytest.mark.parametrize("year", [1, 9999])
def test_the_first_and_the_last_day_of_the_calendar(
    dismissals: Dismissals, year: int
) -> None:
    """A day without a day before or after it has a count like any other."""
    assert dismissals.count_by_rule(datetime(year, 12, 31, 23, 59, tzinfo=UTC)) == {}


def test_find_filters_by_all_that_is_given(dismissals: Dismissals) -> None:
    """Each filter restricts, together they are ANDed, and none gives all."""
    other = an_intent("b", rule="other", reason="duplicate", decided_at=T0 + DAY)
    settled(dismissals, Outcome.CONFIRMED, an_intent("a"))
    settled(dismissals, Outcome.FAILED, other)
    found = {
        "all": DismissalFilter(),
        "since": DismissalFilter(since=T0 + MOMENT),
        "since at the edge": DismissalFilter(since=T0),
        "task": DismissalFilter(task_id="b"),
        "rule": DismissalFilter(rule="clutter"),
        "reason": DismissalFilter(reason="duplicate"),
        "outcome": DismissalFilter(outcome=Outcome.CONFIRMED),
        "both": DismissalFilter(rule="clutter", outcome=Outcome.FAILED),
        "newest": DismissalFilter(last=1),
        "newest first": DismissalFilter(last=9),
        "newest of a rule": DismissalFilter(rule="clutter", last=9),
        "no SQL": DismissalFilter(task_id="' OR 1=1 --"),
    }

    assert {name: ids(dismissals.query(search)) for name, search in found.items()} == {
        "all": ["a", "b"],
        "since": ["b"],
        "since at the edge": ["a", "b"],
        "task": ["b"],
        "rule": ["a"],
        "reason": ["b"],
        "outcome": ["a"],
        "both": [],
        "newest": ["b"],
        "newest first": ["b", "a"],
        "newest of a rule": ["a"],
        "no SQL": [],
    }


def test_prune_keeps_what_is_young_or_open(ledger: Ledger) -> None:
    """Only settled dismissals from before the moment are forgotten."""
    dismissals = ledger.dismissals
    settled(dismissals, Outcome.CONFIRMED, an_intent("old"))
    settled(dismissals, Outcome.UNKNOWN, an_intent("unknown"))
    settled(dismissals, None, an_intent("open"))
    settled(dismissals, Outcome.CONFIRMED, an_intent("young", decided_at=T0 + MOMENT))
    pruned = ledger.prune(before=T0 + MOMENT)

    assert pruned == 1
    assert set(ids(dismissals.query(DismissalFilter()))) == {"unknown", "open", "young"}


def test_workspaces_do_not_see_each_other(place: LedgerLocation) -> None:
    """One file may serve two workspaces, and neither counts for the other."""
    with (
        Ledger.open(place, workspace="a") as a,
        Ledger.open(place, workspace="b") as b,
    ):
        settled(a.dismissals, Outcome.CONFIRMED, an_intent())
        a.dismissals.record_intent(an_intent("open"))
        seen = (
            b.dismissals.query(DismissalFilter()),
            b.dismissals.unresolved(),
            b.dismissals.final_outcomes(["task-1"]),
            b.dismissals.count_by_rule(T0),
            b.prune(before=T0 + DAY),
        )

        assert seen == ([], [], {}, {}, 0)
        assert len(a.dismissals.query(DismissalFilter())) == 2
