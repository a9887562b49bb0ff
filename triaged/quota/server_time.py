"""The server's time, from its `Date` header and a clock that cannot be set.

The wall clock counts only before the first response and after a restart of the machine:
when it is set wrong or jumps, no new day starts.
"""

from dataclasses import dataclass
from typing import Final

# `Date` has whole seconds, and a response takes its time to arrive.
DATE_TOLERANCE: Final = 2.0


@dataclass(slots=True)
class ServerTime:
    """The server's time at one reading of the monotonic clock of one boot."""

    time: float
    monotonic: float
    boot_id: str

    def is_valid(self, monotonic: float, boot_id: str) -> bool:
        """Return whether the monotonic clock has run on since."""
        return self.boot_id == boot_id and self.monotonic <= monotonic

    def at(self, monotonic: float) -> float:
        """Return the server's time at another reading of the same clock."""
        return self.time + monotonic - self.monotonic

    def correct(self, monotonic: float, date: float) -> None:
        """Apply a `Date` header that arrived at a reading of the clock."""
        if abs(date - self.at(monotonic)) > DATE_TOLERANCE:
            self.time, self.monotonic = date, monotonic
