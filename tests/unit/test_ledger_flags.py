"""Tests of vetoes, marks, totals and the quota as they outlive a process."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.builders import T0
from triaged.ledger import Ledger
from triaged.ledger.flags import Flag, FlagName
from triaged.ledger.location import LedgerLocation
from triaged.ledger.state import SETTLED_TASKS_KEPT, StateName

LATER = T0 + timedelta(hours=1)


@pytest.fixture
def ledger(place: LedgerLocation) -> Iterator[Ledger]:
    with Ledger.open(place) as opened:
        yield opened


def test_a_mark_keeps_since_when(ledger: Ledger) -> None:
    """Setting a mark again changes its note and not its moment."""
    first = ledger.flags.set(FlagName.PAUSED, reason="lunch", at=T0)
    again = ledger.flags.set(FlagName.PAUSED, reason="long lunch", at=LATER)

    assert (first, again) == (True, False)
    assert ledger.flags.get(FlagName.PAUSED) == Flag(T0, "long lunch")
    assert ledger.flags.get(FlagName.BREAKER) is None


def test_a_mark_is_removed_once(ledger: Ledger) -> None:
    """Removing says whether there was something to remove."""
    ledger.flags.set(FlagName.BREAKER, reason="", at=T0)

    assert [
        ledger.flags.clear(FlagName.BREAKER),
        ledger.flags.clear(FlagName.BREAKER),
    ] == [
        True,
        False,
    ]
    assert ledger.flags.get(FlagName.BREAKER) is None


def test_a_veto_holds_until_it_is_lifted(ledger: Ledger) -> None:
    """Vetoing and lifting say whether they changed anything."""
    changed = [
        ledger.vetoes.add("a", at=T0),
        ledger.vetoes.add("a", at=LATER),
        ledger.vetoes.add("b", at=T0),
    ]
    vetoed = ledger.vetoes.task_ids()
    lifted = [ledger.vetoes.remove("a"), ledger.vetoes.remove("a")]

    assert changed == [True, False, True]
    assert vetoed == {"a", "b"}
    assert lifted == [True, False]
    assert ledger.vetoes.task_ids() == {"b"}


def test_totals_add_up(ledger: Ledger) -> None:
    """Each pair of labels has its own total, and each name its own pairs."""
    ledger.counters.increment("dismissals", "clutter", "testing")
    ledger.counters.increment("dismissals", "clutter", "testing", by=4)
    ledger.counters.increment("dismissals", "clutter")
    ledger.counters.increment("attempts", "confirmed")

    assert ledger.counters.values("dismissals") == {
        ("clutter", "testing"): 5,
        ("clutter", ""): 1,
    }
    assert ledger.counters.values("nothing") == {}


def test_the_quota_is_read_only_when_it_changed(ledger: Ledger) -> None:
    """Who knows the version is spared the state."""
    fresh = ledger.state.load_quota(unless_version=-1)
    known_fresh = ledger.state.load_quota(unless_version=0)
    ledger.state.save_quota(1, {"spent": 3})
    ledger.state.save_quota(2, {"spent": 4})

    assert (fresh, known_fresh) == ((0, None), None)
    assert ledger.state.load_quota(unless_version=1) == (2, {"spent": 4})
    assert ledger.state.load_quota(unless_version=2) is None


def test_marks_survive_and_belong_to_their_workspace(place: LedgerLocation) -> None:
    """A later process sees them, and another workspace does not."""
    with Ledger.open(place, workspace="a") as ledger:
        ledger.flags.set(FlagName.PAUSED, reason="", at=T0)
        ledger.vetoes.add("task-1", at=T0)
        ledger.counters.increment("dismissals", "clutter")
        ledger.state.save_quota(1, {})
    with Ledger.open(place, workspace="a") as ledger:
        mine = ledger.flags.get(FlagName.PAUSED)
    with Ledger.open(place, workspace="b") as ledger:
        theirs = (
            ledger.flags.get(FlagName.PAUSED),
            ledger.flags.clear(FlagName.PAUSED),
            ledger.vetoes.task_ids(),
            ledger.vetoes.remove("task-1"),
            ledger.counters.values("dismissals"),
            ledger.state.load_quota(unless_version=-1),
        )

    assert mine == Flag(T0, "")
    assert theirs == (None, False, frozenset(), False, {}, (0, None))


def test_a_text_with_nul_is_kept_without(ledger: Ledger) -> None:
    """PostgreSQL's text cannot hold it, and both stores keep the same."""
    ledger.flags.set(FlagName.PAUSED, reason="a\0b", by="\0", at=T0)
    ledger.rulesets.save("ab12", "rules\0", at=T0)

    assert ledger.flags.get(FlagName.PAUSED) == Flag(T0, "a\ufffdb", "\ufffd")
    assert ledger.rulesets.source("ab12") == "rules\ufffd"


def test_settled_tasks_are_forgotten_after_a_day(ledger: Ledger) -> None:
    """Texts of settled tasks go once they are outdated; other states stay."""
    ledger.state.save(StateName.SETTLED_TASKS, {"a": 1}, at=T0)
    ledger.state.save(StateName.REVIEW_POSITION, "a", at=T0)
    ledger.state.forget_outdated(now=T0 + SETTLED_TASKS_KEPT)
    kept = ledger.state.load(StateName.SETTLED_TASKS)
    ledger.state.forget_outdated(now=T0 + SETTLED_TASKS_KEPT + timedelta(seconds=1))

    assert kept == {"a": 1}
    assert ledger.state.load(StateName.SETTLED_TASKS) is None
    assert ledger.state.load(StateName.REVIEW_POSITION) == "a"
