"""The gate's closing after a refusal: until when, why, and how often in a row."""

from dataclasses import dataclass
from typing import Final

from triaged.quota.values import WindowName

# From a minute to a day in seven steps: a day's lock-out costs a handful of refusals.
WIDENING: Final = 4.0
MOST_STRIKES: Final = 12
# However long a server wants us to stay away, after a week we may ask.
LONGEST: Final = 7 * 86_400.0


@dataclass(slots=True)
class Closing:
    """While it lasts nobody calls; afterwards one call goes ahead of the others.

    ``strikes`` counts refusals without an accepted call between them.
    """

    until: float = 0.0
    window: WindowName | None = None
    refused_at: float = 0.0
    strikes: int = 0

    def refuse(self, now: float, sent_at: float) -> bool:
        """Note a refusal; say whether the call had left after the one before."""
        fresh = sent_at > self.refused_at
        if fresh:
            self.refused_at = now
            self.strikes = min(self.strikes + 1, MOST_STRIKES)
        return fresh

    def close(self, now: float, until: float, window: WindowName) -> None:
        """Close until a moment, unless it is closed for longer."""
        until = min(until, now + LONGEST)
        if until > self.until:
            self.until, self.window = until, window

    def widened(self, window: float) -> float:
        """Return for how long to close, longer each time."""
        return float(window * WIDENING ** max(self.strikes - 2, 0))

    def rewind(self, now: float) -> None:
        """Move along with a clock that was set back."""
        if back := max(self.refused_at - now, 0.0):
            self.refused_at -= back
            self.until -= back
