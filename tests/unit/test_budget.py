"""The arithmetic of a day's quota."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.quota.budget import (
    Budget,
    compute_budget,
    infeasible_reason,
    reserved_calls,
)

STARTER: dict[str, Any] = {
    "daily_limit": 100,
    "minute_limit": 10,
    "limits_assumed": False,
    "reserve": 0.2,
    "target_interval": timedelta(minutes=5),
    "backlog": 0,
    "dismissals_per_day": 0,
    "daily_cap": 200,
}


def a_budget(**given: Any) -> Budget:
    return compute_budget(**{**STARTER, **given})


def test_the_starter_plan() -> None:
    """Of 100 calls 20 are kept, a quarter of the rest is for dismissals."""
    budget = a_budget()

    assert (budget.reserved, budget.polls, budget.dismissals) == (20, 60, 20)
    assert budget.interval == timedelta(minutes=24)
    assert "288" in budget.warnings[0]


def test_a_backlog_is_worked_off_at_what_is_left() -> None:
    """Dismissals a day and calls a minute say when a backlog is gone."""
    budget = a_budget(backlog=100)

    assert budget.dismissals == 40
    assert budget.backlog_cleared_in == timedelta(days=2, minutes=2)
    assert a_budget(backlog=5, daily_cap=0).backlog_cleared_in is None


def test_a_big_plan_carries_the_wish() -> None:
    """With calls to spare the target interval stays as it is."""
    budget = a_budget(daily_limit=10_000)

    assert budget.interval == timedelta(minutes=5)
    assert budget.warnings == ()


@pytest.mark.parametrize(
    ("limit", "reserve", "works"),
    [(2, 0.0, True), (2, 0.5, False), (100, 0.98, True), (100, 0.981, False)],
)
def test_what_can_never_work(limit: int, reserve: float, works: bool) -> None:
    """It takes two calls a day to find a task and dismiss it."""
    assert (infeasible_reason(limit, reserve=reserve) is None) is works


@given(st.integers(1, 20_000), st.floats(0, 0.99), st.integers(0, 5_000))
def test_nothing_is_spent_twice(limit: int, reserve: float, backlog: int) -> None:
    """Reserve, polls and dismissals never exceed the day."""
    budget = a_budget(daily_limit=limit, reserve=reserve, backlog=backlog)

    assert budget.reserved + budget.polls + budget.dismissals <= limit
    assert budget.reserved == reserved_calls(limit, reserve)
    assert budget.interval >= timedelta(minutes=5)
