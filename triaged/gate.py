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
from typing import Any, Final, Protocol

import structlog

from triaged.clock import Clock
from triaged.errors import (
    Garbled,
    KeyRefused,
    LexiError,
    RateLimited,
    Unanswered,
    Unreachable,
)
from triaged.leadlex.client import Done
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Intent, Outcome, Source
from triaged.ledger.marks import MarkName
from triaged.meter import Meter
from triaged.orders import Attempt, Carried, Halt, Order, count, outcome_of
from triaged.quota import Purpose

# Enough to use 200 calls a minute when an answer takes two seconds, and no more than
# what one crash should leave unknown.
WIDTH: Final = 8

# Intents are written this many at a time: a commit costs as much as a fast call.
CLEARED: Final = 2 * WIDTH

# One unknown outcome may be bad luck; this many in a row is a server in trouble.
MAX_UNKNOWN_IN_A_ROW: Final = 3

# What was listed longer ago than this is looked at anew before anything is done.
MAX_LISTING_AGE: Final = timedelta(minutes=15)

_NAP_SLACK: Final = 0.01
_ASK_AGAIN: Final = 0.1

log = structlog.get_logger()


class Dismisser(Protocol):
    """Whoever can dismiss; in a dry run nobody can."""

    async def dismiss(self, task_id: str, reason: str) -> Done:
        """Dismiss a task for good."""
        ...


@dataclass(frozen=True, slots=True)
class _Flight:
    """One call on its way."""

    order: Order
    entry_id: str
    ticket: int

    @property
    def task_id(self) -> str:
        """Return the id to dismiss; the intent has checked that there is one."""
        return self.order.task.id or ""


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
        self._cleared: deque[_Flight] = deque()
        self._flying: dict[asyncio.Task[Done], _Flight] = {}
        self._landed: list[tuple[_Flight, asyncio.Task[Done]]] = []
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
                self._launch()
                if self._is_over():
                    break
                await self._wait(stopping)
        finally:
            stopping.cancel()
            for task in self._flying:
                task.cancel()
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
            attempts += [self._settle(flight, task) for flight, task in self._landed]
            self._landed.clear()
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
        if not self._cleared or self._is_halted() or len(self._landed) >= WIDTH:
            return True
        # Bad news may have to stop what is cleared already.
        return any(task.exception() is not None for _, task in self._landed)

    def _is_over(self) -> bool:
        if self._flying or self._landed or self._cleared:
            return False
        return not self._queue or self._is_halted()

    def _launch(self) -> None:
        """Let cleared calls leave while there is room."""
        while self._cleared and len(self._flying) < WIDTH:
            flight = self._cleared.popleft()
            call = self._means.lexi.dismiss(flight.task_id, flight.order.reason)
            self._flying[asyncio.create_task(call)] = flight

    async def _wait(self, stopping: asyncio.Task[bool]) -> None:
        """Wait until a call lands, a call may leave, or all is to stop."""
        waiting: set[asyncio.Task[Any]] = {*self._flying}
        if not self._is_halted():
            waiting.add(stopping)
        nap = None
        if self._ask_at is not None and not self._cleared:
            seconds = max(self._ask_at - self._means.clock.now().timestamp(), 0)
            nap = asyncio.create_task(self._means.clock.sleep(seconds + _NAP_SLACK))
            waiting.add(nap)
        try:
            if waiting:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if nap is not None:
                nap.cancel()
        for task in [task for task in self._flying if task.done()]:
            self._landed.append((self._flying.pop(task), task))

    def _clear(self) -> None:
        """Charge the quota and write the intents of the calls that may leave next."""
        self._ask_at = None
        self._look_once_more()
        room = min(CLEARED - len(self._cleared), len(self._queue))
        if room <= 0 or self._is_halted():
            return
        admission = self._means.meter.admit(Purpose.DISMISS, room)
        now = self._means.clock.now()
        orders = [self._queue.popleft() for _ in admission.tickets]
        intents = [self._intent(order, now) for order in orders]
        ids = self._means.ledger.dismissals.intend(intents)
        self._cleared += map(_Flight, orders, ids, admission.tickets)
        idle = not self._cleared and not self._flying
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
        for flight in reversed(self._cleared):
            never = Unreachable("dismiss", message="not sent")
            self._means.meter.failed(flight.ticket, never)
            self._means.ledger.dismissals.settle(
                flight.entry_id, Outcome.FAILED, at=at, detail="not sent"
            )
            self._queue.appendleft(flight.order)
        self._cleared.clear()

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

    def _settle(self, flight: _Flight, task: asyncio.Task[Done]) -> Attempt:
        """Write down what became of one call, and learn from it."""
        means, at = self._means, self._means.clock.now()
        error = task.exception()
        if error is not None and not isinstance(error, LexiError):
            # Nobody knows what was sent; the intent stays open for the next list.
            raise error
        outcome = Outcome.CONFIRMED if error is None else outcome_of(error)
        if error is None:
            done = task.result()
            means.meter.answered(flight.ticket, done.word)
            request_id = done.request_id
        else:
            means.meter.failed(flight.ticket, error)
            request_id = error.request_id
        means.ledger.dismissals.settle(
            flight.entry_id,
            outcome,
            at=at,
            request_id=request_id,
            detail=None if error is None else str(error),
        )
        count(means.ledger, flight.order.rule, flight.order.reason, outcome)
        self._log(flight, outcome, request_id, error)
        self._heed(flight, error)
        return Attempt(order=flight.order, outcome=outcome, error=error)

    def _heed(self, flight: _Flight, error: LexiError | None) -> None:
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

    def _log(
        self,
        flight: _Flight,
        outcome: Outcome,
        request_id: str | None,
        error: LexiError | None,
    ) -> None:
        order = flight.order
        write = log.info if outcome is Outcome.CONFIRMED else log.warning
        write(
            "task.dismissed" if error is None else f"dismissal.{outcome}",
            task=order.task.id,
            rule=order.rule,
            reason=order.reason,
            request_id=request_id,
            **({} if error is None else {"error": str(error)}),
        )
