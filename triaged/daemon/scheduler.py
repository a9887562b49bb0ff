"""When the next poll is due, by the wall clock; the supervisor watches that clock."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

_POLL: Final = "poll"


class Scheduler:
    """Calls ``on_due`` at the planned time, in the event loop of its creator."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self._on_due = on_due
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            job_defaults={
                "max_instances": 1,
                "coalesce": True,
                # A late poll is still made, since it is the only one planned.
                "misfire_grace_time": None,
            },
        )
        self._scheduler.start()

    def plan(self, at: datetime) -> None:
        """Plan the next poll, replacing the previous plan."""
        self._scheduler.add_job(
            self._fire, DateTrigger(at, timezone=UTC), id=_POLL, replace_existing=True
        )

    def is_planned(self) -> bool:
        """Return whether a poll is planned that is not yet due."""
        return self._scheduler.get_job(_POLL) is not None

    def close(self) -> None:
        self._scheduler.shutdown(wait=False)

    async def _fire(self) -> None:
        # A coroutine: APScheduler runs plain functions in a thread.
        self._on_due()
