"""The quota of one workspace, shared through the ledger by all its processes.

It brings together the pure ``Quota``, the clock and the ledger row that holds the
quota's state.  A call is charged durably before it leaves.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from triaged.clock import Clock
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import LexiError, NoResponse, RateLimited, Unreachable
from triaged.leadlex.models import PENDING, TaskList
from triaged.ledger import Ledger
from triaged.quota import (
    Admission,
    Purpose,
    Quota,
    QuotaSettings,
    QuotaView,
    ServerWord,
)

# `Date` has whole seconds and an answer takes its time to arrive.
_SKEW_NOISE: Final = timedelta(seconds=2)
_SHORTEST_WAIT: Final = 0.05


class TaskLister(Protocol):
    """Whoever can list tasks."""

    async def list_tasks(self, status: str) -> TaskList:
        """List the tasks of one status."""
        ...


class RateLimiter:
    """Says when a call may leave, and learns from what came of it."""

    def __init__(
        self,
        settings: QuotaSettings,
        ledger: Ledger,
        clock: Clock,
        *,
        seed: int = 0,
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._seed = seed
        self._on_refused = on_refused
        self._version = -1
        self._in_step = False
        self._quota = Quota(settings, seed=seed)
        self.clock_skew = timedelta(0)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is inside one durable step, of the quota and of the ledger.

        The state is read once, since another process may have changed it, and
        written once; steps may be nested.
        """
        if self._in_step:
            yield
            return
        try:
            with self._ledger.transaction():
                self._reload()
                self._in_step = True
                try:
                    yield
                finally:
                    self._in_step = False
                self._save()
        except BaseException:
            # What was rolled back never was: the ledger knows what is.
            self._version = -1
            raise

    def admit(self, purpose: Purpose, wanted: int = 1) -> Admission:
        """Charge up to so many calls that may leave now; durable after the step."""
        with self.transaction():
            return self._quota.admit(self._now(), purpose, wanted)

    async def acquire(self, purpose: Purpose) -> int:
        """Wait until one call may leave, charge it and return its ticket.

        Raises:
            QuotaSpent: that would be after the day's reset.
        """
        while True:
            admission = self.admit(purpose)
            if admission.tickets:
                return admission.tickets[0]
            until = admission.until or self._now()
            if admission.window == "day":
                raise QuotaExhausted(datetime.fromtimestamp(until, UTC))
            await self._clock.sleep(max(until - self._now(), _SHORTEST_WAIT))

    def on_response(self, ticket: int, word: ServerWord) -> None:
        """Learn from an answer that came in, whatever it said of the task."""
        word = self._to_local_time(word)
        with self.transaction():
            self._quota.answered(self._now(), ticket, word)

    def on_error(self, ticket: int, error: LexiError) -> None:
        """Learn from a call that did not come about."""
        word = self._to_local_time(error.rate_limit)
        with self.transaction():
            now = self._now()
            if isinstance(error, RateLimited):
                self._on_refused(self._quota.refused(now, ticket, word))
            elif isinstance(error, Unreachable):
                self._quota.cancelled(now, ticket)
            elif error.status is None:
                self._quota.unanswered(now, ticket)
            else:
                self._quota.answered(now, ticket, word)

    def expire_dismissals(self) -> None:
        """Give up the dismissals in flight; only under the gate lock, where none is."""
        with self.transaction():
            self._quota.abandon_dismissals(self._now())

    def next_poll(self, wished: timedelta, *, backlog: int = 0) -> datetime:
        """Say when the next list may be asked for without starving the day."""
        self._reload()
        now = self._now()
        at = self._quota.next_poll(now, wished.total_seconds(), backlog=backlog)
        return datetime.fromtimestamp(at, UTC)

    def snapshot(self) -> QuotaView:
        """Return the state of the quota, for people and metrics."""
        self._reload()
        return self._quota.view(self._now())

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _reload(self) -> None:
        """Take over what another process wrote since."""
        found = self._ledger.flags.load_quota(unless_version=self._version)
        if found is not None:
            self._version, state = found
            self._quota = Quota(self._settings, state, seed=self._seed)

    def _save(self) -> None:
        self._version += 1
        self._ledger.flags.save_quota(self._version, self._quota.state())

    def _to_local_time(self, word: ServerWord) -> ServerWord:
        """Measure the clocks against each other, and speak of ours from here on."""
        if word.date is None:
            return word
        skew = word.date - self._clock.now()
        if abs(skew) <= _SKEW_NOISE:
            self.clock_skew = timedelta(0)
            return word
        self.clock_skew = skew
        return ServerWord(
            limit=word.limit,
            remaining=word.remaining,
            reset=_moved(word.reset, skew),
            retry_after=word.retry_after,
            date=word.date,
        )


def _moved(moment: datetime | None, skew: timedelta) -> datetime | None:
    try:
        return None if moment is None else moment - skew
    except OverflowError:
        return None


class RateLimitedReader:
    """A reader whose every call passes the meter."""

    def __init__(self, reader: TaskLister, rate_limiter: RateLimiter) -> None:
        self._reader = reader
        self._rate_limiter = rate_limiter

    async def list_tasks(
        self, status: str = PENDING, *, purpose: Purpose = Purpose.POLL
    ) -> TaskList:
        """List the tasks of one status, once the quota allows it.

        Raises:
            QuotaSpent: not before the day's reset.
            LexiError: the call did not come about.
        """
        ticket = await self._rate_limiter.acquire(purpose)
        try:
            listed = await self._reader.list_tasks(status)
        except LexiError as error:
            self._rate_limiter.on_error(ticket, error)
            raise
        except BaseException:
            # Whatever ended the call, it is not in flight any more.
            self._rate_limiter.on_error(ticket, NoResponse("list"))
            raise
        self._rate_limiter.on_response(ticket, listed.rate_limit)
        return listed
