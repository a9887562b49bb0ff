"""Helpers of the quota's tests: headers, calls, and a server on a virtual clock."""

import heapq
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from tests.quota_servers import DAY, START, WINDOW, Api
from triaged.quota import Purpose, QuotaLimiter, QuotaSettings, RateLimitHeaders

NOON: Final = START + DAY / 2
MIDNIGHT: Final = START + DAY
STARTER: Final = QuotaSettings.for_plan("starter")
PRO: Final = QuotaSettings.for_plan("pro")
NO_HEADERS: Final = RateLimitHeaders()


def some_headers(
    remaining: int | None = None,
    *,
    limit: int | None = None,
    reset: float | None = None,
    retry_after: float | None = None,
) -> RateLimitHeaders:
    """Return headers whose times are given in seconds."""
    return RateLimitHeaders(
        limit=limit,
        remaining=remaining,
        reset=None if reset is None else datetime.fromtimestamp(reset, UTC),
        retry_after=(
            None if retry_after is None else datetime.fromtimestamp(retry_after, UTC)
        ),
    )


def start(limiter: QuotaLimiter, now: float, purpose: Purpose = Purpose.DISMISS) -> int:
    """Acquire a permit, which must be granted."""
    grant = limiter.acquire(now, purpose)
    assert grant.permit is not None, grant
    return grant.permit


def call(
    limiter: QuotaLimiter, now: float, headers: RateLimitHeaders = NO_HEADERS
) -> None:
    """Make a call that is accepted at once."""
    limiter.on_response(now, start(limiter, now), headers)


def refuse(
    limiter: QuotaLimiter, now: float, headers: RateLimitHeaders = NO_HEADERS
) -> str:
    """Make a call that is refused at once; return the window."""
    return limiter.on_rate_limited(now, start(limiter, now), headers)


def fill(limiter: QuotaLimiter, now: float) -> int:
    """Make the calls that are allowed at one moment; return their number."""
    made = 0
    while (permit := limiter.acquire(now, Purpose.DISMISS).permit) is not None:
        limiter.on_response(now, permit, NO_HEADERS)
        made += 1
    return made


def is_allowed(
    limiter: QuotaLimiter, now: float, purpose: Purpose = Purpose.DISMISS
) -> bool:
    """Return whether a call is allowed, and make none."""
    permit = limiter.acquire(now, purpose).permit
    if permit is not None:
        limiter.release(now, permit)
    return permit is not None


def spend(
    limiter: QuotaLimiter,
    now: float,
    calls: int,
    headers: RateLimitHeaders = NO_HEADERS,
) -> float:
    """Make calls one after the other as soon as allowed; return the time after."""
    for _ in range(calls):
        while (grant := limiter.acquire(now, Purpose.DISMISS)).permit is None:
            assert grant.retry_at is not None
            now = max(now, grant.retry_at)
        now += 0.1
        limiter.on_response(now, grant.permit, headers)
    return now


@dataclass
class Caller:
    """Makes calls to a server, each as soon as the limiter allows it.

    Another client makes ``others`` calls a minute, evenly.
    """

    limiter: QuotaLimiter
    api: Api
    now: float = NOON
    made: int = 0
    refused: int = 0
    others: int = 0
    _next_other: float = NOON

    def run(self, *, until: float = START + 10 * DAY, calls: int = 10**9) -> None:
        """Make calls until a time or a number is reached."""
        while self.now < until and calls > 0:
            grant = self.limiter.acquire(self.now, Purpose.DISMISS)
            if grant.permit is None:
                assert grant.retry_at is not None
                assert grant.retry_at > self.now
                self._advance_to(grant.retry_at)
                continue
            self._advance_to(self.now + 0.1)
            served, headers = self.api.take(self.now)
            self._advance_to(self.now + 0.1)
            calls -= 1
            if served:
                self.made += 1
                self.limiter.on_response(self.now, grant.permit, headers)
            else:
                self.refused += 1
                self.limiter.on_rate_limited(self.now, grant.permit, headers)

    def _advance_to(self, moment: float) -> None:
        self._next_other = max(self._next_other, self.now)
        while self.others and self._next_other <= moment:
            self.api.take(self._next_other)
            self._next_other += WINDOW / self.others
        self.now = moment


@dataclass(frozen=True)
class Ask:
    """A request for a call: when, how long it takes, when it counts, how it ends."""

    gap: float
    purpose: Purpose
    took: float
    counted_at: float
    end: str
    others: int


@dataclass
class World:
    """A limiter, its server, and the calls between them."""

    limiter: QuotaLimiter
    api: Api
    now: float = START
    refused: int = 0
    by_others: int = 0
    _events: list[tuple[float, int, str, int]] = field(default_factory=list)
    _responses: dict[int, tuple[bool, RateLimitHeaders]] = field(default_factory=dict)
    _number: int = 0

    def ask(self, ask: Ask) -> bool:
        """Let time pass, and request one call; return whether it was allowed."""
        self.run_until(self.now + ask.gap)
        # The next response reports these calls.
        self.api.spent += ask.others
        self.by_others += ask.others
        permit = self.limiter.acquire(self.now, ask.purpose).permit
        if permit is None:
            return False
        self._number += 1
        counted = self.now + ask.took * ask.counted_at
        if ask.end != "release":
            self._push(counted, 0, "counted", permit)
        self._push(self.now + ask.took, 1, ask.end, permit)
        return True

    def run_until(self, moment: float) -> None:
        """Deliver everything that happens until a moment."""
        while self._events and self._events[0][0] <= moment:
            self.now, _, kind, permit = heapq.heappop(self._events)
            self._deliver(kind, permit)
        self.now = moment

    def _push(self, at: float, rank: int, kind: str, permit: int) -> None:
        heapq.heappush(self._events, (at, 2 * self._number + rank, kind, permit))

    def _deliver(self, kind: str, permit: int) -> None:
        if kind == "counted":
            self._responses[permit] = self.api.take(self.now)
            self.refused += not self._responses[permit][0]
            return
        served, headers = self._responses.pop(permit, (True, NO_HEADERS))
        if kind == "release":
            self.limiter.release(self.now, permit)
        elif kind == "lost":
            self.limiter.on_no_response(self.now, permit)
        elif served:
            self.limiter.on_response(self.now, permit, headers)
        else:
            self.limiter.on_rate_limited(self.now, permit, headers)
