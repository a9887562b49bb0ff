"""Tests of the meter: the quota, the clock and the ledger together."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
from triaged.quota import Purpose, QuotaSettings, ServerWord
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter

STARTER: Final = QuotaSettings(minute_limit=10, daily_limit=100)
TEN_A_DAY: Final = QuotaSettings(minute_limit=10, daily_limit=10)
MIDNIGHT: Final = T0 + timedelta(days=1)
HOUR: Final = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def beside(ledger: Ledger) -> Iterator[Ledger]:
    """Open the same ledger as another process would."""
    with Ledger(ledger.path.parent) as beside:
        yield beside


def spent(ledger: Ledger, clock: Clock, settings: QuotaSettings = STARTER) -> int:
    """Say what a process that starts now would find spent."""
    return RateLimiter(settings, ledger, clock).snapshot().spent_today


def version(ledger: Ledger) -> int:
    found = ledger.state.load_quota(unless_version=-1)
    assert found is not None
    return found[0]


def test_a_charge_is_durable(ledger: Ledger, beside: Ledger) -> None:
    """What may leave is charged for every process before it leaves."""
    clock = AutoAdvanceClock()
    admission = RateLimiter(STARTER, ledger, clock).admit(Purpose.DISMISS, 2)

    assert len(admission.tickets) == 2
    assert spent(beside, clock) == 2


def test_a_step_is_written_once(ledger: Ledger, beside: Ledger) -> None:
    """Nested steps are one, which nobody sees before its end."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    with rate_limiter.transaction():
        (ticket,) = rate_limiter.admit(Purpose.POLL).tickets
        rate_limiter.on_response(ticket, ServerWord())
        rate_limiter.admit(Purpose.POLL)
        before = (version(beside), spent(beside, clock))

    assert before == (0, 0)
    assert (version(beside), spent(beside, clock)) == (1, 2)


def test_what_was_rolled_back_was_not_charged(ledger: Ledger, beside: Ledger) -> None:
    """A step that fails leaves no call behind, in the ledger or in mind."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    rate_limiter.admit(Purpose.POLL)

    def fail() -> None:
        with rate_limiter.transaction():
            rate_limiter.admit(Purpose.DISMISS, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert rate_limiter.snapshot().spent_today == spent(beside, clock) == 1
    rate_limiter.admit(Purpose.POLL)
    assert rate_limiter.snapshot().spent_today == spent(beside, clock) == 2


@pytest.mark.anyio
async def test_two_processes_share_one_minute(ledger: Ledger, beside: Ledger) -> None:
    """However they take turns, no minute sees more than the plan allows."""
    clock = AutoAdvanceClock()
    meters = [RateLimiter(STARTER, ledger, clock), RateLimiter(STARTER, beside, clock)]
    left: list[float] = []
    for turn in range(24):
        rate_limiter = meters[turn % 2]
        ticket = await rate_limiter.acquire(Purpose.DISMISS)
        left.append(clock.monotonic())
        rate_limiter.on_response(ticket, ServerWord())

    most = max(sum(a <= b < a + 60 for b in left) for a in left)
    assert most == 10
    assert left[-1] - left[0] < 130


@pytest.mark.anyio
async def test_nobody_waits_for_tomorrow(ledger: Ledger) -> None:
    """Once the day's share is gone, the wait ends with the moment of the next."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(TEN_A_DAY, ledger, clock)
    tickets = set()
    for _ in range(8):
        ticket = await rate_limiter.acquire(Purpose.DISMISS)
        rate_limiter.on_response(ticket, ServerWord())
        tickets.add(ticket)
    with pytest.raises(QuotaExhausted) as raised:
        await rate_limiter.acquire(Purpose.DISMISS)

    assert len(tickets) == 8
    assert MIDNIGHT <= raised.value.until <= MIDNIGHT + timedelta(minutes=2)
    clock.at = raised.value.until
    assert rate_limiter.admit(Purpose.DISMISS).tickets


@pytest.mark.anyio
async def test_whoever_waits_for_an_answer_asks_again(ledger: Ledger) -> None:
    """With enough calls in flight, the next one leaves soon after one has landed."""
    clock = ManualClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    busy = rate_limiter.admit(Purpose.DISMISS, 100)
    waiting = asyncio.create_task(rate_limiter.acquire(Purpose.POLL))
    await let_others_run()
    rate_limiter.on_response(busy.tickets[0], ServerWord())
    early = waiting.done()
    clock.advance(timedelta(seconds=0.1))

    assert busy.window is None
    assert not early
    assert await waiting not in busy.tickets


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
def test_each_failure_costs_what_it_may_have_cost(
    error: LexiError, charged: int, limit: int, ledger: Ledger
) -> None:
    """Only what never left is given back; what was answered may teach the limit."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    (ticket,) = rate_limiter.admit(Purpose.POLL).tickets
    if error.status is not None:
        error.rate_limit = ServerWord(limit=50)
    rate_limiter.on_error(ticket, error)
    view = rate_limiter.snapshot()

    assert (view.spent_today, view.daily_limit) == (charged, limit)


@pytest.mark.parametrize(("remaining", "window"), [(0, "day"), (7, "minute")])
def test_a_refusal_closes_the_gate_for_all(
    remaining: int, window: str, ledger: Ledger, beside: Ledger
) -> None:
    """After a 429 no process asks before its time, and somebody counts it."""
    told: list[str] = []
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock, on_refused=told.append)
    (ticket,) = rate_limiter.admit(Purpose.POLL).tickets
    refused = RateLimited("list", status=429)
    refused.rate_limit = ServerWord(remaining=remaining)
    rate_limiter.on_error(ticket, refused)
    other = RateLimiter(STARTER, beside, clock).admit(Purpose.DISMISS)

    assert told == [window]
    assert (other.tickets, other.window) == ((), window)
    assert other.until is not None
    assert other.until > T0.timestamp()


def test_an_answer_teaches_the_limit(ledger: Ledger) -> None:
    """Limit and what remains are taken from the headers, others' calls included."""
    rate_limiter = RateLimiter(QuotaSettings(), ledger, AutoAdvanceClock())
    (ticket,) = rate_limiter.admit(Purpose.POLL).tickets
    rate_limiter.on_response(ticket, ServerWord(limit=1000, remaining=600))
    view = rate_limiter.snapshot()

    assert (view.daily_limit, view.remaining, view.reserved) == (1000, 600, 200)
    assert view.spent_by_others == 399


@pytest.mark.parametrize(
    ("skew", "known"),
    [
        (timedelta(0), timedelta(0)),
        (timedelta(seconds=2), timedelta(0)),
        (timedelta(seconds=-2), timedelta(0)),
        (timedelta(seconds=3), timedelta(seconds=3)),
        (HOUR, HOUR),
        (-HOUR, -HOUR),
    ],
)
def test_the_reset_is_by_our_clock(
    skew: timedelta, known: timedelta, ledger: Ledger
) -> None:
    """The server's moments are moved by what its clock is ahead of ours."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    (ticket,) = rate_limiter.admit(Purpose.POLL).tickets
    reset = T0 + 10 * HOUR + known
    rate_limiter.on_response(
        ticket, ServerWord(remaining=9, reset=reset, date=T0 + skew)
    )

    assert rate_limiter.clock_skew == known
    assert rate_limiter.snapshot().reset_at == (T0 + 10 * HOUR).timestamp()


def test_the_last_date_counts(ledger: Ledger) -> None:
    """The skew lasts through answers without a date, until a date says otherwise."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    skews = []
    for word in (ServerWord(date=T0 + HOUR), ServerWord(), ServerWord(date=T0)):
        (ticket,) = rate_limiter.admit(Purpose.POLL).tickets
        rate_limiter.on_response(ticket, word)
        skews.append(rate_limiter.clock_skew)

    assert skews == [HOUR, HOUR, timedelta(0)]


@pytest.mark.parametrize(
    ("date", "reset"),
    [
        (datetime.max.replace(tzinfo=UTC), T0),
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        (T0 - HOUR, datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_absurd_moments_are_not_moved_out_of_time(
    date: datetime, reset: datetime, ledger: Ledger
) -> None:
    """No pair of headers is an error; a reset that cannot be is none."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    (ticket,) = rate_limiter.admit(Purpose.POLL).tickets
    rate_limiter.on_response(ticket, ServerWord(remaining=9, reset=reset, date=date))

    assert rate_limiter.clock_skew == date - T0
    assert rate_limiter.snapshot().reset_at == MIDNIGHT.timestamp()


def test_the_dismissals_of_a_dead_process_are_given_up(ledger: Ledger) -> None:
    """Calls in flight at a crash are spent, and no longer waited for."""
    clock = AutoAdvanceClock()
    dead = RateLimiter(STARTER, ledger, clock).admit(Purpose.DISMISS, 100)
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    stuck = rate_limiter.admit(Purpose.DISMISS)
    rate_limiter.expire_dismissals()

    assert stuck.tickets == ()
    assert rate_limiter.snapshot().spent_today == len(dead.tickets)
    assert rate_limiter.admit(Purpose.DISMISS).tickets


def test_polls_are_spread_over_the_day(ledger: Ledger, beside: Ledger) -> None:
    """A wish that the quota cannot carry is stretched, a modest one is granted."""
    clock = AutoAdvanceClock()
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    eager = rate_limiter.next_poll(timedelta(minutes=1))
    modest = rate_limiter.next_poll(3 * HOUR)
    with_backlog = rate_limiter.next_poll(timedelta(minutes=1), backlog=20)
    RateLimiter(STARTER, beside, clock).admit(Purpose.HAND, 4)
    later = rate_limiter.next_poll(timedelta(minutes=1))

    assert timedelta(minutes=18) <= eager - T0 < HOUR
    assert modest == T0 + 3 * HOUR
    assert with_backlog > eager
    assert later > eager


def test_no_poll_before_the_reset_of_a_spent_day(ledger: Ledger) -> None:
    """With nothing left to spend, the next list waits for the new day."""
    rate_limiter = RateLimiter(QuotaSettings(daily_limit=1), ledger, AutoAdvanceClock())

    assert rate_limiter.next_poll(timedelta(minutes=5)) >= MIDNIGHT


class Refusing:
    """A Lexi that answers each list with the next of its errors."""

    def __init__(self, *errors: LexiError) -> None:
        self.errors = list(errors)
        self.asked: list[str] = []

    async def list_tasks(self, status: str) -> TaskList:
        self.asked.append(status)
        raise self.errors.pop(0)


@pytest.mark.anyio
async def test_a_list_is_charged_and_heard(ledger: Ledger) -> None:
    """Pending unless told otherwise, one call each, and none is left in flight."""
    clock = AutoAdvanceClock()
    entry = dict(a_task().raw)
    rate_limiter = RateLimiter(STARTER, ledger, clock)
    reader = RateLimitedReader(InMemoryLeadLex([entry]), rate_limiter)
    pending = await reader.list_tasks()
    dismissed = await reader.list_tasks("dismissed", purpose=Purpose.SETTLE)

    assert [task.id for task in pending.tasks] == ["task-1"]
    assert dismissed.tasks == []
    assert rate_limiter.snapshot().spent_today == 2
    assert not rate_limiter._quota.state()["flights"]  # noqa: SLF001 - shown nowhere else


@pytest.mark.anyio
async def test_a_failed_list_is_charged_and_raised(ledger: Ledger) -> None:
    """The caller hears of the failure, and the quota does too."""
    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    lexi = Refusing(Unreachable("list"), NoResponse("list", status=503))
    reader = RateLimitedReader(lexi, rate_limiter)
    with pytest.raises(Unreachable):
        await reader.list_tasks()
    after_one = rate_limiter.snapshot().spent_today
    with pytest.raises(NoResponse):
        await reader.list_tasks("dismissed")

    assert (after_one, rate_limiter.snapshot().spent_today) == (0, 1)
    assert lexi.asked == ["pending", "dismissed"]


@pytest.mark.anyio
async def test_a_spent_day_asks_nobody(ledger: Ledger) -> None:
    """Without quota the list is not asked for at all."""
    lexi = Refusing()
    rate_limiter = RateLimiter(QuotaSettings(daily_limit=1), ledger, AutoAdvanceClock())
    with pytest.raises(QuotaExhausted):
        await RateLimitedReader(lexi, rate_limiter).list_tasks()

    assert lexi.asked == []


@pytest.mark.anyio
async def test_a_cancelled_list_stays_charged(ledger: Ledger) -> None:
    """Whoever is cancelled may have asked already."""

    class Hanging:
        async def list_tasks(self, status: str) -> TaskList:
            del status
            await asyncio.Event().wait()
            raise AssertionError

    rate_limiter = RateLimiter(STARTER, ledger, AutoAdvanceClock())
    context = asyncio.create_task(
        RateLimitedReader(Hanging(), rate_limiter).list_tasks()
    )
    await let_others_run()
    context.cancel()
    with pytest.raises(asyncio.CancelledError):
        await context

    assert rate_limiter.snapshot().spent_today == 1
