"""Blocks all calls after a refusal or a `Retry-After` header."""

from dataclasses import dataclass
from typing import Final

from triaged.quota.types import BlockReason

# From a minute to a day in six refusals.
FACTOR: Final = 4.0
MAX_REFUSALS: Final = 12
MAX_DELAY: Final = 7 * 86_400.0


@dataclass(slots=True)
class Backoff:
    """Blocks all calls until a time; then a single call is sent before the others.

    ``consecutive_refusals`` counts refusals without an accepted call between them.

    """

    until: float = 0.0
    reason: BlockReason | None = None
    refused_at: float = 0.0
    consecutive_refusals: int = 0

    def record_refusal(self, now: float, sent_at: float) -> bool:
        """Count a refusal; return whether the call was sent after the last one."""
        is_new = sent_at > self.refused_at
        if is_new:
            self.refused_at = now
            refusals = self.consecutive_refusals + 1
            self.consecutive_refusals = min(refusals, MAX_REFUSALS)
        return is_new

    def block_until(self, now: float, until: float, reason: BlockReason) -> None:
        """Block until a time, unless calls are blocked for longer."""
        until = min(until, now + MAX_DELAY)
        if until > max(self.until, now):
            self.until, self.reason = until, reason

    def delay(self, window: float) -> float:
        """Return the seconds to block, increasing with each refusal."""
        return float(window * FACTOR ** max(self.consecutive_refusals - 2, 0))

    def on_clock_set_back(self, now: float) -> None:
        """Shift all times when the clock was set back."""
        if back := max(self.refused_at - now, 0.0):
            self.refused_at -= back
            self.until -= back
