"""Rate limiters as a server may have them, and the API that puts one before its day."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from triaged.quota import RateLimitHeaders

WINDOW: Final = 60.0
DAY: Final = 86_400.0
START: Final = 1_772_323_200.0  # 2026-03-01 00:00 UTC


class Limiter(Protocol):
    """Serves at most ``limit`` calls in a window."""

    limit: int

    def take(self, now: float) -> bool:
        """Return whether a call at this moment is served."""
        ...


@dataclass
class FixedWindow:
    """Counts calls in windows of a hidden phase."""

    limit: int
    phase: float = 0.0
    counts_refused: bool = False
    window: float = WINDOW
    _number: int = -1
    _count: int = 0

    def take(self, now: float) -> bool:
        number = int((now - self.phase) // self.window)
        if number != self._number:
            self._number, self._count = number, 0
        served = self._count < self.limit
        self._count += served or self.counts_refused
        return served


@dataclass
class SlidingLog:
    """Counts the calls of the last window, at every moment."""

    limit: int
    counts_refused: bool = False
    window: float = WINDOW
    _calls: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        while self._calls and self._calls[0] <= now - self.window:
            self._calls.popleft()
        served = len(self._calls) < self.limit
        if served or self.counts_refused:
            self._calls.append(now)
        return served


@dataclass
class TokenBucket:
    """Refills evenly and holds one window's worth; a refused call may cost a token."""

    limit: int
    counts_refused: bool = False
    window: float = WINDOW
    _spent: float = 0.0
    _at: float = 0.0

    def take(self, now: float) -> bool:
        drained = (now - self._at) * self.limit / self.window
        self._spent, self._at = max(self._spent - drained, 0.0), now
        served = self._spent + 1 <= self.limit + 1e-9
        if served or self.counts_refused:
            self._spent = min(self._spent + 1, self.limit)
        return served


@dataclass
class Api:
    """Serves calls: the minute by a limiter, the day by a count.

    The headers describe the day, or the minute by ``minute_headers``.
    """

    limiter: Limiter
    day_limit: int = 1_000_000
    day_length: float = DAY
    headers: bool = True
    counts_refused: bool = False
    minute_headers: bool = False
    spent: int = 0
    _day: int = 0
    _minute: int = 0
    _spent_in_minute: int = 0

    def take(self, now: float) -> tuple[bool, RateLimitHeaders]:
        """Serve or refuse a call; return the headers of the response as well."""
        day = int((now - START) // self.day_length)
        if day != self._day:
            self._day, self.spent = day, 0
        within = self.spent < self.day_limit
        served = within and self.limiter.take(now)
        if within:
            self.spent += served or self.counts_refused
        if self.minute_headers:
            return served, self._of_minute(now, served=served)
        return served, self._of_day(day) if self.headers else RateLimitHeaders()

    def _of_day(self, day: int) -> RateLimitHeaders:
        reset = START + (day + 1) * self.day_length
        return RateLimitHeaders(
            limit=self.day_limit,
            remaining=self.day_limit - self.spent,
            reset=datetime.fromtimestamp(reset, UTC),
        )

    def _of_minute(self, now: float, *, served: bool) -> RateLimitHeaders:
        minute = int(now // WINDOW)
        if minute != self._minute:
            self._minute, self._spent_in_minute = minute, 0
        self._spent_in_minute += served
        return RateLimitHeaders(
            limit=self.limiter.limit,
            remaining=self.limiter.limit - self._spent_in_minute,
            reset=datetime.fromtimestamp((minute + 1) * WINDOW, UTC),
        )
