"""How the limit falls, and how long it then stays before a try for more."""

import pytest

from tests.unit.test_quota_tries import (
    accept,
    below_plan,
    climb_to,
    fail,
    learned,
    leave,
)
from triaged.quota.pace import MAX_IN_FLIGHT, Leave, Pace

# --- after how much patience ------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "patience"),
    [
        (10, 120),
        (50, 500),
        (200, 2000),
        (30, 150),
        (5, 120),
    ],
)
def test_patience_is_longest_at_a_plan(limit: int, patience: int) -> None:
    """Ten windows at a plan's limit, five elsewhere, 120 calls at least."""
    pace = Pace.fresh(None)
    pace.accepted(count=limit, probe=False)
    pace.refused(count=limit, probe=False)

    assert pace.patience == patience


@pytest.mark.parametrize(("day", "patience"), [(100, 400), (1_000, 2000)])
def test_the_plan_that_the_day_tells_of_is_hardly_doubted(
    day: int, patience: int
) -> None:
    """Forty windows and 400 calls pass before a try beyond it."""
    pace = Pace.fresh(None)
    pace.expect(day)
    assert pace.goal is not None
    pace.accepted(count=pace.goal, probe=False)

    assert (pace.cap, pace.patience) == (pace.goal, patience)


def test_patience_runs_out_call_by_call() -> None:
    """One call before its end nothing is tried, and then it stays at an end."""
    pace = Pace.fresh(None)
    pace.accepted(count=30, probe=False)
    pace.refused(count=30, probe=False)
    accept(pace, pace.patience - 1)
    assert leave(pace) is Leave.FULL
    accept(pace, 2)

    assert leave(pace) is Leave.PROBE
    assert pace.patience == 0


@pytest.mark.parametrize(
    ("limit", "plan", "waits"),
    [
        (50, None, [500, 1000, 2000, 2000, 2000]),
        (100, 200, [500, 1000, 2000, 2000, 2000]),
        (30, None, [150, 150, 150]),
    ],
)
def test_each_try_in_vain_makes_the_next_one_rarer(
    limit: int, plan: int | None, waits: list[int]
) -> None:
    """Up to fourfold at a plan's limit; some other limit may have changed any time."""
    pace, seen = learned(limit) if plan is None else below_plan(limit, plan), []
    for _ in waits:
        fail(pace, pace.cap)
        seen.append(pace.patience)
        accept(pace, pace.patience)

    assert seen == waits


def test_nobody_waits_for_more_than_a_hundred_windows() -> None:
    """At one call a window 500 calls would be a day's work."""
    pace = Pace.fresh(2)
    pace.refused(count=1, probe=False)

    assert (pace.cap, pace.patience) == (1, 100)


def test_far_below_its_plan_a_limit_is_tried_sooner() -> None:
    """Nobody takes three quarters of a plan for long: fifteen windows are enough."""
    pace = Pace.fresh(50)
    for count in (25, 13, 7):
        pace.refused(count=count, probe=False)
    assert (pace.cap, pace.patience) == (7, 15 * 7)


@pytest.mark.parametrize(("plan", "patience"), [(48, 500), (49, 15 * 12)])
def test_a_quarter_of_the_plan_is_far_below_it(plan: int, patience: int) -> None:
    """At twelve calls a window, a plan of 48 is not far yet, one of 49 is."""
    pace = Pace(ceiling=plan, cap=13, settled=True, base=13)
    pace.refused(count=12, probe=False)

    assert (pace.cap, pace.patience) == (12, patience)


# --- down -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "limit"),
    [
        (150, 150),
        (199, 196),  # going down one by one would cost a refusal each
        (200, 196),
        (60, 100),  # one refusal never takes more than half
    ],
)
def test_a_refusal_lowers_an_established_limit(count: int, limit: int) -> None:
    """To what it tells, but by a fiftieth at least and by half at most."""
    pace = learned(200)
    pace.refused(count=count, probe=False)

    assert (pace.cap, pace.base) == (limit, limit)


def test_half_of_an_odd_drop_is_rounded_against_us() -> None:
    """Between 40 and 39 the careful answer is 39."""
    pace = Pace.fresh(50)
    accept(pace, 50)
    pace.refused(count=29, probe=False)

    assert pace.cap == 39


@pytest.mark.parametrize(("calls", "limit"), [(49, 30), (50, 40)])
def test_a_drop_is_halved_only_after_a_window_without(calls: int, limit: int) -> None:
    """A second refusal within a window's calls is believed in full."""
    pace = Pace.fresh(50)
    accept(pace, calls)
    pace.refused(count=30, probe=False)

    assert pace.cap == limit


@pytest.mark.parametrize(("least", "limit"), [(9, 9), (10, 10), (15, 10)])
def test_room_beside_others_is_never_more_than_there_was(
    least: int, limit: int
) -> None:
    """A refusal never raises the limit, however much others spend."""
    pace = Pace.fresh(10)
    pace.refused(count=5, probe=False, least=least)

    assert pace.cap == limit


@pytest.mark.parametrize(("count", "fails"), [(75, 2), (74, 0)])
def test_a_great_drop_below_a_plan_is_a_new_neighbour(count: int, fails: int) -> None:
    """What failed beside the old one says nothing; a quarter is not great."""
    pace = Pace(ceiling=200, cap=100, settled=True, base=100, fails=2)
    pace.refused(count=count, probe=False)

    assert pace.fails == fails


def test_without_a_plan_every_drop_is_a_new_limit() -> None:
    """The tries in vain belonged to the old limit."""
    pace = Pace(ceiling=None, cap=100, settled=True, base=100, fails=2)
    pace.refused(count=99, probe=False)

    assert pace.fails == 0


def test_a_refusal_ends_the_row_of_tries() -> None:
    """After it one call is tried, not what was left of the row."""
    pace = learned(30)
    climb_to(pace, 45)
    fail(pace, 45)
    accept(pace, pace.patience)
    pace.probing()
    pace.accepted(count=46, probe=True)

    assert pace.cap == 46
    assert pace.tries == pace.step == 22


# --- the first refusal ------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "limit"),
    [(0, 1), (7, 7), (10, 10), (20, 10), (21, 21), (49, 49), (100, 50), (101, 101)],
)
def test_the_first_refusal_settles_on_a_plan_or_its_count(
    count: int, limit: int
) -> None:
    """Up to twice a plan's limit comes from an edge; more is some other limit."""
    pace = Pace.fresh(None)
    pace.refused(count=count, probe=False)

    assert (pace.settled, pace.cap, pace.base) == (True, limit, limit)


def test_a_count_beyond_a_plan_is_looked_into_after_one_window() -> None:
    """It may be another limit, so a window of patience is enough."""
    pace = Pace.fresh(None)
    pace.refused(count=83, probe=False)

    assert (pace.cap, pace.patience) == (50, 50)
    pace.corrected(count=70)
    assert pace.cap == 50


@pytest.mark.parametrize(
    ("count", "limit"), [(5, 8), (20, 20), (8 + MAX_IN_FLIGHT, 7 + MAX_IN_FLIGHT)]
)
def test_answers_under_way_correct_the_first_refusal(count: int, limit: int) -> None:
    """As many calls may be accepted beside the refused one as can be in flight."""
    pace = Pace.fresh(None)
    pace.refused(count=8, probe=False)
    pace.corrected(count=count)

    assert pace.cap == limit


def test_a_failed_try_is_not_corrected() -> None:
    """A try is made alone, so nothing was under way beside it."""
    pace = learned(30)
    fail(pace, 30)
    pace.corrected(count=40)

    assert pace.cap == 30
