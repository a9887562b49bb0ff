"""Clients that use up a quota: the product's limiter, and common libraries.

The libraries are modelled on the virtual clock after their documentation and source.
Each has eight workers, as the dispatcher has, and sends a refused call again.
"""

import random
from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

from tests.quota_servers import START, WINDOW
from triaged.quota import Purpose, QuotaLimiter, QuotaSettings, RateLimitHeaders

WIDTH: Final = 8
# What a worker adds to a retry time, and how soon it asks again without one.
TIMER_SLACK: Final = 0.01
ASK_AGAIN: Final = 0.1


class Client(Protocol):
    """Decides when calls leave for as many tasks as wait."""

    def launch(self, now: float) -> list[int]:
        """Return names for the calls that leave now."""
        ...

    def wakes_at(self) -> float | None:
        """Return when it wants to be asked again even if nothing comes in."""
        ...

    def land(
        self, now: float, name: int, *, served: bool, headers: RateLimitHeaders
    ) -> None:
        """Take in an answer."""
        ...


class Ours:
    """The product's limiter: each worker acquires one permit directly before a call."""

    def __init__(self, settings: QuotaSettings, tasks: int) -> None:
        self.quota = QuotaLimiter(settings)
        self._waiting = tasks
        self._idle = WIDTH
        self._ask_at: float | None = None

    def launch(self, now: float) -> list[int]:
        permits: list[int] = []
        self._ask_at = None
        while self._waiting and self._idle:
            grant = self.quota.acquire(now, Purpose.DISMISS)
            if grant.permit is None:
                self._ask_at = grant.retry_at
                if self._ask_at is None and self._idle == WIDTH:
                    self._ask_at = now + ASK_AGAIN
                break
            self._waiting -= 1
            self._idle -= 1
            permits.append(grant.permit)
        return permits

    def wakes_at(self) -> float | None:
        return None if self._ask_at is None else self._ask_at + TIMER_SLACK

    def land(
        self, now: float, name: int, *, served: bool, headers: RateLimitHeaders
    ) -> None:
        self._idle += 1
        if served:
            self.quota.on_response(now, name, headers)
        else:
            self.quota.on_rate_limited(now, name, headers)
            self._waiting += 1


class Workers:
    """Eight workers that know no limit: each sends, and sends again when refused."""

    width = WIDTH

    def __init__(self, tasks: int) -> None:
        self._waiting = tasks
        self._idle = self.width
        self._wake: float | None = None

    def launch(self, now: float) -> list[int]:
        names = []
        while self._waiting and self._idle:
            self._wake = self.free_at(now)
            if self._wake > now:
                break
            self._wake = None
            self._waiting -= 1
            self._idle -= 1
            names.append(self.sent(now))
        return names

    def wakes_at(self) -> float | None:
        return self._wake

    def land(
        self, now: float, name: int, *, served: bool, headers: RateLimitHeaders
    ) -> None:
        del now, name, headers
        self._idle += 1
        self._waiting += not served

    def free_at(self, now: float) -> float:
        """Return when the next call may leave."""
        return now

    def sent(self, now: float) -> int:
        """Note a call that leaves."""
        del now
        return 0


class PlainLoop(Workers):
    """The loop of the API's documentation: one call after the other."""

    width = 1


class Tenacity:
    """Eight workers under ``wait_random_exponential(multiplier=1, max=60)``.

    A worker keeps its task and sleeps between 0 and 1, 2, 4 … 60 seconds.
    """

    def __init__(self, tasks: int) -> None:
        self._random = random.Random(1)  # noqa: S311 - repeatable
        self._waiting = tasks
        self._idle: deque[int] = deque(range(WIDTH))
        self._attempts = [0] * WIDTH
        self._asleep: dict[int, float] = {}

    def launch(self, now: float) -> list[int]:
        names = list(self._woken(now))
        while self._waiting and self._idle:
            self._waiting -= 1
            names.append(self._idle.popleft())
        return names

    def wakes_at(self) -> float | None:
        return min(self._asleep.values(), default=None)

    def land(
        self, now: float, name: int, *, served: bool, headers: RateLimitHeaders
    ) -> None:
        del headers
        if served:
            self._attempts[name] = 0
            self._idle.append(name)
            return
        most = min(2.0 ** min(self._attempts[name], 10), 60.0)
        self._attempts[name] += 1
        self._asleep[name] = now + self._random.uniform(0.0, most)

    def _woken(self, now: float) -> Iterator[int]:
        for name, until in list(self._asleep.items()):
            if until <= now:
                del self._asleep[name]
                yield name


class AioLimiter(Workers):
    """``AsyncLimiter(limit, 60)``: a leaky bucket, a burst of it and then evenly."""

    def __init__(self, limit: int, tasks: int) -> None:
        super().__init__(tasks)
        self._limit = limit
        self._level = 0.0
        self._at = START

    def free_at(self, now: float) -> float:
        self._level = max(self._level - (now - self._at) * self._limit / WINDOW, 0.0)
        self._at = now
        over = max(self._level + 1 - self._limit, 0.0)
        return now if over < 1e-9 else now + over * WINDOW / self._limit

    def sent(self, now: float) -> int:
        del now
        self._level += 1
        return 0


class PyrateLimiter(Workers):
    """``Limiter(Rate(limit, MINUTE))``: a sliding log by the moment of sending."""

    def __init__(self, limit: int, tasks: int) -> None:
        super().__init__(tasks)
        self._sent: deque[float] = deque(maxlen=limit)

    def free_at(self, now: float) -> float:
        if len(self._sent) < (self._sent.maxlen or 0):
            return now
        return max(self._sent[0] + WINDOW, now)

    def sent(self, now: float) -> int:
        self._sent.append(now)
        return 0
