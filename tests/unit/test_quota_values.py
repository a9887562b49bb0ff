"""What of the quota's settings comes from a plan, and what is left to be learned."""

import pytest

from triaged.quota import QuotaSettings


def test_without_a_plan_everything_is_learned() -> None:
    """No limit is made up; the window is a minute, the reserve a fifth."""
    assert QuotaSettings.for_plan(None) == QuotaSettings(
        minute_limit=None, minute_window=60.0, daily_limit=None, reserve=0.2
    )


@pytest.mark.parametrize(
    ("plan", "minute", "day"),
    [("starter", 10, 100), ("pro", 50, 1_000), ("org", 200, 10_000)],
)
def test_a_plan_is_both_limits(plan: str, minute: int, day: int) -> None:
    """A plan's name stands for its calls a minute and a day."""
    assert QuotaSettings.for_plan(plan) == QuotaSettings(
        minute_limit=minute, minute_window=60.0, daily_limit=day, reserve=0.2
    )


@pytest.mark.parametrize("plan", [None, "pro"])
def test_what_is_given_beats_the_plan(plan: str | None) -> None:
    """A limit with its window, a day's limit and a reserve are taken as given."""
    settings = QuotaSettings.for_plan(
        plan, minute_limit=7, minute_window=10.0, daily_limit=77, reserve=0.5
    )

    assert settings == QuotaSettings(
        minute_limit=7, minute_window=10.0, daily_limit=77, reserve=0.5
    )


def test_each_limit_is_filled_for_itself() -> None:
    """One given limit leaves the other one to the plan, or to be learned."""
    minute = QuotaSettings.for_plan("pro", minute_limit=7, minute_window=10.0)
    day = QuotaSettings.for_plan("pro", daily_limit=77)
    alone = QuotaSettings.for_plan(None, daily_limit=77)

    assert (minute.minute_limit, minute.minute_window) == (7, 10.0)
    assert minute.daily_limit == 1_000
    assert (day.minute_limit, day.minute_window, day.daily_limit) == (50, 60.0, 77)
    assert (alone.minute_limit, alone.daily_limit) == (None, 77)


def test_a_plans_limit_is_one_a_minute() -> None:
    """A window belongs to the limit given with it, not to the plan's."""
    settings = QuotaSettings.for_plan("pro", minute_window=10.0)

    assert (settings.minute_limit, settings.minute_window) == (50, 60.0)
