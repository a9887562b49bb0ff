"""The daemon's schedule: one cycle at a time, and small jobs at fixed intervals.

APScheduler goes by the wall clock, which may be set while the daemon runs.  Forward is
harmless here: what is due is run, once.  Set back, all jobs move along, so that what
was due in a minute still is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

from triaged.clock import SystemClock

# Coroutines only: anything else APScheduler would run in a thread.
Job = Callable[[], Awaitable[None]]

CLOCK_CHECK_SECONDS: Final = 1.0


class Scheduler:
    """Runs jobs in the daemon's own loop; a late job is late, not left out."""

    def __init__(self) -> None:
        # Not the workspace's clock: APScheduler asks the machine itself.
        self._clock = SystemClock()
        self._ahead = self._measure()
        self._loop = asyncio.get_running_loop()
        self._looking = self._loop.call_later(CLOCK_CHECK_SECONDS, self._look)
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.start()

    def every(self, seconds: float, job: Job, *, name: str) -> None:
        """Run a job again and again, never twice at once."""

        # An IntervalTrigger would count the intervals of a clock set years ahead.
        async def again() -> None:
            try:
                await job()
            finally:
                plan()

        def plan() -> None:
            at = self._clock.now() + timedelta(seconds=seconds)
            self.at(at, again, name=name)

        plan()

    def at(self, at: datetime, job: Job, *, name: str) -> None:
        """Run a job at a moment, instead of when it was planned before."""
        self._scheduler.add_job(
            job,
            DateTrigger(at, timezone=UTC),
            id=name,
            replace_existing=True,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    def pause(self) -> None:
        """Begin nothing new."""
        self._scheduler.pause()

    def close(self) -> None:
        """End; APScheduler cancels what still runs, so await that first."""
        self._looking.cancel()
        self._scheduler.shutdown(wait=False)

    def _look(self) -> None:
        """Move all jobs along with a clock that was set back."""
        ahead = self._measure()
        back = self._ahead - ahead
        if back > CLOCK_CHECK_SECONDS:
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=job.next_run_time - timedelta(seconds=back))
        self._ahead = ahead
        self._looking = self._loop.call_later(CLOCK_CHECK_SECONDS, self._look)

    def _measure(self) -> float:
        """Return how far the wall clock is ahead of the one that never jumps."""
        return self._clock.now().timestamp() - self._clock.monotonic()
