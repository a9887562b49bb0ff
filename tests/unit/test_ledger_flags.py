"""Tests of vetoes, marks, totals and the quota as they outlive a process."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from triaged.ledger import Ledger
from triaged.ledger.flags import Flag, FlagName, Flags

LATER = T0 + timedelta(hours=1)


@pytest.fixture
def flags(tmp_path: Path) -> Iterator[Flags]:
    with Ledger(tmp_path) as ledger:
        yield ledger.flags


def test_a_mark_keeps_since_when(flags: Flags) -> None:
    """Setting a mark again changes its note and not its moment."""
    first = flags.set(FlagName.PAUSED, note="lunch", at=T0)
    again = flags.set(FlagName.PAUSED, note="long lunch", at=LATER)

    assert (first, again) == (True, False)
    assert flags.get(FlagName.PAUSED) == Flag(T0, "long lunch")
    assert flags.get(FlagName.BREAKER) is None


def test_a_mark_is_removed_once(flags: Flags) -> None:
    """Removing says whether there was something to remove."""
    flags.set(FlagName.BREAKER, note="", at=T0)

    assert [flags.clear(FlagName.BREAKER), flags.clear(FlagName.BREAKER)] == [
        True,
        False,
    ]
    assert flags.get(FlagName.BREAKER) is None


def test_a_veto_holds_until_it_is_lifted(flags: Flags) -> None:
    """Vetoing and lifting say whether they changed anything."""
    changed = [
        flags.veto("a", at=T0),
        flags.veto("a", at=LATER),
        flags.veto("b", at=T0),
    ]
    vetoed = flags.vetoed()
    lifted = [flags.remove_veto("a"), flags.remove_veto("a")]

    assert changed == [True, False, True]
    assert vetoed == {"a", "b"}
    assert lifted == [True, False]
    assert flags.vetoed() == {"b"}


def test_totals_add_up(flags: Flags) -> None:
    """Each pair of labels has its own total, and each name its own pairs."""
    flags.increment("dismissals", "clutter", "testing")
    flags.increment("dismissals", "clutter", "testing", count=4)
    flags.increment("dismissals", "clutter")
    flags.increment("attempts", "confirmed")

    assert flags.counters("dismissals") == {
        ("clutter", "testing"): 5,
        ("clutter", ""): 1,
    }
    assert flags.counters("nothing") == {}


def test_the_quota_is_read_only_when_it_changed(flags: Flags) -> None:
    """Who knows the version is spared the state."""
    fresh = flags.load_quota(unless_version=-1)
    known_fresh = flags.load_quota(unless_version=0)
    flags.save_quota(1, {"spent": 3})
    flags.save_quota(2, {"spent": 4})

    assert (fresh, known_fresh) == ((0, None), None)
    assert flags.load_quota(unless_version=1) == (2, {"spent": 4})
    assert flags.load_quota(unless_version=2) is None


def test_marks_survive_and_belong_to_their_workspace(tmp_path: Path) -> None:
    """A later process sees them, and another workspace does not."""
    with Ledger(tmp_path, workspace="a") as ledger:
        ledger.flags.set(FlagName.PAUSED, note="", at=T0)
        ledger.flags.veto("task-1", at=T0)
        ledger.flags.increment("dismissals", "clutter")
        ledger.flags.save_quota(1, {})
    with Ledger(tmp_path, workspace="a") as ledger:
        mine = ledger.flags.get(FlagName.PAUSED)
    with Ledger(tmp_path, workspace="b") as ledger:
        theirs = (
            ledger.flags.get(FlagName.PAUSED),
            ledger.flags.clear(FlagName.PAUSED),
            ledger.flags.vetoed(),
            ledger.flags.remove_veto("task-1"),
            ledger.flags.counters("dismissals"),
            ledger.flags.load_quota(unless_version=-1),
        )

    assert mine == Flag(T0, "")
    assert theirs == (None, False, frozenset(), False, {}, (0, None))
