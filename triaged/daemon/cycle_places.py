"""How many cycles of a fleet run at once; those that only wait let others work."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from triaged.clock import Clock
from triaged.daemon.poll_queue import Entry

# Shorter waits keep the place of a cycle.
_SHORT_WAIT: Final = 0.02

# The entry of the running cycle: a task has its own context, so each sees its own.
current: ContextVar[Entry | None] = ContextVar("cycle", default=None)


class CyclePlaces:
    """The places of running cycles; ``on_free`` is called when one begins to wait."""

    def __init__(
        self, *, working: int, opened: int, on_free: Callable[[], None]
    ) -> None:
        self._max_working = working
        self._max_open = opened
        self._on_free = on_free
        self._working = 0
        self.running: set[Entry] = set()

    @property
    def free(self) -> int:
        """How many cycles may be started now; 0 or less for none."""
        return min(
            self._max_working - self._working, self._max_open - len(self.running)
        )

    def take(self, entry: Entry) -> None:
        self.running.add(entry)
        self._working += 1

    def give_back(self, entry: Entry) -> None:
        self.running.discard(entry)
        if entry.waits == 0:
            self._working -= 1

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Give the place of the current cycle to another one during the block.

        Afterwards it continues at once: it does not wait with its lock held.
        """
        entry = current.get()
        if entry is None or entry.task is None:
            yield
            return
        task = entry.task
        if not entry.waits:
            self._working -= 1
            self._on_free()
        entry.waits += 1
        try:
            yield
        finally:
            # A step of an earlier cycle may end late.
            if entry.task is task:
                entry.waits -= 1
                if not entry.waits:
                    self._working += 1


class YieldingClock:
    """A clock whose longer waits give the place of a cycle to another workspace."""

    def __init__(self, clock: Clock, places: CyclePlaces) -> None:
        self._clock = clock
        self._places = places
        self.now: Callable[[], datetime] = clock.now
        self.monotonic: Callable[[], float] = clock.monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds < _SHORT_WAIT:
            await self._clock.sleep(seconds)
            return
        with self._places.waiting():
            await self._clock.sleep(seconds)
