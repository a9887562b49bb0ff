"""The quota as LeadLex documents it: fixed windows of a minute and of a day.

Pure: the time is an argument, in seconds since the epoch.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MINUTE_SECONDS: Final = 60.0
DAY_SECONDS: Final = 86_400.0


class WindowName(StrEnum):
    """One of the two windows."""

    MINUTE = "minute"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Allows ``limit`` calls in each window of ``seconds`` seconds; None is unlimited.

    Windows begin at ``phase`` plus multiples of their length since the epoch, so a day
    with phase 0 begins at 00:00 UTC.
    """

    limit: int | None
    seconds: float
    phase: float = 0.0

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"a window lasts more than {self.seconds} seconds")
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"a limit is not negative: {self.limit}")

    def number(self, now: float) -> int:
        return math.floor((now - self.phase) / self.seconds)

    def end(self, now: float) -> float:
        return self.phase + (self.number(now) + 1) * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitResult:
    """Whether one call is allowed, and what is left of the day.

    ``exceeded`` is the window that is used up; None means that the call is allowed.
    """

    exceeded: WindowName | None
    limit: int | None
    remaining: int | None
    reset: float
    retry_after: int


class _Counter:
    """The calls in the current window."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._number = 0
        self._spent = 0

    def spent(self, now: float) -> int:
        return self._spent if self._number == self.window.number(now) else 0

    def is_full(self, now: float) -> bool:
        limit = self.window.limit
        return limit is not None and self.spent(now) >= limit

    def remaining(self, now: float) -> int | None:
        limit = self.window.limit
        return None if limit is None else max(0, limit - self.spent(now))

    def count(self, now: float) -> None:
        self._spent = self.spent(now) + 1
        self._number = self.window.number(now)


class Limits:
    """Counts the calls of one workspace against its minute and its day."""

    def __init__(
        self, *, minute: Window, day: Window, refused_count: bool = False
    ) -> None:
        self._minute = _Counter(minute)
        self._day = _Counter(day)
        self._refused_count = refused_count

    def consume(self, now: float) -> LimitResult:
        exceeded = self._full(now)
        if exceeded is None or self._refused_count:
            self._minute.count(now)
            self._day.count(now)
        return self._result(exceeded, now)

    def peek(self, now: float) -> LimitResult:
        """Return the result that a call would get, without counting it."""
        return self._result(self._full(now), now)

    def left_in_minute(self, now: float) -> int | None:
        """Return the calls left in the minute; None if unlimited."""
        return self._minute.remaining(now)

    def _full(self, now: float) -> WindowName | None:
        # The day comes first: waiting a minute would not help.
        if self._day.is_full(now):
            return WindowName.DAY
        return WindowName.MINUTE if self._minute.is_full(now) else None

    def _result(self, exceeded: WindowName | None, now: float) -> LimitResult:
        day = self._day.window
        window = self._minute.window if exceeded is WindowName.MINUTE else day
        return LimitResult(
            exceeded=exceeded,
            limit=day.limit,
            remaining=self._day.remaining(now),
            reset=day.end(now),
            retry_after=max(1, math.ceil(window.end(now) - now)),
        )
