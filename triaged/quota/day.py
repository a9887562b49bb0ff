"""The daily window: its limit, what is left of it, and when it begins anew.

The headers describe this window, but lag behind calls in flight; our own count knows
nothing of others who use the same key.  The smaller of the two is believed.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final
from zlib import crc32

from triaged.quota.values import PLANS, ServerWord

DAY: Final = 86_400.0
# A reset further ahead than a day and an hour is a slip of somebody's clock.
FARTHEST_RESET: Final = DAY + 3_600.0
# Clocks are not compared more exactly, so a new day is believed in so much later.
CLOCKS_APART: Final = 2.0
# No answer comes later than this, so none can tell of the day before for longer.
LATE_ANSWER: Final = 120.0
CAREFUL_LIMIT: Final = min(plan.per_day for plan in PLANS.values())


@dataclass(slots=True)
class Day:
    """What is known of the present day; ``given`` is the limit from the settings.

    ``spent`` counts our calls, those in flight included; ``heard`` is what the server
    said remains, less what we know it has not counted.  ``dismissed`` counts today's
    dismissals and ``before`` yesterday's, to foresee how many calls they will need.
    """

    given: int | None
    began_at: float
    reset_at: float
    said_limit: int | None = None
    heard: int | None = None
    spent: int = 0
    dismissed: int = 0
    before: float = 0.0

    @classmethod
    def at(cls, now: float, given: int | None) -> "Day":
        """Begin with the UTC day of a moment."""
        return cls(given=given, began_at=now, reset_at=next_midnight(now))

    @property
    def limit(self) -> int:
        """Return the calls a day: the stricter of what we and the server say."""
        known = [n for n in (self.given, self.said_limit) if n is not None]
        return min(known, default=CAREFUL_LIMIT)

    def reserved(self, share: float) -> int:
        """Return how many calls are never spent."""
        return min(ceil(self.limit * share - 1e-9), self.limit)

    def remaining(self, in_flight: int) -> int:
        """Return what is left; calls in flight may not be in the server's count."""
        ours = self.limit - self.spent
        heard = ours if self.heard is None else self.heard - in_flight
        return max(min(ours, heard), 0)

    def others(self, in_flight: int) -> int:
        """Return how many of today's calls were not ours, as far as headers show."""
        if self.heard is None:
            return 0
        shown = self.said_limit or self.limit
        return max(shown - self.heard - (self.spent - in_flight), 0)

    def opens_at(self, seed: int, spread: float) -> float:
        """Return when to begin the next day: each seed at another moment of the first.

        Those who wait for the same reset would otherwise all come at once.
        """
        share = crc32(f"{seed}:{self.reset_at:.0f}".encode()) / 2**32
        return self.reset_at + CLOCKS_APART + max(spread - CLOCKS_APART, 0.0) * share

    def roll(self, now: float, in_flight: int) -> bool:
        """Begin a new day when the old one is over; say whether it was."""
        if now < self.reset_at + CLOCKS_APART:
            # A clock set far back must not make the day endless.
            if self.reset_at - now > FARTHEST_RESET:
                self.reset_at = next_midnight(now)
                self.began_at = min(self.began_at, now)
            return False
        self._begin(now, in_flight)
        return True

    def hear(
        self, now: float, word: ServerWord, *, sent_at: float, in_flight: int
    ) -> bool:
        """Take an answer's headers over; say whether they told what remains.

        ``in_flight`` counts the other calls under way: without any the count is whole.
        """
        if word.limit is not None and word.limit > 0:
            self.said_limit = word.limit
        reset = None if word.reset is None else word.reset.timestamp()
        if word.remaining is None or self._is_over(now, reset, sent_at):
            return False
        if reset is not None and now < reset <= now + FARTHEST_RESET:
            risen = self.heard is not None and word.remaining > self.heard
            if reset > self.reset_at + CLOCKS_APART and risen:
                # The server's new day has begun before ours.
                self._begin(now, in_flight + 1)
            self.reset_at = reset
        if not in_flight or self.heard is None:
            self.heard = word.remaining
        else:
            self.heard = min(self.heard - 1, word.remaining)
        return True

    def unheard(self) -> None:
        """Count a call whose answer told nothing."""
        if self.heard is not None:
            self.heard -= 1

    def _begin(self, now: float, in_flight: int) -> None:
        """Count anew; calls in flight belong to whichever day the server says."""
        lasted = max(self.reset_at - self.began_at, 1.0)
        self.before = self.dismissed * min(DAY / lasted, 24.0)
        self.began_at, self.reset_at = now, next_midnight(now)
        self.spent, self.dismissed = in_flight, 0
        self.heard = None

    def _is_over(self, now: float, reset: float | None, sent_at: float) -> bool:
        """Say whether an answer tells of the day before this one."""
        if now - self.began_at > LATE_ANSWER:
            return False
        if reset is None:
            return sent_at < self.began_at
        return abs(reset - self.began_at) <= LATE_ANSWER and reset <= now + CLOCKS_APART

    def expected_dismissals(self, now: float) -> float:
        """Foresee the dismissals of the rest of the day, by today and yesterday."""
        ahead = max(self.reset_at - now, 0.0)
        behind = max(now - self.began_at, 0.0)
        of_before = self.before * ahead / DAY
        of_today = self.dismissed * ahead / behind if behind > ahead / 4 else 0.0
        return max(of_before, of_today)


def next_midnight(now: float) -> float:
    """Return the next 00:00 UTC, when the day's count begins anew."""
    return (now // DAY + 1) * DAY
