"""One sandbox: a workspace, its quota, its faults, and a record of every call."""

import asyncio
import random
import string
import uuid
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from triaged.clock import Clock, SystemClock
from triaged.rules.task import Json
from triaged.sandbox.faults import FaultScript
from triaged.sandbox.limits import Limits
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.store import Store, render_moment
from triaged.sandbox.tasks import generate

CUT: Final = "cut"

_CALLS_KEPT: Final = 100_000
# Crockford's alphabet, as in the ids that services like to use.
_ID_LETTERS: Final = "".join(
    sorted(set(string.digits + string.ascii_uppercase) - set("ILOU"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One call to the API: what was asked, and how it was answered."""

    at: datetime
    operation: str
    status: str
    request_id: str
    task_id: str | None = None
    fault: str | None = None


class SandboxState:
    """All that a sandbox remembers; ``reset`` makes it as it was at the start."""

    def __init__(self, settings: SandboxSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self._pauses: set[asyncio.Future[None]] = set()
        self.reset()

    def reset(self) -> None:
        """Begin again: same tasks, whole quota, the script of the settings."""
        settings = self.settings
        tasks: list[Json] = [
            *generate(
                settings.seed,
                settings.count,
                self.clock.now(),
                history=settings.history,
            )
        ]
        self.store = Store(tasks, order=settings.order)
        self.limits = Limits(
            minute=settings.minute(),
            day=settings.day(),
            refused_count=settings.refused_count,
        )
        self.faults = FaultScript(settings.faults, seed=settings.seed)
        self.calls: deque[RecordedCall] = deque(maxlen=_CALLS_KEPT)
        self.counted: Counter[tuple[str, str]] = Counter()
        self._random = random.Random(settings.seed)  # noqa: S311 - not secret

    def seconds(self) -> float:
        """Return the present moment as seconds since the epoch."""
        return self.clock.now().timestamp()

    def request_id(self) -> str:
        """Make the id of one request."""
        return "req_" + "".join(self._random.choices(_ID_LETTERS, k=26))

    def record(self, call: RecordedCall) -> None:
        """Remember a call."""
        self.calls.append(call)
        self.counted[call.operation, call.status] += 1

    def new_id(self) -> str:
        """Make an id for a task that was added without one."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the sandbox."""
        if seconds <= 0:
            return
        sleeping = asyncio.ensure_future(self.clock.sleep(seconds))
        self._pauses.add(sleeping)
        try:
            await asyncio.wait({sleeping})
        finally:
            self._pauses.discard(sleeping)
            sleeping.cancel()

    def close(self) -> None:
        """End all pauses: the sandbox is about to go."""
        for sleeping in self._pauses:
            sleeping.cancel()

    def state(self) -> dict[str, object]:
        """Say everything that a test or a person may want to know."""
        now = self.seconds()
        allowance = self.limits.peek(now)
        calls: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(self.counted.items()):
            calls.setdefault(operation, {})[status] = count
        return {
            "now": render_moment(self.clock.now()),
            "tasks": self.store.counts(),
            "calls": calls,
            "effects": [
                {
                    "task_id": effect.task_id,
                    "status": effect.status,
                    "reason": effect.reason,
                    "at": render_moment(effect.at),
                    "by": effect.by,
                    "times": self.store.times(effect.task_id, effect.status),
                }
                for effect in self.store.effects
            ],
            "limits": {
                "minute": {
                    "limit": self.settings.minute_limit,
                    "remaining": self.limits.left_in_minute(now),
                },
                "day": {
                    "limit": allowance.limit,
                    "remaining": allowance.remaining,
                    "reset": allowance.reset,
                },
            },
            "faults": [str(fault) for fault in self.faults.active()],
        }
