"""The quota, the clock and the ledger together."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from tests.builders import T0, a_task
from tests.clocks import AutoAdvanceClock, ManualClock, let_others_run
from tests.fakes import InMemoryLeadLex
from triaged.clock import Clock
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    RateLimited,
    RequestRejected,
    TaskNotFound,
    Unreachable,
)
from triaged.leadlex.models import TaskList
from triaged.ledger import Ledger
from triaged.ledger.location import LedgerLocation
from triaged.quota import Purpose, QuotaSettings, RateLimitHeaders
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter

STARTER: Final = QuotaSettings(minute_limit=10, daily_limit=100)
TEN_A_DAY: Final = QuotaSettings(minute_limit=10, daily_limit=10)
MIDNIGHT: Final = T0 + timedelta(days=1)
HOUR: Final = timedelta(hours=1)


@pytest.fixture
def ledger(place: LedgerLocation) -> Iterator[Ledger]:
    with Ledger.open(place) as ledger:
        yield ledger


@pytest.fixture
def beside(ledger: Ledger, place: LedgerLocation) -> Iterator[Ledger]:
    """Open the same ledger as another process would."""
    del ledger  # made first
    with Ledger.open(place) as beside:
        yield beside


class JumpingClock(AutoAdvanceClock):
    """A clock whose wall time can be set, while the monotonic one runs on."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        super().__init__()
        self.ahead = ahead

    def now(self) -> datetime:
        return self.at + self.ahead


def permit_of(rate_limiter: RateLimiter, purpose: Purpose = Purpose.POLL) -> int:
    """Acquire a permit, which must be granted."""
    permit = rate_limiter.try_acquire(purpose).permit
    assert permit is not None
    return permit


def is_allowed(rate_limiter: RateLimiter, purpose: Purpose = Purpose.DISMISS) -> bool:
    return rate_limiter.try_acquire(purpose).permit is not None


def used(ledger: Ledger, clock: Clock, settings: QuotaSettings = STARTER) -> int:
    """Return what a process that starts now finds used."""
    return RateLimiter(settings, ledger, clock).snapshot().used_today


def version(ledger: Ledger) -> int:
    found = ledger.state.load_quota(unless_version=-1)
    assert found is not None
    return found[0]


# --- shared through the ledger ----------------------------------------------------


def test_charge_is_durable(ledger: Ledger, beside: Ledger) -> None:
    """A call is charged for every process before it is sent."""
    clock = AutoAdvanceClock()
    permit_of(RateLimiter(STARTER, ledger, clock))

    assert used(beside, clock) == 1


def test_a_dead_poll_blocks_no_later_daemon(ledger: Ledger, beside: Ledger) -> None:
    """After ``kill -9`` in mid-poll the next daemon need not wait for its expiry."""
    clock, unknown_plan = AutoAdvanceClock(), QuotaSettings(daily_limit=100)
    dead = RateLimiter(unknown_plan, ledger, clock)
    dead.take_over()
    while is_allowed(dead, Purpose.POLL):
        pass
    alive = RateLimiter(unknown_plan, beside, clock)
    before = used(beside, clock, unknown_plan)
    was_blocked = not is_allowed(alive, Purpose.POLL)
    alive.take_over()

    assert was_blocked
    assert used(beside, clock, unknown_plan) == before
    assert is_allowed(alive, Purpose.POLL)


def test_a_daemon_takes_no_call_of_a_command_for_lost(
    ledger: Ledger, beside: Ledger
) -> None:
    """A command that runs while the daemon starts is still waiting for its answer."""
    clock = AutoAdvanceClock()
    command = RateLimiter(STARTER, ledger, clock)
    permit_of(command, Purpose.OTHER)
    RateLimiter(STARTER, beside, clock).take_over()
    saved = ledger.state.load_quota(unless_version=-1)

    assert saved is not None
    assert saved[1] is not None
    assert len(saved[1]["in_flight"]) == 1


def test_transaction_is_written_once(ledger: Ledger, beside: Ledger) -> None:
    """Nested transactions are one, which no other process sees before its end."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    with rate_limiter.transaction():
        rate_limiter.on_response(permit_of(rate_limiter), RateLimitHeaders())
        permit_of(rate_limiter)
        before = (version(beside), used(beside, clock))

    assert before == (0, 0)
    assert (version(beside), used(beside, clock)) == (1, 2)


def test_rolled_back_calls_are_not_charged(ledger: Ledger, beside: Ledger) -> None:
    """A transaction that fails charges no call, in the ledger or in memory."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    permit_of(rate_limiter)

    def fail() -> None:
        with rate_limiter.transaction():
            permit_of(rate_limiter)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert rate_limiter.snapshot().used_today == used(beside, clock) == 1
    permit_of(rate_limiter)
    assert rate_limiter.snapshot().used_today == used(beside, clock) == 2


@pytest.mark.anyio
async def test_two_processes_share_one_minute(ledger: Ledger, beside: Ledger) -> None:
    """However two processes take turns, no minute has more calls than allowed."""
    clock = AutoAdvanceClock()
    processes = [RateLimiter(STARTER, where, clock) for where in (ledger, beside)]
    sent: list[float] = []
    for turn in range(24):
        rate_limiter = processes[turn % 2]
        permit = await rate_limiter.acquire(Purpose.DISMISS)
        sent.append(clock.monotonic())
        rate_limiter.on_response(permit, RateLimitHeaders())

    most = max(sum(a <= b < a + 60 for b in sent) for a in sent)
    assert most == 10
    assert sent[-1] - sent[0] < 130


@pytest.mark.anyio
async def test_no_call_waits_for_tomorrow(ledger: Ledger) -> None:
    """Once the day's share is used up, the error tells when the next day starts."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(TEN_A_DAY, ledger, clock)
    permits = set()
    for _ in range(8):
        permit = await rate_limiter.acquire(Purpose.DISMISS)
        rate_limiter.on_response(permit, RateLimitHeaders())
        permits.add(permit)
    with pytest.raises(QuotaExhausted) as raised:
        await rate_limiter.acquire(Purpose.DISMISS)

    assert len(permits) == 8
    assert MIDNIGHT <= raised.value.until <= MIDNIGHT + timedelta(minutes=2)
    clock.at = raised.value.until
    assert is_allowed(rate_limiter)


@pytest.mark.anyio
async def test_waiting_for_a_response(ledger: Ledger) -> None:
    """With enough calls in flight, the next one is sent soon after a response."""
    clock = ManualClock()
    rate_limiter = RateLimiter(QuotaSettings(daily_limit=777), ledger, clock)
    busy = []
    while (grant := rate_limiter.try_acquire(Purpose.DISMISS)).permit is not None:
        busy.append(grant.permit)
    waiting = asyncio.create_task(rate_limiter.acquire(Purpose.POLL))
    await let_others_run()
    for permit in busy:
        rate_limiter.on_response(permit, RateLimitHeaders())
    early = waiting.done()
    clock.advance(timedelta(seconds=0.1))

    assert grant.reason is None
    assert not early
    assert await waiting not in busy


# --- results ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "charged", "limit"),
    [
        (Unreachable("list"), 0, 100),
        (NoResponse("list"), 1, 100),
        (RequestRejected("dismiss"), 1, 100),
        (NoResponse("list", status=500), 1, 50),
        (MalformedResponse("list", status=200), 1, 50),
        (KeyRejected("list", status=401), 1, 50),
        (TaskNotFound("dismiss", status=404), 1, 50),
        (RateLimited("list", status=429), 1, 50),
    ],
)
def test_cost_of_each_failure(
    error: LexiError, charged: int, limit: int, ledger: Ledger
) -> None:
    """Only a call that was not sent is given back; every response has headers."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    permit = permit_of(rate_limiter)
    if error.status is not None:
        error.rate_limit = RateLimitHeaders(limit=50)
    rate_limiter.on_error(permit, error)
    snapshot = rate_limiter.snapshot()

    assert (snapshot.used_today, snapshot.daily_limit) == (charged, limit)


@pytest.mark.parametrize(("remaining", "window"), [(0, "day"), (7, "minute")])
def test_refusal_blocks_every_process(
    remaining: int, window: str, ledger: Ledger, beside: Ledger
) -> None:
    """After a 429 no process sends a call before its time, and it is counted."""
    counted: list[str] = []
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock, on_refused=counted.append)
    refused = RateLimited("list", status=429)
    refused.rate_limit = RateLimitHeaders(remaining=remaining)
    rate_limiter.on_error(permit_of(rate_limiter), refused)
    grant = RateLimiter(STARTER, beside, clock).try_acquire(Purpose.DISMISS)

    assert counted == [window]
    assert (grant.permit, grant.reason) == (None, window)
    assert grant.retry_at is not None
    assert grant.retry_at > T0.timestamp()


@pytest.mark.parametrize("seconds", [90, 1, -90])
def test_other_processes_know_the_skew(
    seconds: int, ledger: Ledger, beside: Ledger
) -> None:
    """What calls nothing knows the server's clock from one that does."""
    clock, skew = AutoAdvanceClock(), timedelta(seconds=seconds)
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    headers = RateLimitHeaders(date=clock.at + skew)
    rate_limiter.on_response(permit_of(rate_limiter), headers)
    clock.advance(10)
    other = RateLimiter(STARTER, beside, clock)

    assert other.last_clock_skew() == rate_limiter.clock_skew
    assert other.last_clock_skew() == (timedelta(0) if seconds == 1 else skew)


@pytest.mark.parametrize("status", [200, 404, 429, 503])
@pytest.mark.parametrize("ahead", [timedelta(0), 2 * HOUR, -2 * HOUR])
def test_retry_after_on_any_status(
    status: int, ahead: timedelta, ledger: Ledger
) -> None:
    """`Retry-After` beside any status blocks all calls until then, by any clock."""
    clock = JumpingClock(ahead)
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    until = clock.now() + HOUR
    error = RateLimited("list") if status == 429 else NoResponse("list", status=status)
    error.rate_limit = RateLimitHeaders(retry_after=until, date=clock.at)
    rate_limiter.on_error(permit_of(rate_limiter), error)

    grant = rate_limiter.try_acquire(Purpose.OTHER)
    assert grant.permit is None
    assert grant.retry_at == pytest.approx(until.timestamp())
    clock.advance(3_601)
    assert is_allowed(rate_limiter)


def test_response_tells_the_limit(ledger: Ledger) -> None:
    """Limit and remaining calls come from the headers, other clients' included."""
    rate_limiter = RateLimiter(QuotaSettings(), ledger, AutoAdvanceClock())
    headers = RateLimitHeaders(limit=1000, remaining=600)
    rate_limiter.on_response(permit_of(rate_limiter), headers)
    snapshot = rate_limiter.snapshot()

    assert snapshot.daily_limit == 1000
    assert (snapshot.remaining, snapshot.reserved) == (600, 200)
    assert snapshot.used_by_others == 399


def test_dismissals_of_a_dead_process_expire(ledger: Ledger) -> None:
    """Calls in flight at a crash are used, and no longer waited for."""
    clock = AutoAdvanceClock()
    unknown = QuotaSettings(daily_limit=777)
    dead = RateLimiter(unknown, ledger, clock)
    calls = 0
    while is_allowed(dead):
        calls += 1
    rate_limiter = RateLimiter(unknown, ledger, clock)
    was_allowed = is_allowed(rate_limiter)
    rate_limiter.expire_dismissals()

    assert not was_allowed
    assert rate_limiter.snapshot().used_today == calls
    assert is_allowed(rate_limiter)


# --- clocks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skew", "measured"),
    [
        (timedelta(0), timedelta(0)),
        (timedelta(seconds=2), timedelta(0)),
        (timedelta(seconds=-2), timedelta(0)),
        (timedelta(seconds=3), timedelta(seconds=3)),
        (HOUR, HOUR),
        (-HOUR, -HOUR),
    ],
)
def test_reset_by_the_local_clock(
    skew: timedelta, measured: timedelta, ledger: Ledger
) -> None:
    """Times of the server are returned by the local clock."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    reset = T0 + 10 * HOUR + measured
    headers = RateLimitHeaders(limit=100, remaining=9, reset=reset, date=T0 + skew)
    rate_limiter.on_response(permit_of(rate_limiter), headers)

    assert rate_limiter.clock_skew == measured
    assert rate_limiter.snapshot().reset_at == (T0 + 10 * HOUR).timestamp()


def test_last_date_counts(ledger: Ledger) -> None:
    """The skew stays through responses without a date, until the next date."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    skews = []
    for date in (T0 + HOUR, None, T0):
        headers = RateLimitHeaders(date=date)
        rate_limiter.on_response(permit_of(rate_limiter), headers)
        skews.append(rate_limiter.clock_skew)

    assert skews == [HOUR, HOUR, timedelta(0)]


@pytest.mark.parametrize(
    ("date", "reset", "retry_after"),
    [
        (datetime.max.replace(tzinfo=UTC), T0, T0 + HOUR),
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), T0 - HOUR),
        (T0 - HOUR, datetime.max.replace(tzinfo=UTC), T0),
    ],
)
def test_absurd_times(
    date: datetime, reset: datetime, retry_after: datetime, ledger: Ledger
) -> None:
    """No combination of headers is an error, and a call is allowed within a week."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    headers = RateLimitHeaders(
        remaining=50, reset=reset, date=date, retry_after=retry_after
    )
    rate_limiter.on_response(permit_of(rate_limiter), headers)

    assert rate_limiter.clock_skew == date - T0
    rate_limiter.next_poll(HOUR)
    clock.advance(8 * 86_400)
    assert is_allowed(rate_limiter)


def spend_day(rate_limiter: RateLimiter, clock: AutoAdvanceClock) -> int:
    """Make calls until the day is used up; every response has a `Date` only."""
    calls = 0
    while (grant := rate_limiter.try_acquire(Purpose.DISMISS)).reason != "day":
        if grant.permit is None:
            assert grant.retry_at is not None
            clock.advance(grant.retry_at - clock.now().timestamp())
            continue
        rate_limiter.on_response(grant.permit, RateLimitHeaders(date=clock.at))
        calls += 1
    return calls


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("jump", [25 * HOUR, -25 * HOUR])
def test_clock_jumps_start_no_day(
    jump: timedelta, restart: bool, ledger: Ledger
) -> None:
    """Without quota headers, a wall clock that jumps by a day starts no new day."""
    clock = JumpingClock()
    settings = QuotaSettings(minute_limit=10, daily_limit=20, reserve=0.0)
    rate_limiter = RateLimiter(settings, ledger, clock, boot_id="a")
    calls = spend_day(rate_limiter, clock)
    for _ in range(2):
        clock.ahead += jump
        if restart:
            rate_limiter = RateLimiter(settings, ledger, clock, boot_id="a")
        calls += spend_day(rate_limiter, clock)

    assert calls == 20
    clock.advance(86_400)
    assert spend_day(rate_limiter, clock) == 20


def test_wrong_clock_from_the_start(ledger: Ledger) -> None:
    """The first `Date` corrects a wall clock that was wrong before the first call."""
    clock = JumpingClock(25 * HOUR)
    settings = QuotaSettings(minute_limit=10, daily_limit=20, reserve=0.0)
    rate_limiter = RateLimiter(settings, ledger, clock)

    assert spend_day(rate_limiter, clock) <= 21
    reset = MIDNIGHT + 25 * HOUR
    assert rate_limiter.snapshot().reset_at == reset.timestamp()


@pytest.mark.parametrize(("boot_id", "restarted_at"), [("b", T0), ("a", T0 - HOUR)])
def test_restart_of_the_machine(
    boot_id: str, restarted_at: datetime, ledger: Ledger
) -> None:
    """After another boot the monotonic clock is not compared; the wall clock counts."""
    settings = QuotaSettings(minute_limit=10, daily_limit=20, reserve=0.0)
    clock = JumpingClock()
    spend_day(RateLimiter(settings, ledger, clock, boot_id="a"), clock)
    clock = JumpingClock(T0 + 25 * HOUR - restarted_at)
    clock.at = restarted_at

    assert is_allowed(RateLimiter(settings, ledger, clock, boot_id=boot_id))


# --- polls ------------------------------------------------------------------------


def test_polls_are_spread_over_the_day(ledger: Ledger, beside: Ledger) -> None:
    """An interval that the quota cannot carry is stretched, a longer one is kept."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    short = rate_limiter.next_poll(timedelta(minutes=1))
    long = rate_limiter.next_poll(3 * HOUR)
    with_backlog = rate_limiter.next_poll(timedelta(minutes=1), backlog=20)
    for _ in range(4):
        permit_of(RateLimiter(STARTER, beside, clock), Purpose.OTHER)
    later = rate_limiter.next_poll(timedelta(minutes=1))

    assert timedelta(minutes=18) <= short - T0 < HOUR
    assert long == T0 + 3 * HOUR
    assert with_backlog > short
    assert later > short


def test_no_poll_in_a_used_day(ledger: Ledger) -> None:
    """With no call left, the next list waits for the new day."""
    rate_limiter = RateLimiter(QuotaSettings(daily_limit=1), ledger, AutoAdvanceClock())

    assert rate_limiter.next_poll(timedelta(minutes=5)) >= MIDNIGHT


class Refusing:
    """A client that answers each list with the next of its errors."""

    def __init__(self, *errors: LexiError) -> None:
        self.errors = list(errors)
        self.asked: list[str] = []

    async def list_tasks(self, status: str) -> TaskList:
        self.asked.append(status)
        raise self.errors.pop(0)


@pytest.mark.anyio
async def test_list_is_charged(ledger: Ledger) -> None:
    """Each list costs one call, and none is left in flight; the default is pending."""
    clock = AutoAdvanceClock()
    entry = dict(a_task().raw)
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    reader = RateLimitedReader(InMemoryLeadLex([entry]), rate_limiter)
    pending = await reader.list_tasks()
    dismissed = await reader.list_tasks("dismissed", purpose=Purpose.OTHER)

    assert [task.id for task in pending.tasks] == ["task-1"]
    assert dismissed.tasks == []
    assert rate_limiter.snapshot().used_today == 2
    saved = ledger.state.load_quota(unless_version=-1)
    assert saved is not None
    assert saved[1] is not None
    assert saved[1]["in_flight"] == []


@pytest.mark.anyio
async def test_failed_list_is_charged(ledger: Ledger) -> None:
    """The caller gets the error, and the quota counts the call if it was sent."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    lexi = Refusing(Unreachable("list"), NoResponse("list", status=503))
    reader = RateLimitedReader(lexi, rate_limiter)
    with pytest.raises(Unreachable):
        await reader.list_tasks()
    after_one = rate_limiter.snapshot().used_today
    with pytest.raises(NoResponse):
        await reader.list_tasks("dismissed")

    assert (after_one, rate_limiter.snapshot().used_today) == (0, 1)
    assert lexi.asked == ["pending", "dismissed"]


@pytest.mark.anyio
async def test_used_day_sends_no_list(ledger: Ledger) -> None:
    """Without quota no list is requested."""
    lexi = Refusing()
    rate_limiter = RateLimiter(QuotaSettings(daily_limit=1), ledger, AutoAdvanceClock())
    with pytest.raises(QuotaExhausted):
        await RateLimitedReader(lexi, rate_limiter).list_tasks()

    assert lexi.asked == []


@pytest.mark.anyio
async def test_cancelled_list_stays_charged(ledger: Ledger) -> None:
    """A list that is cancelled may have been sent already."""

    class Hanging:
        async def list_tasks(self, status: str) -> TaskList:
            del status
            await asyncio.Event().wait()
            raise AssertionError

    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    listing = asyncio.create_task(
        RateLimitedReader(Hanging(), rate_limiter).list_tasks()
    )
    await let_others_run()
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing

    assert rate_limiter.snapshot().used_today == 1
