"""How the limit is tried out: how far, and back to what where it fails."""

from typing import Final

import pytest

from triaged.quota.pace import Leave, Pace

SPEED: Final = 0.004


def leave(pace: Pace, used: int | None = None) -> Leave:
    """Ask for one more call beside as many as the limit, or so many."""
    return pace.leave(used=pace.cap if used is None else used, busy=0, rate=SPEED)


def accept(pace: Pace, calls: int) -> None:
    """Have so many calls accepted within the limit."""
    for _ in range(calls):
        pace.accepted(count=pace.cap, probe=False)


def learned(limit: int) -> Pace:
    """Return a pace that was refused once beyond this many calls, and then waited."""
    pace = Pace.fresh(None)
    pace.accepted(count=limit, probe=False)
    pace.refused(count=limit, probe=False)
    accept(pace, pace.patience)
    return pace


def below_plan(limit: int, plan: int) -> Pace:
    """Return a pace that a neighbour keeps below the plan, and that then waited."""
    pace = Pace.fresh(plan)
    while pace.cap > limit:
        pace.refused(count=limit, probe=False)
    accept(pace, pace.patience)
    return pace


def climb(pace: Pace) -> int:
    """Have tries accepted as long as they follow at once; return how many."""
    tries = 0
    while leave(pace) is Leave.PROBE:
        pace.probing()
        pace.accepted(count=pace.cap + 1, probe=True)
        tries += 1
    return tries


def climb_to(pace: Pace, limit: int) -> None:
    """Have tries accepted up to this limit, with the rests that they take."""
    while pace.cap < limit:
        accept(pace, pace.patience)
        pace.probing()
        pace.accepted(count=pace.cap + 1, probe=True)
    accept(pace, pace.patience)


def fail(pace: Pace, count: int) -> None:
    """Have the next try refused after so many accepted calls."""
    pace.probing()
    pace.refused(count=count, probe=True)


# --- how far ----------------------------------------------------------------------


def test_half_as_much_again_and_then_a_window_of_rest() -> None:
    """One try leads on to half as much again; then that must hold for a window."""
    pace = learned(30)

    assert (climb(pace), pace.cap) == (15, 45)
    assert pace.patience == 45
    accept(pace, 45)
    assert (climb(pace), pace.cap) == (22, 67)
    assert pace.patience == 67


def test_beyond_a_plan_the_first_try_rests() -> None:
    """An edge may let one call beyond a plan through, so it must hold for a window."""
    pace = learned(50)

    assert (climb(pace), pace.cap) == (1, 51)
    assert pace.patience == 51
    accept(pace, 51)
    assert (climb(pace), pace.cap) == (24, 75)


def test_below_a_plan_tries_double() -> None:
    """Where a neighbour comes and goes, each try that holds doubles the next."""
    pace, steps = below_plan(100, 200), []
    for _ in range(5):
        steps.append(climb(pace))
        assert pace.patience == pace.cap
        accept(pace, pace.patience)

    assert steps == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("limit", "rows"), [(4, [1, 2, 3]), (2, [1, 1, 2]), (100, [1, 2, 4, 8, 16, 32, 64])]
)
def test_below_a_plan_no_row_of_tries_is_more_than_half(
    limit: int, rows: list[int]
) -> None:
    """Doubling ends at half of what is known to go."""
    pace, seen = below_plan(limit, 300), []
    for _ in rows:
        seen.append(climb(pace))
        accept(pace, pace.patience)

    assert seen == rows
    assert leave(pace) is Leave.PROBE


def test_others_calls_do_not_lift_the_limit_over_the_plan() -> None:
    """A count that others' calls are in may pass the plan; our limit does not."""
    pace = below_plan(18, 20)
    pace.probing()
    pace.accepted(count=25, probe=True)

    assert pace.cap == 20


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_smallest_limit_can_grow(limit: int) -> None:
    """Half of one call is none, but one call is always tried."""
    pace = learned(limit)
    pace.probing()
    pace.accepted(count=limit + 1, probe=True)

    assert (pace.cap, pace.step) == (limit + 1, 1)
    assert leave(pace) is Leave.PROBE


def test_a_try_that_tried_nothing_is_made_up_for() -> None:
    """When a slot came free meanwhile the row of tries is as long as it would be."""
    pace = learned(30)
    climb(pace)
    accept(pace, pace.patience)
    pace.probing()
    pace.accepted(count=pace.cap, probe=True)

    assert (climb(pace), pace.cap) == (22, 67)


# --- back to what -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "count", "limit"),
    [
        (40, 44, 40),  # a tenth more is what a bucket lets through after a rest
        (40, 45, 45),
        (50, 65, 50),  # from a plan's limit three tenths
        (50, 66, 66),
        (5, 6, 5),  # one call more is never enough
        (5, 7, 7),
    ],
)
def test_a_gain_must_be_clear_to_be_kept(base: int, count: int, limit: int) -> None:
    """A try that is refused leaves what it found only when that is clearly more."""
    pace = learned(base)
    climb_to(pace, count)
    # Since the try began nothing has held for long.
    pace.base = base
    fail(pace, count)

    assert pace.cap == limit


@pytest.mark.parametrize(
    ("base", "count", "limit"),
    [(49, 60, 60), (50, 60, 50), (52, 60, 50), (53, 60, 60), (210, 250, 200)],
)
def test_what_is_nearly_a_plan_is_doubted_like_it(
    base: int, count: int, limit: int
) -> None:
    """From a plan's limit, or up to a twentieth more, a fifth is not clearly more."""
    pace = Pace(ceiling=None, cap=count, settled=True, base=base)
    fail(pace, count)

    assert pace.cap == limit


def test_a_kept_gain_forgets_the_tries_in_vain() -> None:
    """After a success the next try comes as soon as after the first refusal."""
    pace = Pace(ceiling=None, cap=60, settled=True, base=40, fails=3)
    fail(pace, 60)

    assert (pace.fails, pace.patience) == (0, 5 * 60)


def test_a_count_smaller_than_the_limit_is_what_was_found() -> None:
    """The try found what the refusal tells, be the limit in force higher."""
    pace = Pace(ceiling=None, cap=60, settled=True, base=40)
    fail(pace, 55)

    assert pace.cap == 55


@pytest.mark.parametrize(("count", "limit"), [(52, 50), (51, 50), (50, 40), (41, 40)])
def test_across_an_edge_a_plan_is_likelier(count: int, limit: int) -> None:
    """What was tried holds no more: it was a plan in between, or what held before."""
    pace = learned(40)
    climb(pace)
    assert (pace.base, pace.cap) == (40, 60)
    pace.refused(count=count, probe=False)

    assert (pace.cap, pace.base) == (limit, limit)


def test_what_has_held_for_a_window_is_returned_to() -> None:
    """A row of tries that follows a window's rest starts from what held in it."""
    pace = learned(30)
    climb(pace)
    accept(pace, pace.patience)
    fail(pace, 45)

    assert (pace.cap, pace.base) == (45, 45)


def test_what_has_not_held_for_a_window_is_not_returned_to() -> None:
    """Tries that follow at once all start from what held before the first."""
    pace = learned(30)
    pace.probing()
    pace.accepted(count=31, probe=True)
    fail(pace, 31)

    assert (pace.cap, pace.base) == (30, 30)


def test_three_windows_establish_a_limit_below_a_plan() -> None:
    """Under a plan a failed try returns to what held for three windows."""
    pace = below_plan(100, 200)
    climb(pace)
    accept(pace, 3 * 101 - 1)
    assert pace.base == 100
    accept(pace, 1)
    assert pace.base == 101
    fail(pace, 101)

    assert pace.cap == 101


def test_a_failed_try_under_a_plan_returns_whatever_it_found() -> None:
    """A neighbour's pause is no gain: what held before the tries holds again."""
    pace = below_plan(100, 200)
    for _ in range(6):
        climb(pace)
        accept(pace, pace.patience)
    pace.base = 100
    fail(pace, pace.cap)

    assert pace.cap == 100
