"""The only module that reads a clock or waits: everything else is told the time."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What time it is, and how to wait."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps, for differences only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds; cancellable."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some fixed moment of this boot, sleep included."""
        # Linux' monotonic clock stops while the machine sleeps.
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock)

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds; cancellable."""
        # Imported here: most commands never wait, and asyncio takes long to import.
        import asyncio  # noqa: PLC0415

        await asyncio.sleep(seconds)


def read_boot_id() -> str:
    """Return what identifies this boot of the machine; empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
