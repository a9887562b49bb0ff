"""How the minute's limit is learned: from counts, refusals and single tries."""

import pytest

from triaged.quota.pace import MAX_IN_FLIGHT, MIN_IN_FLIGHT, Leave, Pace, in_flight


def leave(pace: Pace, used: int, *, busy: int = 0, alone: bool = True) -> Leave:
    """Ask for one more call at an ordinary speed."""
    return pace.leave(used=used, busy=busy, rate=0.004, alone=alone)


def accept(pace: Pace, calls: int, *, count: int) -> None:
    """Have so many calls accepted, at the same count in the window."""
    for _ in range(calls):
        pace.accepted(count=count, probe=False)


def learned(limit: int) -> Pace:
    """Return a pace that was refused once beyond this many calls."""
    pace = Pace.fresh(None)
    accept(pace, limit, count=limit)
    pace.refused(count=limit, probe=False)
    return pace


def try_more(pace: Pace) -> None:
    """Have the next try accepted."""
    assert leave(pace, pace.cap) is Leave.PROBE
    pace.probing()
    pace.accepted(count=pace.cap + 1, probe=True)


def test_known_plan_is_filled_and_never_exceeded() -> None:
    """At the plan's limit nothing is tried, however long it has held."""
    pace = Pace.fresh(50)
    accept(pace, 100_000, count=50)

    assert leave(pace, 49) is Leave.YES
    assert leave(pace, 50) is Leave.FULL


@pytest.mark.parametrize("limit", [10, 50, 200])
def test_a_plan_is_learned_by_one_refusal(limit: int) -> None:
    """A refusal at a documented limit settles on it."""
    pace = learned(limit)

    assert pace.settled
    assert (pace.cap, leave(pace, limit)) == (limit, Leave.FULL)


def test_a_count_across_an_edge_means_the_plan_and_is_looked_into() -> None:
    """83 calls may be 50 across an edge: it is 50 at first, and soon more is tried."""
    pace = learned(83)

    assert pace.cap == 50
    accept(pace, 50, count=50)
    assert leave(pace, 50) is Leave.PROBE


def test_some_other_limit_is_taken_as_it_is() -> None:
    """30 is between the plans and not across an edge of one."""
    assert learned(30).cap == 30


def test_goal_is_reached_without_a_refusal() -> None:
    """A day's limit of 1,000 tells that the minute has 50."""
    pace = Pace.fresh(None)
    pace.expect(1_000)
    accept(pace, 50, count=50)

    assert (pace.settled, pace.cap) == (True, 50)
    assert leave(pace, 50) is Leave.FULL


@pytest.mark.parametrize("used", [10, 50, 200])
def test_beyond_a_plan_one_call_goes_ahead(used: int) -> None:
    """Where a limit is likely, no two calls can be refused together."""
    pace = Pace.fresh(None)
    pace.accepted(count=used, probe=False)

    assert leave(pace, used) is Leave.YES
    assert leave(pace, used, busy=1) is Leave.BUSY


def test_tries_need_patience_and_go_one_by_one() -> None:
    """After a refusal some windows pass before one call tries for more."""
    pace = learned(30)
    assert leave(pace, 30) is Leave.FULL
    accept(pace, 150, count=30)

    assert leave(pace, 30) is Leave.PROBE
    assert leave(pace, 30, busy=1) is Leave.BUSY


def test_failed_try_returns_to_what_held() -> None:
    """One refused call, and the limit is what it was."""
    pace = learned(30)
    accept(pace, 150, count=30)
    pace.probing()
    pace.refused(count=30, probe=True)

    assert pace.cap == 30
    assert leave(pace, 30) is Leave.FULL


def test_raised_limit_is_found_within_a_few_windows() -> None:
    """Where a try succeeds half as much again follows at once, and again."""
    pace, windows = learned(30), 0
    accept(pace, 150, count=30)
    while pace.cap < 100:
        windows += 1
        while leave(pace, pace.cap) is Leave.PROBE:
            try_more(pace)
        accept(pace, pace.patience, count=pace.cap)

    assert windows <= 4


def test_lowered_limit_is_believed() -> None:
    """A refusal far below an established limit is the new limit."""
    pace = learned(50)
    accept(pace, 500, count=50)
    pace.refused(count=30, probe=False)

    assert pace.cap == 30


def test_under_a_plan_the_first_drop_is_halved() -> None:
    """A neighbour's calls come and go; only a second refusal is believed in full."""
    pace = Pace.fresh(50)
    accept(pace, 500, count=50)
    pace.refused(count=30, probe=False)
    assert pace.cap == 40
    accept(pace, 10, count=30)
    pace.refused(count=30, probe=False)

    assert pace.cap == 30


def test_under_a_plan_tries_end_at_the_plan() -> None:
    """When the neighbour has gone the limit climbs back to the plan, not further."""
    pace = Pace.fresh(20)
    pace.refused(count=10, probe=False)
    while leave(pace, pace.cap) is Leave.PROBE or pace.patience:
        accept(pace, pace.patience, count=pace.cap)
        while leave(pace, pace.cap) is Leave.PROBE:
            try_more(pace)

    assert pace.cap == 20


def test_try_whose_slot_came_free_is_no_success() -> None:
    """A call that was not beyond the limit after all proves nothing."""
    pace = learned(30)
    accept(pace, 150, count=30)
    pace.probing()
    pace.accepted(count=29, probe=True)

    assert pace.cap == 30
    assert leave(pace, 30) is Leave.PROBE


def test_lost_try_does_not_end_all_tries() -> None:
    """A try that nobody answered leaves room for another."""
    pace = learned(30)
    accept(pace, 150, count=30)
    pace.probing()

    assert leave(pace, 30) is Leave.PROBE


def test_calls_accepted_beside_the_refused_one_correct_the_count() -> None:
    """Answers under way at the refusal belong to the count that it tells of."""
    pace = Pace.fresh(50)
    accept(pace, 500, count=50)
    pace.refused(count=20, probe=False)
    pace.corrected(count=38)
    pace.corrected(count=60)

    assert pace.cap == 49


def test_no_refusal_leaves_less_than_one_call() -> None:
    """However many are refused, one call a window may ask."""
    pace = Pace.fresh(10)
    for _ in range(50):
        pace.refused(count=0, probe=False)

    assert pace.cap == 1
    assert leave(pace, 0) is Leave.YES


def test_room_is_left_beside_others() -> None:
    """Where others' calls are in the count, the limit does not fall below theirs."""
    pace = Pace.fresh(10)
    for _ in range(50):
        pace.refused(count=1, probe=False, least=5)

    assert pace.cap == 5


def test_the_last_part_beside_others_is_spent_with_care() -> None:
    """Calls in flight are what is refused together, so there are few of them."""
    pace = Pace.fresh(50)

    assert leave(pace, 45, busy=2) is Leave.YES
    assert leave(pace, 45, busy=2, alone=False) is Leave.BUSY
    assert leave(pace, 20, busy=2, alone=False) is Leave.YES


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.03, 1.0])
@pytest.mark.parametrize("cap", [1, 10, 200])
def test_calls_in_flight_are_bounded(cap: int, rate: float) -> None:
    """Enough to use the limit when answers are slow, and never more than sixteen."""
    most = in_flight(cap, rate)

    assert MIN_IN_FLIGHT <= most <= MAX_IN_FLIGHT
    assert most >= min(cap * rate, MAX_IN_FLIGHT)
