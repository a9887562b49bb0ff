"""The state of one sandbox: tasks, quota, faults, and a record of every call."""

import asyncio
import random
import string
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from triaged.clock import Clock, SystemClock
from triaged.rules.task import Json
from triaged.sandbox.faults import FaultScript
from triaged.sandbox.limits import Limits, Window
from triaged.sandbox.people import People
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.store import Store, format_timestamp
from triaged.sandbox.tasks import generate

DROPPED: Final = "dropped"

_CALLS_KEPT: Final = 100_000
# Crockford's alphabet, as in the ids that many services use.
_ID_LETTERS: Final = "".join(
    sorted(set(string.digits + string.ascii_uppercase) - set("ILOU"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One call to the API, and the response to it.

    ``received_at`` is when the request was complete, ``at`` when the response was made.
    """

    received_at: datetime
    at: datetime
    operation: str
    status: str
    request_id: str
    task_id: str | None = None
    fault: str | None = None


class SandboxState:
    """The state of one sandbox; ``reset`` restores its initial state."""

    def __init__(self, settings: SandboxSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self._delays: set[asyncio.Future[None]] = set()
        self.reset()

    def reset(self) -> None:
        """Restore the tasks, the whole quota and the faults of the settings."""
        settings = self.settings
        tasks: list[Json] = [
            *generate(
                settings.seed,
                settings.task_count,
                self.clock.now(),
                settled_ratio=settings.settled_ratio,
            )
        ]
        self.store = Store(
            tasks, order=settings.list_order, lists_reason=settings.lists_reason
        )
        self.limits = Limits(
            minute=Window(
                limit=settings.minute_limit,
                seconds=settings.minute_window,
                phase=settings.minute_phase,
            ),
            day=Window(
                limit=settings.day_limit,
                seconds=settings.day_window,
                phase=settings.day_phase,
            ),
            refused_count=settings.refused_count,
        )
        self.faults = FaultScript(settings.faults, seed=settings.seed)
        self.people = None
        if settings.people is not None:
            now = self.clock.now()
            self.people = People(
                settings.people, self.store, seed=settings.seed, now=now
            )
        self.calls: deque[RecordedCall] = deque(maxlen=_CALLS_KEPT)
        self.call_counts: Counter[tuple[str, str]] = Counter()
        self._random = random.Random(settings.seed)  # noqa: S311 - not secret

    def catch_up(self) -> None:
        if self.people is not None:
            self.people.catch_up(self.clock.now())

    def seconds(self) -> float:
        return self.clock.now().timestamp()

    def request_id(self) -> str:
        return "req_" + "".join(self._random.choices(_ID_LETTERS, k=26))

    def record(self, call: RecordedCall) -> None:
        self.calls.append(call)
        self.call_counts[call.operation, call.status] += 1

    async def delay(self, seconds: float) -> None:
        """Wait, at most until the sandbox is closed."""
        if seconds <= 0:
            return
        sleeping = asyncio.ensure_future(self.clock.sleep(seconds))
        self._delays.add(sleeping)
        try:
            await asyncio.wait({sleeping})
        finally:
            self._delays.discard(sleeping)
            sleeping.cancel()

    def close(self) -> None:
        for sleeping in self._delays:
            sleeping.cancel()

    def snapshot(self) -> dict[str, object]:
        self.catch_up()
        now = self.seconds()
        day = self.limits.peek(now)
        calls: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(self.call_counts.items()):
            calls.setdefault(operation, {})[status] = count
        return {
            "now": format_timestamp(self.clock.now()),
            "tasks": self.store.counts(),
            "calls": calls,
            "effects": [
                {
                    "task_id": effect.task_id,
                    "status": effect.status,
                    "reason": effect.reason,
                    "at": format_timestamp(effect.at),
                    "by": effect.by,
                    "requests": self.store.request_count(effect.task_id, effect.status),
                }
                for effect in self.store.effects
            ],
            "limits": {
                "minute": {
                    "limit": self.settings.minute_limit,
                    "remaining": self.limits.left_in_minute(now),
                },
                "day": {
                    "limit": day.limit,
                    "remaining": day.remaining,
                    "reset": day.reset,
                },
            },
            "faults": [str(fault) for fault in self.faults.active()],
        }
