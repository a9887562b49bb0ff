"""The workspaces of a fleet by when their next poll is due, on the monotonic clock."""

import asyncio
import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Protocol

from triaged.daemon.health import Health


class Job(Protocol):
    """A workspace whose cycles are to be run; each says when to poll next."""

    health: Health

    async def run_cycle(self) -> datetime: ...


@dataclass(slots=True, eq=False)
class Entry:
    """A workspace, when its next poll is due, and its running cycle if there is one.

    ``wall_ahead`` is the wall clock minus the monotonic one when its cycle began.
    """

    name: str
    job: Job
    due: float = 0.0
    ticket: int = -1
    task: asyncio.Task[datetime] | None = None
    waits: int = 0
    is_cancelled: bool = False
    wall_ahead: timedelta = timedelta(0)


class PollQueue:
    """Entries by when they are due; an earlier plan of an entry is passed over."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._tickets = count()

    def put(self, entry: Entry, due: float) -> None:
        entry.due = due
        entry.ticket = next(self._tickets)
        heapq.heappush(self._heap, (due, entry.ticket, entry))
        entry.job.health.poll_due = due

    def head(self) -> Entry | None:
        while self._heap:
            _, ticket, entry = self._heap[0]
            if entry.ticket == ticket:
                return entry
            heapq.heappop(self._heap)
        return None
