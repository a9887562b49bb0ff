"""How many calls may be under way at once: many where the limit is sure, else few."""

from typing import Final

import pytest

from triaged.quota.pace import MAX_IN_FLIGHT, Leave, Pace, in_flight

SLOW: Final = 0.02


def room(pace: Pace, used: int, *, rate: float = SLOW, alone: bool = True) -> int:
    """Count how many calls may be under way at this count in the window."""
    busy = 0
    while pace.leave(used=used, busy=busy, rate=rate, alone=alone) is Leave.YES:
        busy += 1
    return busy


def seen(count: int) -> Pace:
    """Return a pace without plan that so many accepted calls in a window have shown."""
    pace = Pace.fresh(None)
    pace.accepted(count=count, probe=False)
    return pace


@pytest.mark.parametrize(
    ("cap", "rate", "most"),
    [(50, 0.0, 4), (50, 0.05, 7), (200, 0.01, 6), (200, 0.011, 7), (200, 1.0, 16)],
)
def test_as_many_as_use_the_limit_and_two_more(
    cap: int, rate: float, most: int
) -> None:
    """Twice what slow answers take, for a call may wait its turn; sixteen at most."""
    assert in_flight(cap, rate) == most


@pytest.mark.parametrize(
    ("used", "rate", "most"),
    [
        (1, 10.0, 16),
        (5, 0.0, 1),
        (5, 0.2, 2),
        (5, 10.0, MAX_IN_FLIGHT),
        (10, 10.0, 1),
        (11, 0.05, 3),
    ],
)
def test_before_anything_is_known_the_next_plan_bounds(
    used: int, rate: float, most: int
) -> None:
    """As many as the next plan's limit would keep under way, and one at a limit."""
    assert room(Pace.fresh(None), used, rate=rate) == most


@pytest.mark.parametrize(
    ("used", "most"),
    [
        (49, in_flight(50, SLOW)),
        (50, 1),  # here a plan's limit is likely
        (59, 2),  # an edge of that plan may have let 60 through
        (99, 2),
        (100, 4),  # beyond its double that is no more the reason
    ],
)
def test_just_beyond_a_plan_few_are_under_way(used: int, most: int) -> None:
    """60 accepted calls do not prove that the minute has more than 50."""
    assert room(seen(60), used) == most


@pytest.mark.parametrize(
    ("count", "used", "most"),
    [
        (50, 49, in_flight(50, SLOW)),
        (50, 51, 2),
        (100, 99, 2),
        (101, 99, in_flight(101, SLOW)),
        (101, 50, in_flight(101, SLOW)),
        (101, 101, 4),
        (9, 8, in_flight(9, SLOW)),
        (200, 200, 1),
        (500, 400, in_flight(500, SLOW)),
        (500, 500, 1),  # beyond all plans nothing bounds what may be refused
    ],
)
def test_what_is_proven_is_used(count: int, used: int, most: int) -> None:
    """More than twice a plan's limit proves another one, up to what was accepted."""
    assert room(seen(count), used) == most


@pytest.mark.parametrize(("used", "may"), [(49, True), (50, False), (51, False)])
def test_nothing_leaves_beyond_the_plan_that_the_day_tells_of(
    used: int, may: bool
) -> None:
    """Until a refusal knows better, the day's limit names the plan."""
    pace = Pace.fresh(None)
    pace.expect(1_000)

    assert (room(pace, used) > 0) is may


@pytest.mark.parametrize(("used", "most"), [(39, 4), (40, 2), (49, 2), (50, 0)])
def test_the_last_fifth_of_a_young_limit_is_spent_with_care(
    used: int, most: int
) -> None:
    """Below it nobody expects a refusal, at the limit nothing leaves."""
    pace = seen(50)
    pace.refused(count=50, probe=False)

    assert room(pace, used, rate=0.0) == most


@pytest.mark.parametrize(("calls", "most"), [(149, 2), (150, 4)])
def test_three_windows_without_refusal_make_a_limit_sure(calls: int, most: int) -> None:
    """Then all of it is used at full speed."""
    pace = seen(50)
    pace.refused(count=50, probe=False)
    for _ in range(calls):
        pace.accepted(count=50, probe=False)

    assert room(pace, 45, rate=0.0) == most
    assert room(pace, 45, rate=0.0, alone=False) == 2


def test_a_try_goes_alone_and_from_the_limit() -> None:
    """Beyond the limit one call goes, with none under way and none too many before."""
    pace = Pace(ceiling=None, cap=30, settled=True, base=30)

    def asked(used: int, busy: int) -> Leave:
        return pace.leave(used=used, busy=busy, rate=SLOW)

    assert asked(30, 0) is Leave.PROBE
    assert asked(30, 1) is Leave.BUSY
    assert asked(31, 0) is Leave.FULL
    pace.patience = 1
    assert asked(30, 0) is Leave.FULL


def test_what_is_not_known_starts_at_the_smallest_plan() -> None:
    """Without a plan the limit shown is that of the smallest one."""
    assert Pace.fresh(None).cap == 10
    assert Pace.fresh(3).cap == 3
