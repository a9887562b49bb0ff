"""Clocks for tests: one moved by hand, one that advances by each wait."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.builders import T0


async def let_others_run() -> None:
    """Let every other task of the loop run up to its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)  # noqa: TID251 - no time passes


class ManualClock:
    """A clock that moves only when told to; a sleeper wakes once its time has come."""

    def __init__(self, now: datetime = T0) -> None:
        self._start = self._now = now
        self._sleepers: list[tuple[datetime, asyncio.Event]] = []

    @property
    def sleepers(self) -> int:
        """Count the tasks that are waiting."""
        return len(self._sleepers)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def advance(self, passed: timedelta) -> None:
        """Let time pass, and wake every sleeper whose time has come."""
        self._now += passed
        for until, woken in self._sleepers:
            if until <= self._now:
                woken.set()

    def set_wall(self, by: timedelta) -> None:
        """Set the wall clock forward or back; no time passes."""
        self._now += by
        self._start += by
        self._sleepers[:] = [(until + by, woken) for until, woken in self._sleepers]

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        sleeper = (self._now + timedelta(seconds=seconds), woken)
        self._sleepers.append(sleeper)
        self.advance(timedelta(0))
        try:
            await woken.wait()
        finally:
            self._sleepers[:] = [each for each in self._sleepers if each[1] != woken]


class AutoAdvanceClock:
    """A clock that stands still, except that every sleep advances it at once."""

    def __init__(self, now: datetime = T0) -> None:
        self.at = now
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        self.on_sleep()


class RealSleepClock(AutoAdvanceClock):
    """A clock that shows the time of another one, while its sleeps take real time."""

    def __init__(self, shown: AutoAdvanceClock) -> None:
        super().__init__()
        self._shown = shown

    def now(self) -> datetime:
        return self._shown.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # noqa: TID251 - see the class
