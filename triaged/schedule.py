"""The daemon's schedule: one cycle at a time, and small jobs at fixed intervals."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

# Coroutines only: anything else APScheduler would run in a thread.
Job = Callable[[], Awaitable[None]]


class Schedule:
    """Runs jobs in the daemon's own loop; a late job is late, not left out."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.start()

    def every(self, seconds: float, job: Job, *, name: str) -> None:
        """Run a job again and again, never twice at once."""
        self._add(job, IntervalTrigger(seconds=seconds, timezone=UTC), name)

    def once(self, at: datetime, job: Job, *, name: str) -> None:
        """Run a job at a moment, instead of when it was planned before."""
        self._add(job, DateTrigger(at, timezone=UTC), name)

    def pause(self) -> None:
        """Begin nothing new."""
        self._scheduler.pause()

    def close(self) -> None:
        """End; APScheduler cancels what still runs, so await that first."""
        self._scheduler.shutdown(wait=False)

    def _add(self, job: Job, trigger: BaseTrigger, name: str) -> None:
        self._scheduler.add_job(
            job,
            trigger,
            id=name,
            replace_existing=True,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
