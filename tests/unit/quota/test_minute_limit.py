"""The minute's limit: configured, given by the plan, or measured."""

from collections.abc import Callable

import pytest

from tests.quota_servers import Api, FixedWindow, Limiter, SlidingLog, TokenBucket
from tests.unit.quota.builders import (
    MIDNIGHT,
    NO_HEADERS,
    NOON,
    PRO,
    STARTER,
    Caller,
    call,
    fill,
    refuse,
    some_headers,
    spend,
    start,
)
from triaged.quota import PLANS, Purpose, QuotaLimiter, QuotaSettings
from triaged.quota.minute_limit import PROBE_CALLS, MinuteLimit

UNKNOWN = QuotaSettings(daily_limit=1_000_000, reserve=0.0)


def limit_of(limiter: QuotaLimiter, now: float) -> int:
    return limiter.snapshot(now).minute_limit


def measured(count: int) -> MinuteLimit:
    """Return the limit of a server whose first refusal followed so many calls."""
    limit = MinuteLimit.initial(None)
    limit.on_refused(count + 1)
    limit.base = count
    return limit


def accept(limit: MinuteLimit, calls: int) -> None:
    for _ in range(calls):
        limit.on_accepted(limit.limit)


@pytest.mark.parametrize("plan", PLANS)
def test_known_plan_fills_its_minute(plan: str) -> None:
    """A configured limit is used in full; the next call waits for the minute's end."""
    limiter = QuotaLimiter(QuotaSettings.for_plan(plan))

    assert fill(limiter, NOON) == PLANS[plan].per_minute
    grant = limiter.acquire(NOON, Purpose.DISMISS)
    assert grant.reason == "minute"
    assert grant.retry_at == pytest.approx(NOON + 60, abs=0.2)


def test_slot_is_held_for_a_window_after_the_response() -> None:
    """The server may have counted the call as late as it answered."""
    limiter = QuotaLimiter(STARTER)
    permits = [start(limiter, NOON) for _ in range(4)]
    for permit in permits:
        limiter.on_response(NOON + 30, permit, NO_HEADERS)
    assert fill(limiter, NOON + 30) == 6

    assert fill(limiter, NOON + 89.9) == 0
    assert fill(limiter, NOON + 90.2) == 10


def test_another_window() -> None:
    """A limit of 5 calls in 2 seconds is that, not 5 a minute."""
    limiter = QuotaLimiter(
        QuotaSettings(minute_limit=5, minute_window=2.0, daily_limit=1_000)
    )

    assert fill(limiter, NOON) == 5
    assert fill(limiter, NOON + 1.9) == 0
    assert fill(limiter, NOON + 2.1) == 5


def test_known_plan_needs_no_response_in_between() -> None:
    """All calls of a known limit may be in flight together."""
    limiter = QuotaLimiter(PRO)
    for _ in range(50):
        start(limiter, NOON)

    grant = limiter.acquire(NOON, Purpose.DISMISS)
    assert (grant.permit, grant.reason) == (None, "minute")


@pytest.mark.parametrize("plan", PLANS)
def test_plan_follows_from_the_first_response(plan: str) -> None:
    """The daily limit in the headers tells the plan, and with it the minute's limit."""
    limiter = QuotaLimiter(QuotaSettings())
    per_minute, per_day = PLANS[plan]
    assert not limiter.snapshot(NOON).limit_known
    call(limiter, NOON, some_headers(per_day - 1, limit=per_day, reset=MIDNIGHT))

    snapshot = limiter.snapshot(NOON)
    assert (snapshot.minute_limit, snapshot.limit_known) == (per_minute, True)
    assert fill(limiter, NOON) == per_minute - 1


def test_configured_limit_is_kept() -> None:
    """Headers of another plan do not change a limit from the settings."""
    limiter = QuotaLimiter(PRO)
    for daily_limit, remaining in ((10_000, 9_999), (100, 99)):
        headers = some_headers(remaining, limit=daily_limit, reset=MIDNIGHT)
        call(limiter, NOON, headers)

        assert limit_of(limiter, NOON) == 50


def test_plan_that_changes() -> None:
    """After an upgrade the new plan's limit is used, after a downgrade too."""
    limiter = QuotaLimiter(QuotaSettings())
    for plan in ("starter", "org", "pro"):
        per_minute, per_day = PLANS[plan]
        call(limiter, NOON, some_headers(per_day - 9, limit=per_day, reset=MIDNIGHT))

        assert limit_of(limiter, NOON) == per_minute


def test_unknown_daily_limit_tells_no_plan() -> None:
    """A daily limit that no plan has leaves the minute's limit unknown."""
    limiter = QuotaLimiter(QuotaSettings())
    call(limiter, NOON, some_headers(776, limit=777, reset=MIDNIGHT))

    assert not limiter.snapshot(NOON).limit_known


def test_unknown_limit_starts_low_and_doubles() -> None:
    """An unknown limit starts at ten and doubles each time it is used up."""
    limiter = QuotaLimiter(UNKNOWN)
    assert limit_of(limiter, NOON) == 10
    for calls, limit in ((9, 10), (1, 20), (9, 20), (1, 40), (20, 80)):
        spend(limiter, NOON, calls)

        assert limit_of(limiter, NOON) == limit
    assert not limiter.snapshot(NOON).limit_known


def test_unused_limit_does_not_grow() -> None:
    """Calls far apart tell nothing about how many fit into a minute."""
    limiter = QuotaLimiter(UNKNOWN)
    for number in range(100):
        call(limiter, NOON + 10 * number)

    assert limit_of(limiter, NOON + 1_000) == 10


@pytest.mark.parametrize("hidden", [7, 10, 37, 200])
@pytest.mark.parametrize("kind", [FixedWindow, SlidingLog])
def test_first_refusal_finds_the_limit(
    hidden: int, kind: Callable[[int], Limiter]
) -> None:
    """The first refusal lowers an unknown limit to what was accepted, or just below."""
    caller = Caller(QuotaLimiter(UNKNOWN), Api(kind(hidden), headers=False))
    while not caller.refused:
        caller.run(calls=1)

    snapshot = caller.limiter.snapshot(caller.now)
    assert snapshot.limit_known
    assert hidden * 0.8 <= snapshot.minute_limit <= hidden


def test_few_in_flight_near_an_unknown_limit() -> None:
    """Beyond half of a limit that is not the plan's, one call is in flight."""
    limiter = QuotaLimiter(UNKNOWN)
    for _ in range(5):
        start(limiter, NOON)
    grant = limiter.acquire(NOON, Purpose.DISMISS)

    assert (grant.permit, grant.retry_at, grant.reason) == (None, None, None)


@pytest.mark.parametrize(
    ("limit", "count", "after"),
    [
        (10, 9, 9),  # at least one
        (10, 5, 7),  # not below three quarters at once
        (50, 49, 45),  # a tenth at least
        (50, 40, 40),  # what was accepted
        (50, 10, 37),
        (200, 199, 180),
        (1, 0, 1),
    ],
)
def test_refusal_lowers_the_limit(limit: int, count: int, after: int) -> None:
    """A refusal lowers the limit to what was accepted, within bounds."""
    minute = MinuteLimit.initial(limit)
    minute.on_accepted(count)
    minute.on_refused(count)

    assert minute.limit == after


def test_refusals_in_a_row_lower_it_once() -> None:
    """Without an accepted call in between, a refusal tells nothing new."""
    minute = MinuteLimit.initial(50)
    minute.on_accepted(40)
    for count in (40, 41, 12):
        minute.on_refused(count)

    assert minute.limit == 40


def test_refusal_without_calls_of_ours_tells_nothing() -> None:
    """When the minute was filled by other clients alone, the limit stays."""
    limiter = QuotaLimiter(PRO)
    call(limiter, NOON)
    refuse(limiter, NOON + 120)

    assert limit_of(limiter, NOON + 120) == 50


@pytest.mark.parametrize(
    ("base", "calls"), [(7, 20 * 7), (35, PROBE_CALLS + 35), (140, PROBE_CALLS + 140)]
)
def test_limit_rises_after_many_accepted_calls(base: int, calls: int) -> None:
    """The limit rises by a step only after many calls, so few are refused."""
    minute = measured(base)
    step = max(base // 10, 1)
    accept(minute, round(calls * 0.9))
    assert minute.limit < base + step
    accept(minute, round(calls * 0.1))

    assert minute.limit == base + step


def test_limit_rises_ever_faster() -> None:
    """Twice as many calls without a refusal raise the limit four times as far."""
    minute = measured(100)
    accept(minute, 300)
    assert minute.limit == 110
    accept(minute, 300)

    assert minute.limit == 140


def test_unused_measured_limit_does_not_rise() -> None:
    """Calls that use less than half of the limit do not raise it."""
    minute = measured(100)
    for _ in range(10_000):
        minute.on_accepted(49)

    assert minute.limit == 100


def test_plan_is_never_exceeded() -> None:
    """However long no call was refused, the plan's limit stays the limit."""
    minute = MinuteLimit.initial(50)
    minute.on_accepted(30)
    minute.on_refused(30)
    accept(minute, 100_000)

    assert minute.limit == 50


@pytest.mark.parametrize("kind", [FixedWindow, SlidingLog, TokenBucket])
def test_limit_that_rises_is_followed(kind: Callable[[int], Limiter]) -> None:
    """When the server allows more, more is used within half an hour."""
    server = kind(30)
    caller = Caller(QuotaLimiter(UNKNOWN), Api(server, headers=False))
    caller.run(until=NOON + 1_200)
    server.limit = 50
    caller.run(until=NOON + 3_000)
    before = caller.made
    caller.run(until=NOON + 4_800)

    assert caller.made - before >= 0.8 * 50 * 30
    assert caller.refused <= 0.02 * caller.made
