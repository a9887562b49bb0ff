"""Ways to spend a quota: the product's behind its gate, and what people use instead.

The libraries are modelled on the virtual clock by what their documentation and source
say; each has eight workers, as the gate has, and sends a refused call again.
"""

import random
from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

from tests.bench.quota.servers import START, WINDOW
from triaged.quota import Purpose, Quota, QuotaSettings, ServerWord
from triaged.triage.dispatcher import BATCH_SIZE, MAX_CONCURRENT

# What the gate adds to a moment it was told, and how soon it asks without one.
NAP_SLACK: Final = 0.01
ASK_AGAIN: Final = 0.1


class Client(Protocol):
    """Decides when calls leave for as many tasks as wait."""

    def launch(self, now: float) -> list[int]:
        """Return names for the calls that leave now."""
        ...

    def wakes_at(self) -> float | None:
        """Return when it wants to be asked again even if nothing comes in."""
        ...

    def land(self, now: float, name: int, *, served: bool, word: ServerWord) -> None:
        """Take in an answer."""
        ...


class Ours:
    """The product's quota, asked in the way ``triaged.triage.dispatcher`` asks it."""

    def __init__(self, settings: QuotaSettings, tasks: int) -> None:
        self.quota = Quota(settings)
        self._waiting = tasks
        self._cleared: deque[int] = deque()
        self._landed: list[tuple[int, bool, ServerWord]] = []
        self._flying = 0
        self._ask_at: float | None = None

    def launch(self, now: float) -> list[int]:
        if self._is_step_due():
            self._settle(now)
            self._clear(now)
        room = min(MAX_CONCURRENT - self._flying, len(self._cleared))
        self._flying += room
        return [self._cleared.popleft() for _ in range(room)]

    def wakes_at(self) -> float | None:
        if self._cleared or self._ask_at is None:
            return None
        return self._ask_at + NAP_SLACK

    def land(self, now: float, name: int, *, served: bool, word: ServerWord) -> None:
        del now
        self._flying -= 1
        self._landed.append((name, served, word))

    def _is_step_due(self) -> bool:
        if not self._cleared or len(self._landed) >= MAX_CONCURRENT:
            return True
        return not all(served for _, served, _ in self._landed)

    def _settle(self, now: float) -> None:
        for ticket, served, word in self._landed:
            if served:
                self.quota.answered(now, ticket, word)
            else:
                self.quota.refused(now, ticket, word)
                self._waiting += 1
        self._landed.clear()

    def _clear(self, now: float) -> None:
        self._ask_at = None
        room = min(BATCH_SIZE - len(self._cleared), self._waiting)
        if room <= 0:
            return
        admission = self.quota.admit(now, Purpose.DISMISS, room)
        self._cleared += admission.tickets
        self._waiting -= len(admission.tickets)
        if self._waiting:
            self._ask_at = admission.until
            if self._ask_at is None and not self._cleared and not self._flying:
                self._ask_at = now + ASK_AGAIN


class Workers:
    """Eight workers that know no limit: each sends, and sends again when refused."""

    width = MAX_CONCURRENT

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

    def land(self, now: float, name: int, *, served: bool, word: ServerWord) -> None:
        del now, name, word
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
        self._idle: deque[int] = deque(range(MAX_CONCURRENT))
        self._attempts = [0] * MAX_CONCURRENT
        self._asleep: dict[int, float] = {}

    def launch(self, now: float) -> list[int]:
        names = list(self._woken(now))
        while self._waiting and self._idle:
            self._waiting -= 1
            names.append(self._idle.popleft())
        return names

    def wakes_at(self) -> float | None:
        return min(self._asleep.values(), default=None)

    def land(self, now: float, name: int, *, served: bool, word: ServerWord) -> None:
        del word
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
