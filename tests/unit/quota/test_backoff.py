"""How long all calls are blocked."""

import itertools

import pytest

from tests.quota_servers import DAY, START
from tests.unit.quota.builders import (
    MIDNIGHT,
    NO_HEADERS,
    NOON,
    PRO,
    STARTER,
    call,
    fill,
    is_allowed,
    refuse,
    some_headers,
    start,
)
from triaged.quota import Purpose, QuotaLimiter, QuotaSettings


def blocked_for(limiter: QuotaLimiter, now: float) -> float:
    until = limiter.snapshot(now).blocked_until
    assert until is not None
    return until - now


def test_refusal_blocks_all_callers() -> None:
    """A 429 blocks every purpose until its time, and names the window."""
    limiter = QuotaLimiter(STARTER)
    headers = some_headers(50, limit=100, reset=MIDNIGHT)

    assert refuse(limiter, NOON, headers) == "minute"
    for purpose in Purpose:
        grant = limiter.acquire(NOON + 1, purpose)
        assert grant.permit is None
        assert grant.reason == "minute"
        assert grant.retry_at is not None
        assert NOON + 1 < grant.retry_at <= NOON + 60
    assert limiter.snapshot(NOON + 1).blocked_by == "minute"
    assert limiter.snapshot(NOON + 61).blocked_by is None


def test_first_refusal_waits_for_the_oldest_call() -> None:
    """The server's window started no later than the oldest call in it."""
    limiter = QuotaLimiter(PRO)
    call(limiter, NOON)
    fill(limiter, NOON + 30)
    refuse_at = NOON + 40
    limiter.on_rate_limited(refuse_at, 10_000, NO_HEADERS)

    assert blocked_for(limiter, refuse_at) == pytest.approx(20, abs=0.2)


def test_first_refusal_without_calls_waits_a_window() -> None:
    """Without a call in the window the server's window may have just started."""
    limiter = QuotaLimiter(STARTER)
    refuse(limiter, NOON)

    assert blocked_for(limiter, NOON) == 60


def test_a_low_limit_pauses_for_some_calls() -> None:
    """At ten a minute a refusal pauses for half a minute, however old the calls."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON)
    refuse(limiter, NOON + 59)

    assert blocked_for(limiter, NOON + 59) >= 30


def test_consecutive_refusals_double_at_least() -> None:
    """Each further refusal without an accepted call waits at least twice as long."""
    limiter = QuotaLimiter(STARTER)
    now, waits = START, []
    for _ in range(6):
        refuse(limiter, now)
        waits.append(blocked_for(limiter, now))
        now += waits[-1]

    assert waits[:3] == [60, 60, 240]
    assert all(b >= 2 * a for a, b in itertools.pairwise(waits[1:]))


def test_accepted_call_ends_the_series() -> None:
    """After an accepted call the next refusal is a first one again."""
    limiter = QuotaLimiter(STARTER)
    now = START
    for _ in range(4):
        refuse(limiter, now)
        now += blocked_for(limiter, now)
    call(limiter, now)
    refuse(limiter, now + 61)

    assert blocked_for(limiter, now + 61) <= 60


def test_refusals_of_one_burst_count_once() -> None:
    """Calls sent before the first refusal do not block longer."""
    limiter = QuotaLimiter(PRO)
    permits = [start(limiter, NOON) for _ in range(5)]
    for permit in permits:
        limiter.on_rate_limited(NOON + 0.1, permit, NO_HEADERS)

    assert blocked_for(limiter, NOON + 0.1) <= 60.1


def test_one_call_goes_first() -> None:
    """After a refusal one call is sent, and the others wait for its response."""
    limiter = QuotaLimiter(PRO)
    refuse(limiter, NOON)
    first = start(limiter, NOON + 61)
    grant = limiter.acquire(NOON + 61, Purpose.DISMISS)

    assert (grant.permit, grant.retry_at, grant.reason) == (None, None, None)
    limiter.on_response(NOON + 62, first, NO_HEADERS)
    assert is_allowed(limiter, NOON + 62)


def test_lost_first_call_does_not_block() -> None:
    """When the process of the first call has died, another call may be sent."""
    limiter = QuotaLimiter(PRO)
    refuse(limiter, NOON)
    start(limiter, NOON + 61)

    assert not is_allowed(limiter, NOON + 180)
    assert is_allowed(limiter, NOON + 182)


def test_older_response_does_not_end_the_series() -> None:
    """A call sent before the refusal tells nothing about the time after it."""
    limiter = QuotaLimiter(PRO)
    older, refused = start(limiter, NOON), start(limiter, NOON)
    limiter.on_rate_limited(NOON + 1, refused, NO_HEADERS)
    limiter.on_response(NOON + 2, older, NO_HEADERS)
    now = NOON + 2 + blocked_for(limiter, NOON + 2)
    start(limiter, now)

    assert not is_allowed(limiter, now)


@pytest.mark.parametrize("seconds", [7, 120, 3_600, 5 * 86_400])
@pytest.mark.parametrize("is_refusal", [True, False])
def test_retry_after_counts_on_any_status(seconds: int, is_refusal: bool) -> None:
    """`Retry-After` on a 429 or any other response blocks all calls until its time."""
    limiter = QuotaLimiter(QuotaSettings(daily_limit=1_000))
    headers = some_headers(retry_after=NOON + seconds)
    if is_refusal:
        refuse(limiter, NOON, headers)
    else:
        call(limiter, NOON, headers)
    grant = limiter.acquire(NOON + seconds - 0.1, Purpose.OTHER)

    assert grant.permit is None
    assert limiter.next_poll(NOON + 1, 1.0) >= NOON + seconds
    if not is_refusal or seconds > 60:
        assert (grant.reason, grant.retry_at) == ("retry_after", NOON + seconds)
    assert is_allowed(limiter, NOON + max(seconds, 61))


def test_retry_after_does_not_shorten() -> None:
    """A `Retry-After` earlier than the minute's own time changes nothing."""
    limiter = QuotaLimiter(STARTER)
    refuse(limiter, NOON, some_headers(retry_after=NOON + 1))

    assert not is_allowed(limiter, NOON + 59)


def test_retry_after_in_the_past_is_ignored() -> None:
    """A `Retry-After` that has passed blocks nothing."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(retry_after=NOON - 1))

    assert is_allowed(limiter, NOON)


def test_retry_after_is_bounded() -> None:
    """No server blocks all calls for more than a week."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(retry_after=NOON + 400 * DAY))

    assert blocked_for(limiter, NOON) == 7 * DAY


def test_nothing_remaining_means_the_day() -> None:
    """A refusal with nothing remaining blocks until the reset."""
    limiter = QuotaLimiter(PRO)
    headers = some_headers(0, limit=1_000, reset=MIDNIGHT)

    assert refuse(limiter, NOON, headers) == "day"
    grant = limiter.acquire(MIDNIGHT - 1, Purpose.DISMISS)
    assert (grant.permit, grant.reason) == (None, "day")
    assert is_allowed(limiter, MIDNIGHT + 61)
    assert limiter.snapshot(MIDNIGHT + 61).minute_limit == 50


def test_no_refusal_of_the_minute_outlasts_the_day() -> None:
    """A long series of refusals ends with the new day."""
    limiter = QuotaLimiter(STARTER)
    now = MIDNIGHT - 600
    for _ in range(3):
        refuse(limiter, now)
        now += blocked_for(limiter, now)
    refuse(limiter, now)

    assert now + blocked_for(limiter, now) <= MIDNIGHT + 60


def test_refusal_of_yesterday_does_not_block_today() -> None:
    """A call sent before midnight tells that yesterday's quota is used up."""
    limiter = QuotaLimiter(STARTER)
    permit = start(limiter, MIDNIGHT - 1)
    headers = some_headers(0, limit=100, reset=MIDNIGHT)

    limiter.on_rate_limited(MIDNIGHT + 3, permit, headers)
    assert not is_allowed(limiter, MIDNIGHT + 4)
    assert is_allowed(limiter, MIDNIGHT + 64)


def test_refused_call_takes_a_slot() -> None:
    """Servers may count refused calls, so the minute has one call fewer."""
    limiter = QuotaLimiter(PRO)
    call(limiter, NOON)
    refuse(limiter, NOON + 50)
    limit = limiter.snapshot(NOON + 62).minute_limit

    assert fill(limiter, NOON + 62) == limit - 1


def test_clock_set_back() -> None:
    """A clock that was set back does not make the block longer."""
    limiter = QuotaLimiter(STARTER)
    refuse(limiter, NOON)

    assert not is_allowed(limiter, NOON - 3_600)
    assert is_allowed(limiter, NOON - 3_600 + 61)
