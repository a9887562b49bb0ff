"""Drains a backlog at a server on a virtual clock, so that a day takes seconds."""

import heapq
import random
from dataclasses import dataclass
from typing import Final

from tests.bench.quota.clients import Client
from tests.quota_servers import START, WINDOW, Api
from triaged.quota import RateLimitHeaders

FAST: Final = (0.05, 0.4)


@dataclass(frozen=True)
class Neighbour:
    """Somebody else on the same key: calls a minute, evenly or as they come."""

    a_minute: float
    evenly: bool = False


@dataclass
class Drained:
    """What draining took; ``first`` is when the first window's worth was done."""

    seconds: float = 0.0
    calls: int = 0
    refused: int = 0
    done: int = 0
    most_spent: int = 0

    @property
    def share_refused(self) -> float:
        return self.refused / max(self.calls, 1)


class Drain:
    """One backlog, one client, one server; a refused call's task waits again."""

    def __init__(
        self,
        client: Client,
        api: Api,
        *,
        neighbour: Neighbour | None = None,
        latency: tuple[float, float] = FAST,
        changes: tuple[tuple[float, int], ...] = (),
        seed: int = 1,
    ) -> None:
        self._client = client
        self._api = api
        self._neighbour = neighbour
        self._latency = latency
        self._changes = list(changes)
        self._random = random.Random(seed)  # noqa: S311 - repeatable
        self._events: list[tuple[float, int, str, int]] = []
        self._answers: dict[int, tuple[bool, RateLimitHeaders]] = {}
        self._number = 0
        self._drained = Drained()

    def run(self, tasks: int, *, patience: float) -> Drained:
        """Go on until so many tasks are done or so much time has passed."""
        drained, now = self._drained, START
        if self._neighbour is not None:
            self._schedule_neighbour(now)
        while drained.done < tasks:
            for name in self._client.launch(now):
                self._send(now, name)
            wake = self._client.wakes_at()
            if not self._events and wake is None:
                break
            if wake is not None and (not self._events or wake <= self._events[0][0]):
                now = max(wake, now)
            else:
                now = self._happen()
            if now - START > patience:
                break
        drained.seconds = now - START
        return drained

    def _send(self, now: float, name: int) -> None:
        took = self._random.uniform(*self._latency)
        self._number += 1
        self._drained.calls += 1
        counted = now + took * self._random.uniform(0.2, 0.8)
        heapq.heappush(self._events, (counted, self._number, "counted", name))
        heapq.heappush(self._events, (now + took, self._number, "landed", name))

    def _happen(self) -> float:
        now, number, kind, name = heapq.heappop(self._events)
        while self._changes and now - START >= self._changes[0][0]:
            self._api.limiter.limit = self._changes.pop(0)[1]
        match kind:
            case "neighbour":
                self._api.take(now)
                self._schedule_neighbour(now)
            case "counted":
                self._answers[number] = self._api.take(now)
                spent = self._api.spent
                self._drained.most_spent = max(self._drained.most_spent, spent)
            case _:
                served, word = self._answers.pop(number)
                self._drained.done += served
                self._drained.refused += not served
                self._client.land(now, name, served=served, headers=word)
        return now

    def _schedule_neighbour(self, now: float) -> None:
        assert self._neighbour is not None
        mean = WINDOW / self._neighbour.a_minute
        evenly = self._neighbour.evenly
        after = mean if evenly else self._random.expovariate(1 / mean)
        heapq.heappush(self._events, (now + after, 0, "neighbour", 0))
