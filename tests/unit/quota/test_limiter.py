"""Permits: granted, finished once, given back, and expired."""

import pytest

from tests.unit.quota.builders import (
    MIDNIGHT,
    NO_HEADERS,
    NOON,
    PRO,
    STARTER,
    call,
    fill,
    is_allowed,
    some_headers,
    start,
)
from triaged.quota import Purpose, QuotaLimiter, QuotaSettings


@pytest.mark.parametrize("purpose", Purpose)
def test_call_is_charged_when_granted(purpose: Purpose) -> None:
    """A call counts for the day and the minute before it is answered."""
    limiter = QuotaLimiter(STARTER)
    permits = {start(limiter, NOON, purpose) for _ in range(10)}

    assert len(permits) == 10
    assert limiter.snapshot(NOON).used_today == 10
    assert not is_allowed(limiter, NOON)


def test_released_calls_are_refunded() -> None:
    """A call that was not sent costs neither minute nor day."""
    limiter = QuotaLimiter(STARTER)
    before = limiter.snapshot(NOON)
    for _ in range(30):
        limiter.release(NOON, start(limiter, NOON))

    assert limiter.snapshot(NOON) == before
    assert fill(limiter, NOON) == 10


def test_permit_is_finished_once() -> None:
    """A second result of one permit changes no count."""
    limiter = QuotaLimiter(STARTER)
    permit = start(limiter, NOON)
    limiter.on_response(NOON, permit, NO_HEADERS)
    limiter.on_response(NOON, permit, NO_HEADERS)
    limiter.on_no_response(NOON, permit)
    limiter.release(NOON, permit)

    assert limiter.snapshot(NOON).used_today == 1
    assert fill(limiter, NOON) == 9


@pytest.mark.parametrize("after", [120.0, -1.1])
def test_lost_permits_expire_as_used(after: float) -> None:
    """After two minutes, or from the future of another clock, a call counts as sent."""
    limiter = QuotaLimiter(STARTER)
    for _ in range(10):
        start(limiter, NOON)
    now = NOON + after
    assert limiter.snapshot(now).used_today == 10

    assert not is_allowed(limiter, now + 59)
    assert fill(limiter, now + 60.2) == 10


def test_permits_do_not_expire_early() -> None:
    """For two minutes the response may still arrive."""
    limiter = QuotaLimiter(STARTER)
    for _ in range(10):
        start(limiter, NOON)

    grant = limiter.acquire(NOON + 119, Purpose.DISMISS)
    assert (grant.permit, grant.retry_at, grant.reason) == (None, None, "minute")


def test_dismissals_of_a_dead_process_expire() -> None:
    """Dismissals in flight at a crash are used, other calls are still in flight."""
    limiter = QuotaLimiter(PRO)
    call(limiter, NOON, some_headers(900, limit=1_000, reset=MIDNIGHT))
    for purpose in (Purpose.DISMISS, Purpose.DISMISS, Purpose.POLL):
        start(limiter, NOON, purpose)
    limiter.expire_dismissals(NOON + 1)
    limiter.expire_dismissals(NOON + 1)

    snapshot = limiter.snapshot(NOON + 1)
    assert (snapshot.used_today, snapshot.remaining) == (4, 897)


def test_slots_to_wait_for() -> None:
    """With more calls in the minute than the limit allows, all of them are awaited."""
    limiter = QuotaLimiter(PRO, QuotaLimiter(PRO).to_dict())
    for second in range(30):
        call(limiter, NOON + second)
    lower = QuotaLimiter(STARTER, limiter.to_dict())
    grant = lower.acquire(NOON + 30, Purpose.DISMISS)

    assert grant.reason == "minute"
    assert grant.retry_at == pytest.approx(NOON + 20 + 60, abs=0.2)


def test_without_a_plan_everything_is_unknown() -> None:
    """No limit is made up; the window is a minute, the reserve a fifth."""
    assert QuotaSettings.for_plan(None) == QuotaSettings(
        minute_limit=None, minute_window=60.0, daily_limit=None, reserve=0.2
    )


@pytest.mark.parametrize(
    ("plan", "minute", "day"),
    [("starter", 10, 100), ("pro", 50, 1_000), ("org", 200, 10_000)],
)
def test_plan_sets_both_limits(plan: str, minute: int, day: int) -> None:
    """A plan's name stands for its calls a minute and a day."""
    assert QuotaSettings.for_plan(plan) == QuotaSettings(
        minute_limit=minute, minute_window=60.0, daily_limit=day, reserve=0.2
    )


@pytest.mark.parametrize("plan", [None, "pro"])
def test_given_limits_override_the_plan(plan: str | None) -> None:
    """A limit with its window, a daily limit and a reserve are used as given."""
    settings = QuotaSettings.for_plan(
        plan, minute_limit=7, minute_window=10.0, daily_limit=77, reserve=0.5
    )

    assert settings == QuotaSettings(
        minute_limit=7, minute_window=10.0, daily_limit=77, reserve=0.5
    )


def test_each_limit_is_taken_for_itself() -> None:
    """One given limit leaves the other one to the plan."""
    minute = QuotaSettings.for_plan("pro", minute_limit=7, minute_window=10.0)
    day = QuotaSettings.for_plan("pro", daily_limit=77, minute_window=10.0)

    assert (minute.minute_limit, minute.minute_window) == (7, 10.0)
    assert minute.daily_limit == 1_000
    # A window belongs to the limit given with it, not to the plan's.
    assert (day.minute_limit, day.minute_window, day.daily_limit) == (50, 60.0, 77)
