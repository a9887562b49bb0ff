"""The only module that reads a clock or waits; all others take the time as argument."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Reads the time and waits."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return the seconds of a clock that never jumps, for differences only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds; can be cancelled."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds since boot, including time in suspend."""
        # CLOCK_MONOTONIC of Linux stops while the machine is suspended.
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock)

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds; can be cancelled."""
        # Imported here: most commands never wait, and asyncio takes long to import.
        import asyncio  # noqa: PLC0415

        await asyncio.sleep(seconds)


def read_boot_id() -> str:
    """Return the id of the current boot of the machine; empty if there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
