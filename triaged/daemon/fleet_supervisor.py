"""Runs the cycles of many workspaces: oldest first, a bounded number at once.

A workspace that is slow, waits for its quota or raises costs only itself. Polls are
planned by the monotonic clock; the schedule holds one wake-up, for the next of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from triaged.clock import Clock
from triaged.daemon import cycle_places, scheduler
from triaged.daemon.cycle_places import CyclePlaces, YieldingClock
from triaged.daemon.fleet_leases import FleetLeases
from triaged.daemon.health import CYCLE_TIMEOUT, HEARTBEAT_TIMEOUT, POLL_GRACE
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.poll_queue import Entry, Job, PollQueue
from triaged.daemon.supervisor import (
    CLOCK_STEP,
    DRAIN_SECONDS,
    FIRING_SECONDS,
    TICK_SECONDS,
    survive,
    wall_ahead,
)

# Cycles that work at the same time, and those that only wait for their quota besides:
# each of the latter holds a lock file and its list of tasks.
MAX_WORKING: Final = 32
MAX_OPEN: Final = 512
# How often due workspaces are claimed, where several processes share them.
CLAIM_SECONDS: Final = 0.5
# Polls that are due within this are started together, seconds.
_GRID: Final = 0.05

log = structlog.get_logger()


class FleetSupervisor:
    """Plans and runs the cycles of all workspaces until it is asked to stop.

    Several processes share ``turns``, which then decide what is run now and here.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        errors: InternalErrors,
        tick: Callable[[], Awaitable[None]],
        on_started: Callable[[float], None] = lambda _: None,
        max_working: int = MAX_WORKING,
        max_open: int = MAX_OPEN,
        turns: FleetLeases | None = None,
    ) -> None:
        self._turns = turns
        self._clock = clock
        self._errors = errors
        self._tick = tick
        self._on_started = on_started
        self._entries: dict[str, Entry] = {}
        self._queue = PollQueue()
        self._wake = asyncio.Event()
        self._places = CyclePlaces(
            working=max_working, opened=max_open, on_free=self._wake.set
        )
        self._schedule = scheduler.Scheduler(self._fire)
        self._planned: float | None = None
        self._wall_ahead = self._read_wall_ahead()
        self._heartbeat_at = clock.monotonic()
        self._is_ending = False
        self.cycle_clock: Clock = YieldingClock(clock, self._places)

    def add(self, name: str, job: Job, at: datetime) -> None:
        """Add a workspace, whose first poll is at the given time."""
        self._entries[name] = Entry(name, job)
        self.plan(name, at)

    def remove(self, name: str) -> None:
        """Forget a workspace; its running cycle, if any, is not interrupted."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            entry.ticket = -1

    def plan(self, name: str, at: datetime) -> None:
        """Plan the next poll of a workspace; a running cycle plans it itself."""
        entry = self._entries.get(name)
        if entry is None or entry.task is not None:
            return
        if self._turns is None:
            self._plan(entry, at)
        elif at <= self._clock.now():
            self._turns.hasten(name)
        self._wake.set()

    def why_not_alive(self, monotonic: float) -> str | None:
        """Return why cycles are no longer run, or None; LeadLex does not matter."""
        if monotonic - self._heartbeat_at > HEARTBEAT_TIMEOUT:
            return "the event loop is stuck"
        if self._places.free <= 0:
            return None
        if self._turns is not None:
            is_late = monotonic - self._turns.tried_at > POLL_GRACE
            return "no workspaces are being claimed" if is_late else None
        head = self._queue.head()
        if head is None:
            has_idle = any(entry.task is None for entry in self._entries.values())
            return "no poll is planned" if has_idle else None
        return (
            "a planned poll is overdue" if monotonic - head.due > POLL_GRACE else None
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run cycles until ``stop`` is set, then wait for those that are running."""
        polling = asyncio.create_task(survive(self._poll, stop, self._errors))
        watching = asyncio.create_task(survive(self._watch, stop, self._errors))
        try:
            await stop.wait()
            self._is_ending = True
            # Wakes the loop that waits for the next poll, so that it sees ``stop``.
            self._wake.set()
            await self._drain()
        finally:
            left = [polling, watching, *self._tasks()]
            for task in left:
                task.cancel()
            await asyncio.wait(left)
            self.close()

    def close(self) -> None:
        """End the schedule; after ``run`` that has been done."""
        self._schedule.close()

    async def _drain(self) -> None:
        if not (tasks := self._tasks()):
            return
        log.info("cycle.draining", running=len(tasks))
        _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        if late:
            log.error("cycle.drain_timed_out", timeout_seconds=DRAIN_SECONDS)

    def _tasks(self) -> list[asyncio.Task[datetime]]:
        return [entry.task for entry in self._places.running if entry.task is not None]

    async def _poll(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._wake.clear()
            self._start_due()
            self._plan_wakeup()
            await self._wake.wait()

    def _fire(self) -> None:
        self._planned = None
        self._wake.set()

    def _start_due(self) -> None:
        now = self._clock.monotonic()
        if self._turns is not None:
            self._start_claimed(self._turns, now)
            return
        while self._places.free > 0:
            entry = self._queue.head()
            if entry is None or entry.due > now:
                return
            self._start(entry, now)

    def _start_claimed(self, turns: FleetLeases, now: float) -> None:
        if self._places.free <= 0:
            return
        for name, late in turns.claim(self._places.free):
            entry = self._entries.get(name)
            if entry is None or entry.task is not None:
                turns.give(name, timedelta(0))
                continue
            entry.due = now - late
            self._start(entry, now)

    def _start(self, entry: Entry, now: float) -> None:
        entry.ticket, entry.waits, entry.is_cancelled = -1, 0, False
        entry.wall_ahead = self._read_wall_ahead()
        entry.job.health.cycle_since = now
        entry.job.health.poll_due = None
        self._places.take(entry)
        entry.task = asyncio.create_task(self._run(entry))
        entry.task.add_done_callback(lambda task: self._end(entry, task))
        with self._errors.survived(Where.METRICS):
            self._on_started(max(now - entry.due, 0.0))

    async def _run(self, entry: Entry) -> datetime:
        cycle_places.current.set(entry)
        structlog.contextvars.bind_contextvars(workspace=entry.name)
        return await entry.job.run_cycle()

    def _end(self, entry: Entry, task: asyncio.Task[datetime]) -> None:
        """Plan the next poll after a cycle, however it ended."""
        self._places.give_back(entry)
        entry.task = None
        health = entry.job.health
        health.cycle_since = None
        next_at = self._clock.now() + health.interval
        if not task.cancelled() and task.exception() is None:
            next_at = task.result()
        elif not self._is_ending:
            error = None if task.cancelled() else task.exception()
            with structlog.contextvars.bound_contextvars(workspace=entry.name):
                self._errors.record(Where.CYCLE, error or asyncio.CancelledError())
        if entry.wall_ahead - self._read_wall_ahead() > CLOCK_STEP:
            # Set back meanwhile: the cycle may have read the clock before.
            next_at = min(next_at, self._clock.now() + health.interval)
        # Removed, or replaced, while its cycle was running.
        if self._turns is not None:
            delay = max(next_at - self._clock.now(), timedelta(0))
            self._turns.give(entry.name, delay)
            health.next_poll_at = next_at
        elif self._entries.get(entry.name) is entry:
            self._plan(entry, next_at)
        self._wake.set()

    def _read_wall_ahead(self) -> timedelta:
        return wall_ahead(self._clock.now(), self._clock.monotonic())

    def _plan(self, entry: Entry, at: datetime) -> None:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self._queue.put(entry, monotonic + max((at - now).total_seconds(), 0.0))
        entry.job.health.next_poll_at = at

    def _plan_wakeup(self) -> None:
        """Plan the one wake-up, unless the end of a cycle comes first."""
        if self._turns is not None:
            at = self._clock.now() + timedelta(seconds=CLAIM_SECONDS)
            self._schedule.plan(at)
            return
        head = self._queue.head()
        if head is None or self._places.free <= 0:
            return
        if self._planned is not None and 0 <= head.due - self._planned < _GRID:
            return
        self._planned = head.due
        wait = max(head.due - self._clock.monotonic(), 0.0) + _GRID
        self._schedule.plan(self._clock.now() + timedelta(seconds=wait))

    async def _watch(self, _: asyncio.Event) -> None:
        while True:
            self._heartbeat_at = self._clock.monotonic()
            self._check_clock()
            self._check_running()
            await self._tick()
            await self._clock.sleep(TICK_SECONDS)

    def _check_clock(self) -> None:
        """Plan the wake-up again if the wall clock was set, or the wake-up was lost."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        ahead = wall_ahead(now, monotonic)
        step, was_set = ahead - self._wall_ahead, False
        if abs(step) > CLOCK_STEP:
            self._wall_ahead, was_set = ahead, True
            self._move_polls(step, monotonic)
        head = self._queue.head()
        is_lost = head is not None and monotonic - head.due > FIRING_SECONDS
        if was_set or is_lost:
            self._planned = None
            self._wake.set()

    def _move_polls(self, step: timedelta, monotonic: float) -> None:
        """Move what is due after a step forward; keep the waits left after one back."""
        for entry in self._entries.values():
            if entry.task is not None:
                continue
            if step > timedelta(0):
                due = max(entry.due - step.total_seconds(), monotonic)
                self._queue.put(entry, due)
            elif entry.job.health.next_poll_at is not None:
                entry.job.health.next_poll_at += step

    def _check_running(self) -> None:
        """Cancel cycles that are stuck, so that they do not keep their places."""
        now = self._clock.monotonic()
        for entry in self._places.running:
            since = entry.job.health.cycle_since
            is_stuck = since is not None and now - since > CYCLE_TIMEOUT
            if is_stuck and entry.task is not None and not entry.is_cancelled:
                entry.is_cancelled = True
                log.error("cycle.cancelled", workspace=entry.name)
                entry.task.cancel()
