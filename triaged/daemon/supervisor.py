"""Keeps the daemon polling, whatever a cycle, the log or a metric raises."""

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
# The wall clock was set if it deviates from the monotonic clock by more than this.
CLOCK_STEP: Final = timedelta(seconds=1)
# Seconds from the planned time until the cycle has started.
FIRING_SECONDS: Final = 2.0
# Longer than any call, and shorter than the 90 s after which systemd sends SIGKILL.
DRAIN_SECONDS: Final = 70.0

log = structlog.get_logger()


class Supervisor:
    """Runs a cycle and plans the next one, until it is asked to stop.

    ``cycle`` runs a cycle and returns when to poll next; ``tick`` runs every second.
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
        """Poll until ``stop`` is set, then wait for the running cycle."""
        self.plan(self._clock.now())
        polling = asyncio.create_task(survive(self._poll, stop, self._errors))
        watching = asyncio.create_task(survive(self._watch, stop, self._errors))
        try:
            await stop.wait()
            # Wakes the loop that waits for the next poll, so that it sees ``stop``.
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
        """Plan the next poll, replacing the previous plan."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self._wall_ahead = wall_ahead(now, monotonic)
        self._schedule.plan(at)
        self._health.next_poll_at = at
        self._health.poll_due = monotonic + max((at - now).total_seconds(), 0.0)

    async def _poll(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._due.wait()
            self._due.clear()
            if not stop.is_set():
                before = self._read_wall_ahead()
                at = await self._run_cycle()
                if before - self._read_wall_ahead() > CLOCK_STEP:
                    # Set back meanwhile: the cycle may have read the clock before.
                    at = min(at, self._clock.now() + self._health.interval)
                self.plan(at)

    async def _run_cycle(self) -> datetime:
        self._health.cycle_since = self._clock.monotonic()
        self._health.poll_due = None
        self.running = asyncio.ensure_future(self._cycle())
        try:
            # Awaiting it directly could not distinguish its cancellation from this
            # task's.
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
        """Plan again if the wall clock was set or no poll is planned.

        After a step forward, polls that are due by the wall clock are due; after a step
        back, the remaining wait is preserved.
        """
        if self.running is not None or self._due.is_set():
            return
        now, monotonic = self._clock.now(), self._clock.monotonic()
        due, at = self._health.poll_due, self._health.next_poll_at
        if due is None or at is None:
            self.plan(now + self._health.interval)
            return
        was_set = abs(wall_ahead(now, monotonic) - self._wall_ahead) > CLOCK_STEP
        # A poll that is firing right now is no longer planned, but not lost.
        is_firing = 0 <= monotonic - due < FIRING_SECONDS
        if was_set or not (self._schedule.is_planned() or is_firing):
            self.plan(min(at, now + timedelta(seconds=max(due - monotonic, 0.0))))

    def _read_wall_ahead(self) -> timedelta:
        return wall_ahead(self._clock.now(), self._clock.monotonic())


def wall_ahead(now: datetime, monotonic: float) -> timedelta:
    """Return the wall clock minus the monotonic one; it changes if a clock is set."""
    return timedelta(seconds=now.timestamp() - monotonic)


async def survive(
    loop: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
    errors: InternalErrors,
) -> None:
    """Run a loop until ``stop`` is set, and restart it one second after it raised."""
    while True:
        try:
            await loop(stop)
        except Exception as error:  # noqa: BLE001 - the loop that must survive
            errors.record(Where.CYCLE, error)
        else:
            return
        # Not by the clock, which may be the part that raises.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await stop.wait()
