"""What others spend of the same quota, as far as the daily headers betray it.

Their calls fill the minute window as ours do, though no header shows that window.
"""

from dataclasses import dataclass, field
from math import exp
from typing import Final

# Over how long their pace is averaged.
MEMORY: Final = 180.0
# Fewer calls a second than this are nobody's steady work.
ALONE: Final = 1 / 60
# Answers overtake each other; the least of so many estimates is hardly too high.
ESTIMATES: Final = 8
CORRECTION: Final = 4


@dataclass(slots=True)
class Others:
    """How many calls of the day were not ours, and how many come a second.

    ``exact`` are the last exact estimates, ``recent`` the last of any kind.
    """

    seen: int | None = None
    heard_at: float = 0.0
    rate: float = 0.0
    exact: list[int] = field(default_factory=list)
    recent: list[int] = field(default_factory=list)

    def hear(
        self, now: float, estimate: int, *, exact: bool, most: int
    ) -> tuple[float, ...]:
        """Take an estimate of the day's count; return when the news among it came.

        It is exact when no call of ours was under way while it was made.  Nobody knows
        when others called, so it was evenly since the last answer.
        """
        if not exact and (self.seen is None or self.rate < ALONE):
            # Calls of ours that overtake each other would pass for somebody.
            return ()
        self.recent = [estimate] if exact else [*self.recent, estimate][-ESTIMATES:]
        count, since = min(self.recent), self.heard_at
        self.heard_at = now
        if self.seen is None:
            # How long ago those were is not known.
            self.seen, self.exact = count, [count]
            return ()
        news = max(count - self.seen, 0)
        self.seen = max(count, self.seen)
        if exact:
            # A low estimate may be a call that was overtaken; several are a correction.
            self.seen = max(count, *self.exact)
            self.exact = [*self.exact, count][-CORRECTION:]
        self._average(max(now - since, 0.0), news)
        last = range(max(news - most, 0), news)
        return tuple(since + (now - since) * (number + 1) / news for number in last)

    def unheard(self, now: float, window: float) -> int:
        """Foresee how many have come since the last answer, within one window."""
        return round(self.rate * min(max(now - self.heard_at, 0.0), window))

    def forget_day(self) -> None:
        """Begin to count anew, at the same pace."""
        self.seen = None
        self.recent.clear()

    def rewind(self, now: float) -> None:
        """Move along with a clock that was set back."""
        self.heard_at = min(self.heard_at, now)

    def _average(self, passed: float, news: int) -> None:
        kept = exp(-passed / MEMORY)
        share = (1 - kept) / passed if passed > 0 else 1 / MEMORY
        self.rate = kept * self.rate + share * news
