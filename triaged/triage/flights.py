"""Dismissals on their way: cleared to leave, in the air, landed.

It knows no ledger and no quota; what it lets out has been written down and paid for.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from triaged.clock import Clock
from triaged.leadlex.errors import LexiError
from triaged.leadlex.models import Confirmation
from triaged.triage.requests import DismissRequest

_TIMER_SLACK: Final = 0.01


class Dismisser(Protocol):
    """Whoever can dismiss; in a dry run nobody can."""

    async def dismiss(self, task_id: str, reason: str) -> Confirmation:
        """Dismiss a task for good."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call that may leave: what for, its intent in the ledger, its ticket."""

    order: DismissRequest
    entry_id: str
    ticket: int

    @property
    def task_id(self) -> str:
        """Return the id to dismiss; the intent has checked that there is one."""
        return self.order.task.id or ""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What came of one call: done, or the error that it met."""

    flight: Call
    end: Confirmation | LexiError

    @property
    def error(self) -> LexiError | None:
        """Return the error, if it met one."""
        return self.end if isinstance(self.end, LexiError) else None


class CallPool:
    """The calls of one batch, so many in the air at once."""

    def __init__(self, lexi: Dismisser, clock: Clock, *, width: int) -> None:
        self._lexi = lexi
        self._clock = clock
        self._width = width
        self._cleared: deque[Call] = deque()
        self._flying: dict[asyncio.Task[Confirmation], Call] = {}
        self._landed: list[tuple[Call, asyncio.Task[Confirmation]]] = []

    @property
    def cleared(self) -> int:
        """Count the calls that may leave."""
        return len(self._cleared)

    @property
    def landed(self) -> int:
        """Count the calls that came back."""
        return len(self._landed)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing flies or may leave."""
        return not self._cleared and not self._flying

    @property
    def has_bad_news(self) -> bool:
        """Say whether a call came back with an error."""
        return any(task.exception() is not None for _, task in self._landed)

    def clear(self, flights: Iterable[Call]) -> None:
        """Let calls leave, in this order, as soon as there is room."""
        self._cleared += flights

    def call_back(self) -> list[Call]:
        """Take back the calls that have not left, in their order."""
        called = list(self._cleared)
        self._cleared.clear()
        return called

    def launch(self) -> None:
        """Let cleared calls leave while there is room."""
        while self._cleared and len(self._flying) < self._width:
            flight = self._cleared.popleft()
            call = self._lexi.dismiss(flight.task_id, flight.order.reason)
            self._flying[asyncio.create_task(call)] = flight

    async def wait(self, event: asyncio.Task[Any] | None, until: float | None) -> None:
        """Wait until a call lands, the event comes, or a moment has come."""
        waiting: set[asyncio.Task[Any]] = {*self._flying}
        if event is not None:
            waiting.add(event)
        nap = None
        if until is not None:
            seconds = max(until - self._clock.now().timestamp(), 0)
            nap = asyncio.create_task(self._clock.sleep(seconds + _TIMER_SLACK))
            waiting.add(nap)
        try:
            if waiting:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if nap is not None:
                nap.cancel()
        for task in [task for task in self._flying if task.done()]:
            self._landed.append((self._flying.pop(task), task))

    def take_landed(self) -> list[CallResult]:
        """Return what came of the calls that are back.

        Any error but LeadLex's own is raised: nobody knows what was sent, so the intent
        stays open for the next list.
        """
        landed, self._landed = self._landed, []
        return [CallResult(flight, _end(task)) for flight, task in landed]

    def abandon(self) -> None:
        """Cancel what still flies."""
        for task in self._flying:
            task.cancel()


def _end(task: asyncio.Task[Confirmation]) -> Confirmation | LexiError:
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, LexiError):
        return error
    raise error
