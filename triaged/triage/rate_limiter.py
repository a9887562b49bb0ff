"""The quota of one workspace, shared through the ledger by all its processes.

It connects the pure ``QuotaLimiter`` with the clock and the ledger row of its state.
A call is charged durably before it is sent.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from triaged.clock import Clock
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import LexiError, NoResponse, RateLimited, Unreachable
from triaged.leadlex.models import PENDING, TaskList
from triaged.ledger import Ledger
from triaged.quota import (
    Grant,
    Purpose,
    QuotaLimiter,
    QuotaSettings,
    QuotaSnapshot,
    RateLimitHeaders,
)
from triaged.quota.server_time import DATE_TOLERANCE, ServerTime

_MIN_WAIT: Final = 0.05
# A longer wait would block the cycle and every other process.
MAX_WAIT: Final = timedelta(minutes=5)


class TaskLister(Protocol):
    """A client that lists tasks."""

    async def list_tasks(self, status: str) -> TaskList:
        """List the tasks of one status."""
        ...


class RateLimiter:
    """Grants calls and records their results.

    The quota runs on the server's time; its callers get times of the local clock.
    """

    def __init__(
        self,
        settings: QuotaSettings,
        ledger: Ledger,
        clock: Clock,
        *,
        seed: int = 0,
        boot_id: str = "",
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._seed = seed
        self._boot_id = boot_id
        self._on_refused = on_refused
        self._version = -1
        self._in_transaction = False
        self._is_daemon = False
        self._quota = QuotaLimiter(settings, seed=seed)
        self._server_time: ServerTime | None = None
        self.clock_skew = timedelta(0)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the body in one transaction of the quota and the ledger.

        The state is read once, since another process may have changed it, and written
        once; transactions may be nested.

        """
        if self._in_transaction:
            yield
            return
        try:
            with self._ledger.transaction():
                self._reload()
                self._in_transaction = True
                try:
                    yield
                finally:
                    self._in_transaction = False
                self._save()
        except BaseException:
            # After a rollback the state must be read again.
            self._version = -1
            raise

    def try_acquire(self, purpose: Purpose) -> Grant:
        """Charge one call if it may be sent now; durable once it is committed."""
        with self.transaction():
            grant = self._quota.acquire(self._now(), purpose, by_daemon=self._is_daemon)
            return replace(grant, retry_at=self._local_or_none(grant.retry_at))

    async def acquire(self, purpose: Purpose) -> int:
        """Wait until one call may be sent, charge it and return its permit number.

        Raises:
            QuotaExhausted: that would be after the day's reset, or the server asks for
                a longer wait than a call is worth.

        """
        while True:
            grant = self.try_acquire(purpose)
            if grant.permit is not None:
                return grant.permit
            now = self._clock.now().timestamp()
            retry_at = grant.retry_at or now
            is_long = retry_at - now > MAX_WAIT.total_seconds()
            if grant.reason == "day" or is_long:
                until = datetime.fromtimestamp(retry_at, UTC)
                raise QuotaExhausted(until, of_day=grant.reason == "day")
            await self._clock.sleep(max(retry_at - now, _MIN_WAIT))

    def on_response(self, permit: int, headers: RateLimitHeaders) -> None:
        """Record a call that got a response, whatever its status."""
        with self.transaction():
            headers = self._observe_clock(headers)
            self._quota.on_response(self._now(), permit, headers)

    def on_error(self, permit: int, error: LexiError) -> None:
        """Record a call that failed."""
        with self.transaction():
            headers = self._observe_clock(error.rate_limit)
            now = self._now()
            if isinstance(error, RateLimited):
                self._on_refused(self._quota.on_rate_limited(now, permit, headers))
            elif isinstance(error, Unreachable):
                self._quota.release(now, permit)
            elif error.status is None:
                self._quota.on_no_response(now, permit)
            else:
                self._quota.on_response(now, permit, headers)

    def take_over(self) -> None:
        """Count an earlier daemon's calls in flight as sent; requires the daemon lock.

        A poll that died with its daemon would block calls until it expires. The calls
        from now on are those of the daemon.
        """
        self._is_daemon = True
        with self.transaction():
            self._quota.expire_daemon_calls(self._now())

    def expire_dismissals(self) -> None:
        """Count dismissals in flight as sent; requires the dispatch lock."""
        self._reload()
        if not self._quota.has_dismissals_in_flight():
            # Nothing changes, so nothing need reach the disk.
            return
        with self.transaction():
            self._quota.expire_dismissals(self._now())

    def next_poll(self, target: timedelta, *, backlog: int = 0) -> datetime:
        """Return when to poll next, so that the calls last until the daily reset."""
        self._reload()
        now = self._now()
        at = self._quota.next_poll(now, target.total_seconds(), backlog=backlog)
        return self._clock.now() + timedelta(seconds=at - now)

    def snapshot(self) -> QuotaSnapshot:
        """Return the state of the quota for display and metrics."""
        self._reload()
        snapshot = self._quota.snapshot(self._now())
        return replace(
            snapshot,
            reset_at=self._to_local(snapshot.reset_at),
            blocked_until=self._local_or_none(snapshot.blocked_until),
        )

    def last_clock_skew(self) -> timedelta:
        """Return how far the server's clock is ahead, as some process last saw it."""
        self._reload()
        ahead = self._now() - self._clock.now().timestamp()
        return _significant(timedelta(seconds=ahead))

    def now(self) -> datetime:
        """Return the time of the local clock."""
        return self._clock.now()

    def _now(self) -> float:
        """Return the server's time."""
        return self._anchor().at(self._clock.monotonic())

    def _anchor(self) -> ServerTime:
        monotonic, known = self._clock.monotonic(), self._server_time
        if known is None or not known.is_valid(monotonic, self._boot_id):
            wall = self._clock.now().timestamp()
            known = self._server_time = ServerTime(wall, monotonic, self._boot_id)
        return known

    def _to_local(self, moment: float) -> float:
        """Convert a server time to the local clock."""
        return moment - self._now() + self._clock.now().timestamp()

    def _local_or_none(self, moment: float | None) -> float | None:
        return None if moment is None else self._to_local(moment)

    def _reload(self) -> None:
        """Load the state if another process has written it since."""
        found = self._ledger.state.load_quota(unless_version=self._version)
        if found is not None:
            self._version, state = found
            self._quota = QuotaLimiter(self._settings, state, seed=self._seed)
            saved = (state or {}).get("server_time")
            self._server_time = None if saved is None else ServerTime(**saved)

    def _save(self) -> None:
        self._version += 1
        state = {**self._quota.to_dict(), "server_time": asdict(self._anchor())}
        self._ledger.state.save_quota(self._version, state)

    def _observe_clock(self, headers: RateLimitHeaders) -> RateLimitHeaders:
        """Update the server time, and return the headers converted to server time."""
        if headers.date is not None:
            self.clock_skew = _significant(headers.date - self._clock.now())
            date = headers.date.timestamp()
            self._anchor().correct(self._clock.monotonic(), date)
        if headers.retry_after is None:
            return headers
        offset = timedelta(seconds=self._now() - self._clock.now().timestamp())
        try:
            return replace(headers, retry_after=headers.retry_after + offset)
        except OverflowError:
            return replace(headers, retry_after=None)


def _significant(skew: timedelta) -> timedelta:
    """Return a difference of two clocks, or zero if it may be the reading's."""
    return timedelta(0) if abs(skew.total_seconds()) <= DATE_TOLERANCE else skew


class RateLimitedReader:
    """A reader that acquires a permit for every call."""

    def __init__(self, reader: TaskLister, rate_limiter: RateLimiter) -> None:
        self._reader = reader
        self._rate_limiter = rate_limiter

    async def list_tasks(
        self, status: str = PENDING, *, purpose: Purpose = Purpose.POLL
    ) -> TaskList:
        """List the tasks of one status, once the quota allows it.

        Raises:
            QuotaExhausted: no calls are left until the daily reset.
            LexiError: the call failed.

        """
        permit = await self._rate_limiter.acquire(purpose)
        requested_at = self._rate_limiter.now()
        try:
            listed = await self._reader.list_tasks(status)
        except LexiError as error:
            self._rate_limiter.on_error(permit, error)
            raise
        except BaseException:
            # However the call ended, it is no longer in flight.
            self._rate_limiter.on_error(permit, NoResponse("list"))
            raise
        self._rate_limiter.on_response(permit, listed.rate_limit)
        return replace(listed, requested_at=requested_at)
