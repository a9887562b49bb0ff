"""The daily window: its limit, what remains, and when the next one starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quota_servers import DAY, START, Api, FixedWindow
from tests.unit.quota.builders import (
    MIDNIGHT,
    NOON,
    PRO,
    STARTER,
    Caller,
    call,
    is_allowed,
    refuse,
    some_headers,
    spend,
    start,
)
from triaged.quota import Purpose, QuotaLimiter, QuotaSettings
from triaged.quota.day import MAX_RESPONSE_DELAY, DailyWindow, next_midnight

FAST = QuotaSettings(minute_limit=1_000, daily_limit=100)


# --- the limit --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "reported", "limit"),
    [(None, None, 100), (1_000, None, 1_000), (None, 500, 500), (1_000, 100, 100)],
)
def test_stricter_limit_counts(
    configured: int | None, reported: int | None, limit: int
) -> None:
    """The smaller of settings and headers counts; with neither, the smallest plan."""
    for one, other in ((configured, reported), (reported, configured)):
        day = DailyWindow(one, NOON, MIDNIGHT, reported_limit=other)

        assert day.limit == limit


@pytest.mark.parametrize(
    ("share", "reserved"),
    [(0.0, 0), (0.2, 20), (0.07, 7), (0.201, 21), (1.0, 100), (1.5, 100)],
)
def test_reserve_is_rounded_up(share: float, reserved: int) -> None:
    """The reserve is rounded up, but 0.07 of 100 is 7, though not in binary."""
    assert DailyWindow.at(NOON, 100).reserved(share) == reserved


def test_limit_of_zero_is_ignored() -> None:
    """A limit of zero is an error of the server, since it answers calls."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(50, limit=0))

    assert limiter.snapshot(NOON).daily_limit == 100


# --- what remains -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "reported", "in_flight", "remaining"),
    [
        (30, None, 5, 70),  # without headers only our own count
        (30, 70, 0, 70),
        (30, 40, 0, 40),  # others have used 30
        (30, 40, 5, 35),  # the server may not have counted those in flight
        (30, 90, 0, 70),  # nor those that were lost
        (120, None, 0, 0),
        (30, 2, 5, 0),
    ],
)
def test_smaller_count_counts(
    used: int, reported: int | None, in_flight: int, remaining: int
) -> None:
    """Ours lacks other clients, the server's lacks calls in flight."""
    day = DailyWindow(100, NOON, MIDNIGHT, reported_remaining=reported, used=used)

    assert day.remaining(in_flight) == remaining


@pytest.mark.parametrize(
    ("reported", "in_flight", "others"),
    [(None, 0, 0), (70, 0, 0), (50, 0, 20), (50, 10, 30), (90, 0, 0)],
)
def test_used_by_others(reported: int | None, in_flight: int, others: int) -> None:
    """What the server has counted beside our own calls is that of other clients."""
    day = DailyWindow(100, NOON, MIDNIGHT, reported_remaining=reported, used=30)

    assert day.used_by_others(in_flight) == others


def test_used_by_others_under_a_bigger_plan() -> None:
    """The server counts down from its own limit, even if ours is smaller."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(969, limit=1_000, reset=MIDNIGHT))

    snapshot = limiter.snapshot(NOON)
    assert (snapshot.used_by_others, snapshot.remaining) == (30, 99)


def test_responses_out_of_order() -> None:
    """An older response that arrives late gives no calls back."""
    limiter = QuotaLimiter(PRO)
    first, second, third = (start(limiter, NOON) for _ in range(3))
    limiter.on_response(NOON + 1, second, some_headers(498, limit=1_000))
    limiter.on_response(NOON + 2, first, some_headers(499, limit=1_000))

    assert limiter.snapshot(NOON + 2).remaining <= 497
    limiter.on_response(NOON + 3, third, some_headers(497, limit=1_000))
    assert limiter.snapshot(NOON + 3).remaining == 497


def test_lost_calls_are_used() -> None:
    """A call that was sent and not answered is used."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(50, limit=100, reset=MIDNIGHT))
    limiter.on_no_response(NOON + 1, start(limiter, NOON))

    assert limiter.snapshot(NOON + 1).remaining == 49


def test_reserve_is_never_used() -> None:
    """Of 100 calls a day with a reserve of a fifth, the 81st is not allowed."""
    limiter = QuotaLimiter(STARTER)
    now = spend(limiter, START, 80)
    grant = limiter.acquire(now, Purpose.DISMISS)

    assert (grant.permit, grant.reason) == (None, "day")
    assert grant.retry_at is not None
    assert MIDNIGHT <= grant.retry_at <= MIDNIGHT + 60


def test_poll_needs_two_calls() -> None:
    """A poll with the last call could only find what cannot be dismissed any more."""
    limiter = QuotaLimiter(STARTER)
    now = spend(limiter, START, 79) + 60

    assert limiter.acquire(now, Purpose.POLL).reason == "day"
    assert is_allowed(limiter, now, Purpose.DISMISS)
    assert is_allowed(limiter, now, Purpose.OTHER)


# --- headers that describe another window -----------------------------------------


def test_headers_that_describe_the_minute() -> None:
    """Against such a server nothing is refused in 24 hours, and the reserve is kept."""
    limiter = QuotaLimiter(STARTER)
    api = Api(FixedWindow(10), day_limit=100, minute_headers=True)
    caller = Caller(limiter, api, now=START)
    caller.run(until=MIDNIGHT)

    assert (caller.made, caller.refused) == (80, 0)
    assert limiter.snapshot(MIDNIGHT - 1).remaining == 20


def test_headers_that_describe_the_minute_without_a_plan() -> None:
    """Without a plan too the reserve of the smallest plan is kept."""
    limiter = QuotaLimiter(QuotaSettings())
    api = Api(FixedWindow(10), day_limit=100, minute_headers=True)
    caller = Caller(limiter, api, now=START)
    caller.run(until=MIDNIGHT)

    assert caller.made + caller.refused == 80
    assert caller.refused <= 2


def test_headers_of_the_minute_forget_no_call() -> None:
    """What we have used ourselves is not forgotten because of a header."""
    limiter = QuotaLimiter(STARTER)
    now = spend(limiter, NOON, 7, some_headers(3, limit=10, reset=NOON + 60))

    snapshot = limiter.snapshot(now)
    assert (snapshot.daily_limit, snapshot.remaining) == (100, 93)
    assert (snapshot.used_today, snapshot.reset_at) == (7, MIDNIGHT)


def test_refusal_with_headers_of_the_minute() -> None:
    """Nothing remaining in the minute blocks for the minute, not for the day."""
    limiter = QuotaLimiter(STARTER)

    assert refuse(limiter, NOON, some_headers(0, limit=10, reset=NOON + 60)) == "minute"
    assert is_allowed(limiter, NOON + 61)


def test_headers_of_an_hour() -> None:
    """A limit other than the configured one that resets within the day is ignored."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(19, limit=20, reset=NOON + 3_600))

    assert limiter.snapshot(NOON).remaining == 99


def test_last_minute_of_the_day() -> None:
    """Shortly before midnight the day's headers are recognized by their limit."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, MIDNIGHT - 30, some_headers(9, limit=10, reset=MIDNIGHT))
    assert limiter.snapshot(MIDNIGHT - 30).remaining == 99
    call(limiter, MIDNIGHT - 20, some_headers(40, limit=100, reset=MIDNIGHT))

    assert limiter.snapshot(MIDNIGHT - 20).remaining == 40


# --- the end of the day -----------------------------------------------------------


@pytest.mark.parametrize("now", [START, START + 0.5, NOON, MIDNIGHT - 0.001])
def test_day_ends_at_midnight(now: float) -> None:
    """The day is the UTC day; at midnight the next one is a whole day ahead."""
    assert next_midnight(now) == MIDNIGHT
    assert QuotaLimiter(STARTER).snapshot(now).reset_at == MIDNIGHT


def test_next_day() -> None:
    """After the reset and its jitter the whole day may be used again."""
    limiter = QuotaLimiter(STARTER)
    now = spend(limiter, START, 80)
    retry_at = limiter.acquire(now, Purpose.DISMISS).retry_at
    assert retry_at is not None

    assert not is_allowed(limiter, MIDNIGHT - 0.1)
    assert is_allowed(limiter, retry_at)
    assert limiter.snapshot(retry_at).remaining == 100


def test_calls_in_flight_at_midnight() -> None:
    """The server may count them in either day, so both include them."""
    limiter = QuotaLimiter(STARTER)
    for _ in range(3):
        start(limiter, MIDNIGHT - 1)

    assert limiter.snapshot(MIDNIGHT + 5).used_today == 3


def test_short_day() -> None:
    """A server whose day has the configured limit and ten minutes is followed."""
    limiter = QuotaLimiter(FAST)
    most = []
    for day in range(3):
        now, made = NOON + 600.0 * day + 3, 0
        reset = now + 597
        while is_allowed(limiter, now):
            made, now = made + 1, now + 0.1
            call(limiter, now, some_headers(100 - made, limit=100, reset=reset))
        most.append(made)
        assert limiter.snapshot(now).reset_at == reset

    assert most == [80, 80, 80]


@pytest.mark.parametrize(
    "reset",
    [START - 1, START - 40 * DAY, START + 3 * DAY, START + 4_000 * DAY],
    ids=["over", "stale", "in three days", "absurd"],
)
def test_impossible_reset(reset: float) -> None:
    """A reset in the past or beyond a day leaves the next midnight in force."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(90, limit=100, reset=reset))

    snapshot = limiter.snapshot(NOON)
    assert (snapshot.reset_at, snapshot.remaining) == (MIDNIGHT, 90)


@pytest.mark.parametrize("sent", [-0.1, 2.5])
def test_late_response_of_yesterday(sent: float) -> None:
    """A response that describes the day before does not use up this one."""
    limiter = QuotaLimiter(STARTER)
    spend(limiter, START, 70)
    permit = start(limiter, MIDNIGHT + sent)
    headers = some_headers(21, limit=100, reset=MIDNIGHT)
    limiter.on_response(MIDNIGHT + 2.7, permit, headers)

    assert limiter.snapshot(MIDNIGHT + 5).remaining >= 98


def test_late_response_without_a_reset() -> None:
    """What was sent before the day started describes yesterday."""
    limiter = QuotaLimiter(STARTER)
    permit = start(limiter, MIDNIGHT - 1)
    limiter.on_response(MIDNIGHT + 5, permit, some_headers(3, limit=100))
    assert limiter.snapshot(MIDNIGHT + 5).remaining == 99

    now = MIDNIGHT + MAX_RESPONSE_DELAY + 10
    call(limiter, now, some_headers(3, limit=100))
    assert limiter.snapshot(now).remaining == 3


def test_server_starts_its_day_first() -> None:
    """Near the end of the day, a later reset with more remaining is the new day."""
    limiter = QuotaLimiter(STARTER)
    spend(limiter, START, 70, some_headers(30, limit=100, reset=MIDNIGHT))
    permit = start(limiter, MIDNIGHT - 1)
    headers = some_headers(99, limit=100, reset=MIDNIGHT + DAY)
    limiter.on_response(MIDNIGHT - 0.5, permit, headers)

    snapshot = limiter.snapshot(MIDNIGHT)
    assert (snapshot.remaining, snapshot.reset_at) == (99, MIDNIGHT + DAY)


def test_header_of_the_next_day_at_noon() -> None:
    """In the middle of the day, a header does not make us forget our calls."""
    limiter = QuotaLimiter(STARTER)
    now = spend(limiter, NOON, 70, some_headers(30, limit=100, reset=MIDNIGHT))
    call(limiter, now + 60, some_headers(99, limit=100, reset=MIDNIGHT + 3_000))

    assert limiter.snapshot(now + 60).used_today == 71


@pytest.mark.parametrize(
    ("back", "reset"),
    [(12 * 3_600, MIDNIGHT), (13 * 3_600, MIDNIGHT), (13 * 3_600 + 1, START)],
)
def test_clock_set_back(back: int, reset: float) -> None:
    """A clock that was set far back does not make the day endless."""
    limiter = QuotaLimiter(STARTER)
    spend(limiter, NOON, 5)
    snapshot = limiter.snapshot(NOON - back)

    assert (snapshot.reset_at, snapshot.used_today) == (reset, 5)


@given(st.integers(0, 2**32), st.floats(0, 600))
def test_start_of_the_next_day(seed: int, spread: float) -> None:
    """Each seed starts at its own time within the spread, after all clocks agree."""
    day = DailyWindow.at(NOON, 100)
    starts = day.starts_at(seed, spread)

    assert MIDNIGHT + 2 <= starts <= MIDNIGHT + max(spread, 2)
    assert starts == day.starts_at(seed, spread)


def test_installations_start_apart() -> None:
    """Different seeds start at different times all over the spread."""
    day = DailyWindow.at(NOON, 1_000)
    times = [day.starts_at(seed, 60) - MIDNIGHT for seed in range(50)]

    assert len(set(times)) == 50
    assert min(times) < 10
    assert max(times) > 50


# --- polls ------------------------------------------------------------------------


def dismiss(limiter: QuotaLimiter, now: float, calls: int) -> None:
    for _ in range(calls):
        call(limiter, now)


def test_polls_are_spread() -> None:
    """An interval that the quota cannot carry is stretched, never shortened."""
    starter = QuotaLimiter(STARTER)
    interval = starter.next_poll(START, 300.0) - START

    assert interval == DAY / 60  # a quarter of 80 is kept for dismissals
    assert starter.snapshot(START).poll_interval == interval
    generous = QuotaLimiter(QuotaSettings(daily_limit=100_000))
    assert generous.next_poll(NOON, 300.0) == NOON + 300


def test_backlog_gets_at_most_half() -> None:
    """With much to dismiss, polls become rarer, but keep half of the calls."""
    limiter = QuotaLimiter(STARTER)
    calm = limiter.next_poll(NOON, 300.0) - NOON
    busy = limiter.next_poll(NOON, 300.0, backlog=500) - NOON

    assert calm < busy == DAY / 2 / 40


def test_no_poll_in_a_used_day() -> None:
    """With one call left the next poll waits for the next day."""
    limiter = QuotaLimiter(FAST)
    dismiss(limiter, NOON, 79)

    assert limiter.next_poll(NOON, 300.0) >= MIDNIGHT


def test_yesterday_forecasts_today() -> None:
    """As many dismissals as yesterday are expected, fewer as the day passes."""
    day = DailyWindow.at(START, 1_000)
    day.dismissed = 40
    day.roll_over(MIDNIGHT + 2, 0)

    assert day.expected_dismissals(MIDNIGHT + DAY / 4) == 30
    assert day.expected_dismissals(MIDNIGHT + 3 * DAY / 4) == 10
    assert day.expected_dismissals(MIDNIGHT + 2 * DAY) == 0


@pytest.mark.parametrize(
    ("hours", "expected"), [(24, 10), (12, 20), (6, 40), (1, 240), (0.5, 240)]
)
def test_part_of_a_day_forecasts_a_day(hours: float, expected: float) -> None:
    """Ten in half a day are twenty in a whole one; an hour is the shortest part."""
    day = DailyWindow.at(MIDNIGHT - hours * 3_600, 1_000)
    day.dismissed = 10
    day.roll_over(MIDNIGHT + 2, 0)

    assert day.dismissed_yesterday == expected


@pytest.mark.parametrize(
    ("behind", "expected"),
    [(0.0, 0.0), (0.19, 0.0), (0.21, 10 * 0.79 / 0.21), (0.5, 10.0), (0.75, 10 / 3)],
)
def test_today_forecasts_its_rest(behind: float, expected: float) -> None:
    """Today's dismissals tell about the rest once a fifth of the day has passed."""
    day = DailyWindow.at(START, 1_000)
    day.dismissed = 10

    assert day.expected_dismissals(START + behind * DAY) == pytest.approx(expected)


def test_only_answered_dismissals_are_forecast() -> None:
    """Polls and lost calls do not raise the forecast, dismissals do."""
    intervals = []
    for purpose, is_lost in (
        (Purpose.POLL, False),
        (Purpose.DISMISS, True),
        (Purpose.DISMISS, False),
    ):
        limiter = QuotaLimiter(QuotaSettings(minute_limit=1_000, daily_limit=1_000))
        limiter.snapshot(START)
        for _ in range(300):
            permit = start(limiter, NOON, purpose)
            if is_lost:
                limiter.on_no_response(NOON, permit)
            else:
                limiter.on_response(NOON, permit, some_headers())
        intervals.append(limiter.next_poll(NOON, 1.0) - NOON)

    assert intervals[0] == intervals[1] < intervals[2]
