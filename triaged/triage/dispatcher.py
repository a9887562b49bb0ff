"""The one way to a dismissal: intent, quota, call, outcome, in this order.

The gate holds the only reference to the dismiss call; daemon and commands all go
through it.  What may be dismissed was decided before, by rules and guard or by a
person; the gate only looks once more whether somebody paused or vetoed meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from triaged.clock import Clock
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    RateLimited,
    Unreachable,
)
from triaged.leadlex.models import Confirmation
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, Intent, Outcome, Source
from triaged.ledger.flags import FlagName
from triaged.quota import Purpose
from triaged.triage.flights import Call, CallPool, CallResult, Dismisser
from triaged.triage.rate_limiter import RateLimiter
from triaged.triage.requests import (
    Attempt,
    DismissRequest,
    DispatchResult,
    HaltReason,
    outcome_of,
    record_attempt,
)

# Enough to use 200 calls a minute when an answer takes two seconds, and no more than
# what one crash should leave unknown.
MAX_CONCURRENT: Final = 8

# Intents are written this many at a time: a commit costs as much as a fast call.
BATCH_SIZE: Final = 2 * MAX_CONCURRENT

# One unknown outcome may be bad luck; this many in a row is a server in trouble.
MAX_UNKNOWN_IN_A_ROW: Final = 3

# What was listed longer ago than this is looked at anew before anything is done.
MAX_LIST_AGE: Final = timedelta(minutes=15)

_RETRY_SECONDS: Final = 0.1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dependencies:
    """What a batch works with."""

    lexi: Dismisser
    ledger: Ledger
    rate_limiter: RateLimiter
    clock: Clock
    on_attempt: Callable[[Attempt], None]


class Dispatcher:
    """Carries out dismissals for one workspace."""

    def __init__(
        self,
        *,
        lexi: Dismisser,
        ledger: Ledger,
        rate_limiter: RateLimiter,
        clock: Clock,
        on_attempt: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        self._means = _Dependencies(
            lexi=lexi,
            ledger=ledger,
            rate_limiter=rate_limiter,
            clock=clock,
            on_attempt=on_attempt,
        )

    async def dispatch(
        self,
        orders: Sequence[DismissRequest],
        *,
        source: Source,
        cycle: str,
        stop: asyncio.Event,
        listed_at: datetime,
    ) -> DispatchResult:
        """Dismiss in the order given, several at a time, until done or halted.

        Calls in flight are always awaited; ``stop`` only keeps new ones from leaving.

        Raises:
            LedgerError: an intent or outcome cannot be remembered; nothing leaves.
        """
        return await _DispatchRun(
            self._means, orders, source=source, cycle=cycle, listed_at=listed_at
        ).run(stop)


class _DispatchRun:
    """One run of the gate over a list of orders."""

    def __init__(
        self,
        means: _Dependencies,
        orders: Sequence[DismissRequest],
        *,
        source: Source,
        cycle: str,
        listed_at: datetime,
    ) -> None:
        self._means = means
        self._queue = deque(orders)
        self._source = source
        self._cycle = cycle
        self._listed_at = listed_at
        self._flights = CallPool(means.lexi, means.clock, width=MAX_CONCURRENT)
        self._ask_at: float | None = None
        self._attempts: list[Attempt] = []
        self._halt: HaltReason | None = None
        self._error: LexiError | None = None
        self._unknown_in_a_row = 0

    async def run(self, stop: asyncio.Event) -> DispatchResult:
        """Take calls in and let calls out until there is nothing left to wait for."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while True:
                if stop.is_set():
                    self._stop_for(HaltReason.STOPPING)
                if self._is_step_due():
                    self._step()
                self._flights.launch()
                if self._is_over():
                    break
                # What may leave need not wait for more to be cleared.
                until = None if self._flights.cleared else self._ask_at
                event = None if self._is_halted() else stopping
                await self._flights.wait(event, until)
        finally:
            stopping.cancel()
            self._flights.abandon()
        return DispatchResult(
            attempts=tuple(self._attempts),
            remaining=len(self._queue),
            halt=self._halt if self._queue else None,
            error=self._error,
        )

    def _step(self) -> None:
        """Write down what came back and what leaves next, in one durable step."""
        attempts: list[Attempt] = []
        with self._means.rate_limiter.transaction():
            landed = self._flights.take_landed()
            attempts += [self._settle(landing) for landing in landed]
            refused = any(isinstance(a.error, RateLimited) for a in attempts)
            if refused or self._is_halted():
                # A 429 closes the gate for everything that has not left yet.
                self._call_back()
            if not self._is_halted():
                self._clear()
        self._attempts += attempts
        for attempt in attempts:
            self._means.on_attempt(attempt)

    def _is_step_due(self) -> bool:
        flights = self._flights
        if not flights.cleared or self._is_halted() or flights.landed >= MAX_CONCURRENT:
            return True
        # Bad news may have to stop what is cleared already.
        return flights.has_bad_news

    def _is_over(self) -> bool:
        if not self._flights.is_idle or self._flights.landed:
            return False
        return not self._queue or self._is_halted()

    def _clear(self) -> None:
        """Charge the quota and write the intents of the calls that may leave next."""
        self._ask_at = None
        self._look_once_more()
        room = min(BATCH_SIZE - self._flights.cleared, len(self._queue))
        if room <= 0 or self._is_halted():
            return
        permits: list[int] = []
        grant = self._means.rate_limiter.try_acquire(Purpose.DISMISS)
        while grant.permit is not None:
            permits.append(grant.permit)
            if len(permits) == room:
                break
            grant = self._means.rate_limiter.try_acquire(Purpose.DISMISS)
        now = self._means.clock.now()
        orders = [self._queue.popleft() for _ in permits]
        intents = [self._intent(order, now) for order in orders]
        ids = self._means.ledger.dismissals.record_intents(intents)
        self._flights.clear(map(Call, orders, ids, permits))
        idle = self._flights.is_idle
        if grant.reason == "day":
            # Nothing to wait for but what flies; after that the day is over.
            if idle and grant.retry_at is not None:
                self._stop_for(HaltReason.QUOTA)
        elif self._queue:
            self._ask_at = grant.retry_at
            if self._ask_at is None and idle:
                self._ask_at = now.timestamp() + _RETRY_SECONDS

    def _call_back(self) -> None:
        """Undo the intents of cleared calls that will not leave any more."""
        at = self._means.clock.now()
        for flight in reversed(self._flights.call_back()):
            never = Unreachable("dismiss", message="not sent")
            self._means.rate_limiter.on_error(flight.ticket, never)
            self._means.ledger.dismissals.record_outcome(
                flight.entry_id, Outcome.FAILED, at=at, detail="not sent"
            )
            self._queue.appendleft(flight.order)

    def _look_once_more(self) -> None:
        """Heed what people said, and how old our knowledge is, since the decision."""
        flags = self._means.ledger.flags
        if self._means.clock.now() - self._listed_at > MAX_LIST_AGE:
            self._stop_for(HaltReason.STALE)
        if self._source is not Source.DAEMON:
            return
        if flags.get(FlagName.PAUSED) is not None:
            self._stop_for(HaltReason.PAUSED)
        if vetoed := flags.vetoed():
            self._queue = deque(o for o in self._queue if o.task.id not in vetoed)

    def _settle(self, landing: CallResult) -> Attempt:
        """Write down what became of one call, and learn from it."""
        means, at = self._means, self._means.clock.now()
        flight, error, end = landing.flight, landing.error, landing.end
        if isinstance(end, Confirmation):
            outcome = Outcome.CONFIRMED
            means.rate_limiter.on_response(flight.ticket, end.rate_limit)
        else:
            outcome = self._outcome(flight, end)
            means.rate_limiter.on_error(flight.ticket, end)
        means.ledger.dismissals.record_outcome(
            flight.entry_id,
            outcome,
            at=at,
            request_id=end.request_id,
            detail=None if error is None else str(error),
        )
        record_attempt(means.ledger, flight.order.rule, flight.order.reason, outcome)
        _log(landing, outcome)
        self._heed(flight, error)
        return Attempt(order=flight.order, outcome=outcome, error=error)

    def _outcome(self, flight: Call, error: LexiError) -> Outcome:
        """Say what an error means for a task that may have been tried before."""
        outcome = outcome_of(error)
        if outcome is Outcome.ALREADY_HANDLED and self._was_tried(flight.task_id):
            # An earlier try may have been carried out after the list that still showed
            # the task pending: the next list tells whose dismissal it is.
            return Outcome.UNKNOWN
        return outcome

    def _was_tried(self, task_id: str) -> bool:
        search = DismissalFilter(task_id=task_id, outcome=Outcome.FAILED)
        tried = self._means.ledger.dismissals.query(search)
        # In a batch of its own only what surely was not done is tried again.
        return any(entry.cycle != self._cycle for entry in tried)

    def _heed(self, flight: Call, error: LexiError | None) -> None:
        """Decide from one call's end whether others may still leave."""
        if isinstance(error, NoResponse | MalformedResponse):
            self._unknown_in_a_row += 1
            if self._unknown_in_a_row >= MAX_UNKNOWN_IN_A_ROW:
                self._stop_for(HaltReason.FAULTS, error)
            return
        self._unknown_in_a_row = 0
        if isinstance(error, RateLimited):
            # Refused is not done: the task keeps its place, the quota says when.
            self._queue.appendleft(flight.order)
        elif isinstance(error, KeyRejected):
            self._queue.appendleft(flight.order)
            self._stop_for(HaltReason.KEY, error)
        elif isinstance(error, Unreachable):
            self._queue.appendleft(flight.order)
            self._stop_for(HaltReason.UNREACHABLE, error)

    def _is_halted(self) -> bool:
        return self._halt is not None

    def _stop_for(self, halt: HaltReason, error: LexiError | None = None) -> None:
        if self._halt is None:
            self._halt, self._error = halt, error

    def _intent(self, order: DismissRequest, now: datetime) -> Intent:
        return Intent(
            task=order.task,
            rule=order.rule,
            reason=order.reason,
            source=self._source,
            cycle=self._cycle,
            decided_at=now,
            rules_sha256=order.rules_sha256,
            trace=order.trace,
        )


def _log(landing: CallResult, outcome: Outcome) -> None:
    order, error = landing.flight.order, landing.error
    write = log.info if outcome is Outcome.CONFIRMED else log.warning
    write(
        "task.dismissed" if error is None else f"dismissal.{outcome}",
        task=order.task.id,
        rule=order.rule,
        reason=order.reason,
        request_id=landing.end.request_id,
        **({} if error is None else {"error": str(error)}),
    )
