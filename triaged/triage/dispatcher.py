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
    Garbled,
    KeyRefused,
    LexiError,
    RateLimited,
    Unanswered,
    Unreachable,
)
from triaged.leadlex.models import Done
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Intent, Outcome, Search, Source
from triaged.ledger.flags import MarkName
from triaged.quota import Purpose
from triaged.triage.flights import Dismisser, Flight, Flights, Landing
from triaged.triage.rate_limiter import Meter
from triaged.triage.requests import Attempt, Carried, Halt, Order, count, outcome_of

# Enough to use 200 calls a minute when an answer takes two seconds, and no more than
# what one crash should leave unknown.
WIDTH: Final = 8

# Intents are written this many at a time: a commit costs as much as a fast call.
CLEARED: Final = 2 * WIDTH

# One unknown outcome may be bad luck; this many in a row is a server in trouble.
MAX_UNKNOWN_IN_A_ROW: Final = 3

# What was listed longer ago than this is looked at anew before anything is done.
MAX_LISTING_AGE: Final = timedelta(minutes=15)

_ASK_AGAIN: Final = 0.1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    """What a batch works with."""

    lexi: Dismisser
    ledger: Ledger
    meter: Meter
    clock: Clock
    on_attempt: Callable[[Attempt], None]


class Gate:
    """Carries out dismissals for one workspace."""

    def __init__(
        self,
        *,
        lexi: Dismisser,
        ledger: Ledger,
        meter: Meter,
        clock: Clock,
        on_attempt: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        self._means = _Means(
            lexi=lexi, ledger=ledger, meter=meter, clock=clock, on_attempt=on_attempt
        )

    async def carry_out(
        self,
        orders: Sequence[Order],
        *,
        source: Source,
        cycle: str,
        stop: asyncio.Event,
        listed_at: datetime,
    ) -> Carried:
        """Dismiss in the order given, several at a time, until done or halted.

        Calls in flight are always awaited; ``stop`` only keeps new ones from leaving.

        Raises:
            LedgerError: an intent or outcome cannot be remembered; nothing leaves.
        """
        return await _Batch(
            self._means, orders, source=source, cycle=cycle, listed_at=listed_at
        ).run(stop)


class _Batch:
    """One run of the gate over a list of orders."""

    def __init__(
        self,
        means: _Means,
        orders: Sequence[Order],
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
        self._flights = Flights(means.lexi, means.clock, width=WIDTH)
        self._ask_at: float | None = None
        self._attempts: list[Attempt] = []
        self._halt: Halt | None = None
        self._error: LexiError | None = None
        self._unknown_in_a_row = 0

    async def run(self, stop: asyncio.Event) -> Carried:
        """Take calls in and let calls out until there is nothing left to wait for."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while True:
                if stop.is_set():
                    self._stop_for(Halt.STOPPING)
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
        return Carried(
            attempts=tuple(self._attempts),
            undone=len(self._queue),
            halt=self._halt if self._queue else None,
            error=self._error,
        )

    def _step(self) -> None:
        """Write down what came back and what leaves next, in one durable step."""
        attempts: list[Attempt] = []
        with self._means.meter.step():
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
        if not flights.cleared or self._is_halted() or flights.landed >= WIDTH:
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
        room = min(CLEARED - self._flights.cleared, len(self._queue))
        if room <= 0 or self._is_halted():
            return
        admission = self._means.meter.admit(Purpose.DISMISS, room)
        now = self._means.clock.now()
        orders = [self._queue.popleft() for _ in admission.tickets]
        intents = [self._intent(order, now) for order in orders]
        ids = self._means.ledger.dismissals.intend(intents)
        self._flights.clear(map(Flight, orders, ids, admission.tickets))
        idle = self._flights.is_idle
        if admission.window == "day":
            # Nothing to wait for but what flies; after that the day is over.
            if idle and admission.until is not None:
                self._stop_for(Halt.QUOTA)
        elif self._queue:
            self._ask_at = admission.until
            if self._ask_at is None and idle:
                self._ask_at = now.timestamp() + _ASK_AGAIN

    def _call_back(self) -> None:
        """Undo the intents of cleared calls that will not leave any more."""
        at = self._means.clock.now()
        for flight in reversed(self._flights.call_back()):
            never = Unreachable("dismiss", message="not sent")
            self._means.meter.failed(flight.ticket, never)
            self._means.ledger.dismissals.settle(
                flight.entry_id, Outcome.FAILED, at=at, detail="not sent"
            )
            self._queue.appendleft(flight.order)

    def _look_once_more(self) -> None:
        """Heed what people said, and how old our knowledge is, since the decision."""
        marks = self._means.ledger.marks
        if self._means.clock.now() - self._listed_at > MAX_LISTING_AGE:
            self._stop_for(Halt.STALE)
        if self._source is not Source.DAEMON:
            return
        if marks.get(MarkName.PAUSED) is not None:
            self._stop_for(Halt.PAUSED)
        if vetoed := marks.vetoed():
            self._queue = deque(o for o in self._queue if o.task.id not in vetoed)

    def _settle(self, landing: Landing) -> Attempt:
        """Write down what became of one call, and learn from it."""
        means, at = self._means, self._means.clock.now()
        flight, error, end = landing.flight, landing.error, landing.end
        if isinstance(end, Done):
            outcome = Outcome.CONFIRMED
            means.meter.answered(flight.ticket, end.word)
        else:
            outcome = self._outcome(flight, end)
            means.meter.failed(flight.ticket, end)
        means.ledger.dismissals.settle(
            flight.entry_id,
            outcome,
            at=at,
            request_id=end.request_id,
            detail=None if error is None else str(error),
        )
        count(means.ledger, flight.order.rule, flight.order.reason, outcome)
        _log(landing, outcome)
        self._heed(flight, error)
        return Attempt(order=flight.order, outcome=outcome, error=error)

    def _outcome(self, flight: Flight, error: LexiError) -> Outcome:
        """Say what an error means for a task that may have been tried before."""
        outcome = outcome_of(error)
        if outcome is Outcome.ALREADY_HANDLED and self._was_tried(flight.task_id):
            # An earlier try may have been carried out after the list that still showed
            # the task pending: the next list tells whose dismissal it is.
            return Outcome.UNKNOWN
        return outcome

    def _was_tried(self, task_id: str) -> bool:
        search = Search(task_id=task_id, outcome=Outcome.FAILED)
        tried = self._means.ledger.dismissals.find(search)
        # In a batch of its own only what surely was not done is tried again.
        return any(entry.cycle != self._cycle for entry in tried)

    def _heed(self, flight: Flight, error: LexiError | None) -> None:
        """Decide from one call's end whether others may still leave."""
        if isinstance(error, Unanswered | Garbled):
            self._unknown_in_a_row += 1
            if self._unknown_in_a_row >= MAX_UNKNOWN_IN_A_ROW:
                self._stop_for(Halt.FAULTS, error)
            return
        self._unknown_in_a_row = 0
        if isinstance(error, RateLimited):
            # Refused is not done: the task keeps its place, the quota says when.
            self._queue.appendleft(flight.order)
        elif isinstance(error, KeyRefused):
            self._queue.appendleft(flight.order)
            self._stop_for(Halt.KEY, error)
        elif isinstance(error, Unreachable):
            self._queue.appendleft(flight.order)
            self._stop_for(Halt.UNREACHABLE, error)

    def _is_halted(self) -> bool:
        return self._halt is not None

    def _stop_for(self, halt: Halt, error: LexiError | None = None) -> None:
        if self._halt is None:
            self._halt, self._error = halt, error

    def _intent(self, order: Order, now: datetime) -> Intent:
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


def _log(landing: Landing, outcome: Outcome) -> None:
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
