"""Simulated time for real sockets: it advances once every task is waiting.

The loop's own timers stay real; what the product waits for, it asks its clock for.
"""

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Awaitable, Callable
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
    """The daemon's schedule, by a virtual clock."""

    def __init__(
        self, clock: SimulatedClock, on_failed: Callable[[BaseException], None]
    ) -> None:
        self._clock = clock
        self._on_failed = on_failed
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._at_work: set[asyncio.Task[None]] = set()

    def every(
        self, seconds: float, job: Callable[[], Awaitable[None]], *, name: str
    ) -> None:
        async def again_and_again() -> None:
            while True:
                await self._clock.sleep(max(seconds, STRIDE))
                await self._run(job)

        self._begin(again_and_again(), name)

    def once(
        self, at: datetime, job: Callable[[], Awaitable[None]], *, name: str
    ) -> None:
        async def then() -> None:
            await self._clock.sleep_until(at)
            await self._run(job)

        self._begin(then(), name)

    def pause(self) -> None:
        """Begin nothing new; what is at work goes on."""
        for task in self._jobs.values():
            if task not in self._at_work:
                task.cancel()

    def close(self) -> None:
        for task in self._jobs.values():
            task.cancel()

    def _begin(self, coroutine: Awaitable[None], name: str) -> None:
        before = self._jobs.get(name)
        # A job that plans its own next run must not end itself.
        if before is not None and before not in self._at_work:
            before.cancel()
        self._jobs[name] = asyncio.ensure_future(coroutine)

    async def _run(self, job: Callable[[], Awaitable[None]]) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._at_work.add(me)
        try:
            await job()
        except Exception as error:  # noqa: BLE001 - a job of the daemon never raises
            self._on_failed(error)
        finally:
            self._at_work.discard(me)


async def ended(task: asyncio.Task[None]) -> None:
    """Wait for a task that may have been cancelled."""
    with suppress(asyncio.CancelledError):
        await task
