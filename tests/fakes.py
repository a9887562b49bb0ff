"""Fakes for tests: a clock that is moved by hand, and a LeadLex in memory."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from tests.builders import T0
from triaged.leadlex.errors import KeyRejected, NotPending, TaskNotFound
from triaged.leadlex.models import (
    DISMISS,
    DISMISSED,
    LIST,
    PENDING,
    Confirmation,
    TaskList,
)
from triaged.quota import ServerWord
from triaged.rules.task import Json, parse_task


async def let_others_run() -> None:
    """Give every other task of the loop the time to come to its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)  # noqa: TID251 - no time passes


class ManualClock:
    """Time that passes only when told; whoever sleeps wakes once it has."""

    def __init__(self, now: datetime = T0) -> None:
        self._start = self._now = now
        self._sleepers: list[tuple[datetime, asyncio.Event]] = []

    @property
    def sleepers(self) -> int:
        """Count those that wait."""
        return len(self._sleepers)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def advance(self, passed: timedelta) -> None:
        """Let time pass, and wake everybody whose time has come."""
        self._now += passed
        for until, woken in self._sleepers:
            if until <= self._now:
                woken.set()

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        sleeper = (self._now + timedelta(seconds=seconds), woken)
        self._sleepers.append(sleeper)
        self.advance(timedelta(0))
        try:
            await woken.wait()
        finally:
            self._sleepers.remove(sleeper)


class InMemoryLexi:
    """A workspace in memory that lists and dismisses as LeadLex does."""

    def __init__(
        self, entries: Iterable[dict[str, Json]] = (), *, accepts_key: bool = True
    ) -> None:
        self.accepts_key = accepts_key
        self.reasons: dict[str, str] = {}
        self._entries = {str(entry["id"]): dict(entry) for entry in entries}

    def status_of(self, task_id: str) -> Json:
        """Return a task's status."""
        return self._entries[task_id]["status"]

    async def list_tasks(self, status: str = PENDING) -> TaskList:
        self._check_key(LIST)
        found = [e for e in self._entries.values() if e["status"] == status]
        tasks = [parse_task(dict(entry)) for entry in found]
        return TaskList(tasks=tasks, rate_limit=ServerWord(), request_id=None)

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation:
        if before_send is not None:
            before_send()
        self._check_key(DISMISS)
        if task_id not in self._entries:
            raise TaskNotFound(DISMISS, status=404, code="not_found")
        if self._entries[task_id]["status"] != PENDING:
            raise NotPending(DISMISS, status=400, code="validation_error")
        self._entries[task_id]["status"] = DISMISSED
        self.reasons[task_id] = reason
        return Confirmation(rate_limit=ServerWord(), request_id=None)

    def _check_key(self, operation: str) -> None:
        if not self.accepts_key:
            raise KeyRejected(operation, status=401, code="invalid_key")
