"""The server's time, from its `Date` header and the monotonic clock.

The wall clock is used only before the first response and after a reboot, so a wrong or
changed wall clock does not start a new day.
"""

from dataclasses import dataclass
from typing import Final

# `Date` has whole seconds, and a response takes time to arrive.
DATE_TOLERANCE: Final = 2.0


@dataclass(slots=True)
class ServerTime:
    """The server's time at one reading of the monotonic clock of one boot."""

    time: float
    monotonic: float
    boot_id: str

    def is_valid(self, monotonic: float, boot_id: str) -> bool:
        """Return whether the monotonic clock is of the same boot and not earlier."""
        return self.boot_id == boot_id and self.monotonic <= monotonic

    def at(self, monotonic: float) -> float:
        """Return the server's time (epoch seconds) at another reading of the clock."""
        return self.time + monotonic - self.monotonic

    def correct(self, monotonic: float, date: float) -> None:
        """Update from a `Date` header received at this reading of the clock."""
        if abs(date - self.at(monotonic)) > DATE_TOLERANCE:
            self.time, self.monotonic = date, monotonic
