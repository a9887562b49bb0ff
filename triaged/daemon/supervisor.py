"""Keeps the daemon polling, whatever a cycle, a log or a metric raises."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from triaged.clock import Clock
from triaged.daemon import scheduler
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where

TICK_SECONDS: Final = 1.0
# The wall clock was set when it and the monotonic clock part by more than this.
CLOCK_STEP: Final = timedelta(seconds=1)
# From the planned moment to the start of the cycle.
FIRING_SECONDS: Final = 2.0
# Longer than one call may take, shorter than the 90 s after which systemd kills.
DRAIN_SECONDS: Final = 70.0

log = structlog.get_logger()


class Supervisor:
    """Runs a cycle, plans the next one, and again until told to stop.

    ``cycle`` runs one and returns when to poll next; ``tick`` runs each second.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        health: Health,
        errors: InternalErrors,
        cycle: Callable[[], Awaitable[datetime]],
        tick: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._health = health
        self._errors = errors
        self._cycle = cycle
        self._tick = tick
        self._due = asyncio.Event()
        self._schedule = scheduler.Scheduler(self._due.set)
        self._wall_ahead = timedelta(0)
        self.running: asyncio.Future[datetime] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until ``stop``, then wait for the cycle in flight."""
        self.plan(self._clock.now())
        polling = asyncio.create_task(self._survive(self._poll, stop))
        watching = asyncio.create_task(self._survive(self._watch, stop))
        try:
            await stop.wait()
            # Wakes a loop that waits for the next poll; it then sees ``stop``.
            self._due.set()
            if self.running is not None:
                log.info("cycle.draining")
            _, late = await asyncio.wait({polling}, timeout=DRAIN_SECONDS)
            if late:
                log.error("cycle.drain_timed_out", timeout_seconds=DRAIN_SECONDS)
        finally:
            for task in (polling, watching):
                task.cancel()
            await asyncio.wait({polling, watching})
            self._schedule.close()

    def plan(self, at: datetime) -> None:
        """Plan the next poll, instead of the one planned before."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self._wall_ahead = _wall_ahead(now, monotonic)
        self._schedule.plan(at)
        self._health.next_poll_at = at
        self._health.poll_due = monotonic + max((at - now).total_seconds(), 0.0)

    async def _survive(
        self, loop: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event
    ) -> None:
        """Begin a loop again whenever it raises, a second later."""
        while True:
            try:
                await loop(stop)
            except Exception as error:  # noqa: BLE001 - the loop that must survive
                self._errors.record(Where.CYCLE, error)
            else:
                return
            # Not by the clock, which may be what raises.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()

    async def _poll(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._due.wait()
            self._due.clear()
            if not stop.is_set():
                self.plan(await self._run_cycle())

    async def _run_cycle(self) -> datetime:
        """Run one cycle in a task of its own, and return when to poll next."""
        self._health.cycle_since = self._clock.monotonic()
        self._health.poll_due = None
        self.running = asyncio.ensure_future(self._cycle())
        try:
            # Awaiting it directly could not tell its cancellation from our own.
            await asyncio.wait({self.running})
            return self.running.result()
        except (Exception, asyncio.CancelledError) as error:
            if not self.running.done():
                raise
            self._errors.record(Where.CYCLE, error)
        finally:
            if self.running.done():
                self.running = None
            self._health.cycle_since = None
        return self._clock.now() + self._health.interval

    async def _watch(self, _: asyncio.Event) -> None:
        while True:
            self._health.heartbeat_at = self._clock.monotonic()
            self._check_plan()
            await self._tick()
            await self._clock.sleep(TICK_SECONDS)

    def _check_plan(self) -> None:
        """Plan again when the wall clock was set, or when no poll is planned.

        Set forward, what is due by the wall clock is due; set back, what was due in a
        minute still is.
        """
        if self.running is not None or self._due.is_set():
            return
        now, monotonic = self._clock.now(), self._clock.monotonic()
        due, at = self._health.poll_due, self._health.next_poll_at
        if due is None or at is None:
            self.plan(now + self._health.interval)
            return
        was_set = abs(_wall_ahead(now, monotonic) - self._wall_ahead) > CLOCK_STEP
        # What fires at this moment is planned no more, and not lost.
        is_firing = 0 <= monotonic - due < FIRING_SECONDS
        if was_set or not (self._schedule.is_planned() or is_firing):
            self.plan(min(at, now + timedelta(seconds=max(due - monotonic, 0.0))))


def _wall_ahead(now: datetime, monotonic: float) -> timedelta:
    return timedelta(seconds=now.timestamp() - monotonic)
