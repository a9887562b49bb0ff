"""The daily window: its limit, the calls left in it, and when the next one starts.

The headers may lag behind calls in flight, and the limiter's own count does not include
other clients of the same key, so the smaller remainder of the two is used.
"""

from dataclasses import dataclass
from typing import Final
from zlib import crc32

from triaged.quota.budget import reserved_calls
from triaged.quota.types import PLANS, RateLimitHeaders

DAY: Final = 86_400.0
MAX_RESET_AHEAD: Final = DAY + 3_600.0
# Clocks may differ by this much, so a new day starts this much later.
CLOCK_TOLERANCE: Final = 2.0
# No response arrives later, so none can describe the previous day for longer.
MAX_RESPONSE_DELAY: Final = 120.0
DEFAULT_DAILY_LIMIT: Final = min(plan.per_day for plan in PLANS.values())


@dataclass(slots=True)
class DailyWindow:
    """The current day; ``configured_limit`` comes from the settings.

    ``used`` counts calls of this limiter, including those in flight.
    ``reported_remaining`` is what the server reported, less the calls it has not
    counted yet.  ``dismissed`` and ``dismissed_yesterday`` forecast how many calls the
    rest of the day needs.

    """

    configured_limit: int | None
    began_at: float
    reset_at: float
    reported_limit: int | None = None
    reported_remaining: int | None = None
    used: int = 0
    dismissed: int = 0
    dismissed_yesterday: float = 0.0

    @classmethod
    def at(cls, now: float, configured_limit: int | None) -> "DailyWindow":
        """Start with the UTC day that contains ``now``."""
        return cls(configured_limit, began_at=now, reset_at=next_midnight(now))

    @property
    def limit(self) -> int:
        """Return the calls allowed in a day: the stricter of settings and headers."""
        return self._known_limit or DEFAULT_DAILY_LIMIT

    @property
    def _known_limit(self) -> int | None:
        limits = (self.configured_limit, self.reported_limit)
        return min((n for n in limits if n is not None), default=None)

    def reserved(self, share: float) -> int:
        """Return how many calls are never used."""
        return reserved_calls(self.limit, share)

    def remaining(self, in_flight: int) -> int:
        """Return the calls left; those in flight may not be in the server's count."""
        own = self.limit - self.used
        if self.reported_remaining is None:
            return max(own, 0)
        return max(min(own, self.reported_remaining - in_flight), 0)

    def used_by_others(self, in_flight: int) -> int:
        """Return how many of today's calls other clients made, as reported."""
        if self.reported_remaining is None:
            return 0
        limit = self.reported_limit or self.limit
        return max(limit - self.reported_remaining - (self.used - in_flight), 0)

    def starts_at(self, seed: int, spread: float) -> float:
        """Return when to start the next day.

        The time depends on the seed, so that not all clients call right at the reset.
        """
        share = crc32(f"{seed}:{self.reset_at:.0f}".encode()) / 2**32
        jitter = max(spread - CLOCK_TOLERANCE, 0.0) * share
        return self.reset_at + CLOCK_TOLERANCE + jitter

    def roll_over(self, now: float, in_flight: int) -> None:
        """Start a new day if the current one is over."""
        if now >= self.reset_at + CLOCK_TOLERANCE:
            self._start(now, in_flight)
        elif self.reset_at - now > MAX_RESET_AHEAD:
            # The clock was set back; the day must not last forever.
            self.reset_at = next_midnight(now)
            self.began_at = min(self.began_at, now)

    def describes_day(
        self, now: float, headers: RateLimitHeaders, minute_window: float
    ) -> bool:
        """Return whether the headers describe the day and not a shorter window.

        The API does not document this. A limit other than the known one is accepted
        only with a reset at the end of a UTC day.
        """
        limit, known = headers.limit, self._known_limit
        if headers.reset is None or (limit is not None and limit == known):
            return True
        reset = headers.reset.timestamp()
        if reset <= now + minute_window + CLOCK_TOLERANCE:
            return False
        at_midnight = abs(reset - next_midnight(now)) <= MAX_RESPONSE_DELAY
        return at_midnight or limit is None or known is None

    def apply_headers(
        self, now: float, headers: RateLimitHeaders, *, sent_at: float, in_flight: int
    ) -> bool:
        """Apply a response's headers; return whether they reported what remains.

        ``in_flight`` is the number of other calls; if it is 0, the server's count is
        exact.
        """
        if headers.limit:
            self.reported_limit = headers.limit
        reset = None if headers.reset is None else headers.reset.timestamp()
        if headers.remaining is None or self._is_stale(now, reset, sent_at):
            return False
        if reset is not None and now < reset <= now + MAX_RESET_AHEAD:
            if self._has_server_rolled_over(now, reset, headers.remaining):
                self._start(now, in_flight + 1)
            self.reset_at = reset
        if not in_flight or self.reported_remaining is None:
            self.reported_remaining = headers.remaining
        else:
            self.reported_remaining = min(
                self.reported_remaining - 1, headers.remaining
            )
        return True

    def assume_one_used(self) -> None:
        """Count a call whose response had no rate-limit headers."""
        if self.reported_remaining is not None:
            self.reported_remaining -= 1

    def expected_dismissals(self, now: float) -> float:
        """Forecast the dismissals of the rest of the day from today and yesterday."""
        ahead = max(self.reset_at - now, 0.0)
        behind = max(now - self.began_at, 0.0)
        by_yesterday = self.dismissed_yesterday * ahead / DAY
        by_today = self.dismissed * ahead / behind if behind > ahead / 4 else 0.0
        return max(by_yesterday, by_today)

    def _start(self, now: float, in_flight: int) -> None:
        """Start a day; the server may count calls in flight in it."""
        lasted = max(self.reset_at - self.began_at, 1.0)
        self.dismissed_yesterday = self.dismissed * min(DAY / lasted, 24.0)
        self.began_at, self.reset_at = now, next_midnight(now)
        self.used, self.dismissed = in_flight, 0
        self.reported_remaining = None

    def _has_server_rolled_over(self, now: float, reset: float, remaining: int) -> bool:
        """Return whether the server's new day has started before ours.

        The local count is reset only near the end of the day.
        """
        if self.reported_remaining is None or remaining <= self.reported_remaining:
            return False
        near_end = now > self.reset_at - MAX_RESPONSE_DELAY
        return near_end and reset > self.reset_at + CLOCK_TOLERANCE

    def _is_stale(self, now: float, reset: float | None, sent_at: float) -> bool:
        """Return whether a response describes the previous day."""
        if now - self.began_at > MAX_RESPONSE_DELAY:
            return False
        if reset is None:
            return sent_at < self.began_at
        is_start = abs(reset - self.began_at) <= MAX_RESPONSE_DELAY
        return is_start and reset <= now + CLOCK_TOLERANCE


def next_midnight(now: float) -> float:
    """Return the next 00:00 UTC, when the daily count starts again."""
    return (now // DAY + 1) * DAY
