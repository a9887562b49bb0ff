"""Simulated time for real sockets: it advances once every task is waiting.

The loop's own timers stay real; what the product waits for, it asks its clock for.
"""

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

# Jobs that run each second would only make the days longer.
STRIDE = 60.0


class SimulatedClock:
    """A clock that stands while a task runs, and advances to the next wake-up."""

    def __init__(self, now: datetime) -> None:
        self._start = now
        self._passed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        until = self._passed + max(seconds, 0.0)
        heapq.heappush(self._sleepers, (until, next(self._order), woken))
        await woken

    async def sleep_until(self, moment: datetime) -> None:
        await self.sleep((moment - self.now()).total_seconds())

    def advance_to_next(self) -> bool:
        """Wake the task whose time comes next; False when no task sleeps."""
        while self._sleepers:
            until, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._passed = max(self._passed, until)
                woken.set_result(None)
                return True
        return False


class _AdvancingSelector(selectors.DefaultSelector):
    """Lets virtual time pass whenever a real loop would wait."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0 or self._clock.advance_to_next():
            return ready
        return super().select(timeout)


def simulated_loop(clock: SimulatedClock) -> asyncio.AbstractEventLoop:
    """Return a loop on which that clock advances."""
    return asyncio.SelectorEventLoop(_AdvancingSelector(clock))


class SimulatedScheduler:
    """The daemon's schedule, by a simulated clock."""

    def __init__(self, clock: SimulatedClock, on_due: Callable[[], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._planned: asyncio.Task[None] | None = None

    def plan(self, at: datetime) -> None:
        self.close()
        self._planned = asyncio.ensure_future(self._fire(at))

    def is_planned(self) -> bool:
        return self._planned is not None

    def close(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None

    async def _fire(self, at: datetime) -> None:
        await self._clock.sleep_until(at)
        self._planned = None
        self._on_due()


async def ended(task: asyncio.Task[None]) -> None:
    """Wait for a task that may have been cancelled."""
    with suppress(asyncio.CancelledError):
        await task
