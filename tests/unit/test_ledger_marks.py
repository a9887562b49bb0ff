"""Tests of vetoes, marks, totals and the quota as they outlive a process."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from triaged.ledger import Ledger
from triaged.ledger.flags import Mark, MarkName, Marks

LATER = T0 + timedelta(hours=1)


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Marks]:
    with Ledger(tmp_path) as ledger:
        yield ledger.marks


def test_a_mark_keeps_since_when(marks: Marks) -> None:
    """Setting a mark again changes its note and not its moment."""
    first = marks.put(MarkName.PAUSED, note="lunch", at=T0)
    again = marks.put(MarkName.PAUSED, note="long lunch", at=LATER)

    assert (first, again) == (True, False)
    assert marks.get(MarkName.PAUSED) == Mark(T0, "long lunch")
    assert marks.get(MarkName.BREAKER) is None


def test_a_mark_is_removed_once(marks: Marks) -> None:
    """Removing says whether there was something to remove."""
    marks.put(MarkName.BREAKER, note="", at=T0)

    assert [marks.remove(MarkName.BREAKER), marks.remove(MarkName.BREAKER)] == [
        True,
        False,
    ]
    assert marks.get(MarkName.BREAKER) is None


def test_a_veto_holds_until_it_is_lifted(marks: Marks) -> None:
    """Vetoing and lifting say whether they changed anything."""
    changed = [
        marks.veto("a", at=T0),
        marks.veto("a", at=LATER),
        marks.veto("b", at=T0),
    ]
    vetoed = marks.vetoed()
    lifted = [marks.lift_veto("a"), marks.lift_veto("a")]

    assert changed == [True, False, True]
    assert vetoed == {"a", "b"}
    assert lifted == [True, False]
    assert marks.vetoed() == {"b"}


def test_totals_add_up(marks: Marks) -> None:
    """Each pair of labels has its own total, and each name its own pairs."""
    marks.add("dismissals", "clutter", "testing")
    marks.add("dismissals", "clutter", "testing", count=4)
    marks.add("dismissals", "clutter")
    marks.add("attempts", "confirmed")

    assert marks.totals("dismissals") == {
        ("clutter", "testing"): 5,
        ("clutter", ""): 1,
    }
    assert marks.totals("nothing") == {}


def test_the_quota_is_read_only_when_it_changed(marks: Marks) -> None:
    """Who knows the version is spared the state."""
    fresh = marks.quota(unless_version=-1)
    known_fresh = marks.quota(unless_version=0)
    marks.put_quota(1, {"spent": 3})
    marks.put_quota(2, {"spent": 4})

    assert (fresh, known_fresh) == ((0, None), None)
    assert marks.quota(unless_version=1) == (2, {"spent": 4})
    assert marks.quota(unless_version=2) is None


def test_marks_survive_and_belong_to_their_workspace(tmp_path: Path) -> None:
    """A later process sees them, and another workspace does not."""
    with Ledger(tmp_path, workspace="a") as ledger:
        ledger.marks.put(MarkName.PAUSED, note="", at=T0)
        ledger.marks.veto("task-1", at=T0)
        ledger.marks.add("dismissals", "clutter")
        ledger.marks.put_quota(1, {})
    with Ledger(tmp_path, workspace="a") as ledger:
        mine = ledger.marks.get(MarkName.PAUSED)
    with Ledger(tmp_path, workspace="b") as ledger:
        theirs = (
            ledger.marks.get(MarkName.PAUSED),
            ledger.marks.remove(MarkName.PAUSED),
            ledger.marks.vetoed(),
            ledger.marks.lift_veto("task-1"),
            ledger.marks.totals("dismissals"),
            ledger.marks.quota(unless_version=-1),
        )

    assert mine == Mark(T0, "")
    assert theirs == (None, False, frozenset(), False, {}, (0, None))
