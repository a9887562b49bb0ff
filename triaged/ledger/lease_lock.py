"""The dispatch lock of a PostgreSQL ledger: the workspace's lease, kept alive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

from triaged.clock import Clock
from triaged.errors import LeaseLost, LedgerError
from triaged.ledger.leases import Lease, Leases

if TYPE_CHECKING:
    from triaged.ledger.postgres import PostgresDatabase

# Often enough that one lost renewal does not stop dismissals.
RENEW_SECONDS: Final = 10.0

_POLL_SECONDS: Final = 0.25
_REPORT_AFTER_SECONDS: Final = 2.0


class LeaseDispatchLock:
    """The lease of one workspace, held while a process sends its dismissals.

    While it is held, an intent without an outcome belongs to a process that has died
    or is fenced. It is renewed in the background and by each transaction.
    """

    def __init__(
        self,
        database: "PostgresDatabase",
        leases: Leases,
        workspace: str,
        clock: Clock,
        *,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._leases = leases
        self._workspace = workspace
        self._clock = clock
        self._on_wait = on_wait

    @contextlib.asynccontextmanager
    async def acquired(
        self, give_up: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[bool]:
        """Wait until no other process dismisses, and hold the lease in the body.

        ``on_wait`` is called once with the holder if the wait takes longer than two
        seconds. Yields False if ``give_up`` ended the wait.

        Raises:
            LedgerError: the database cannot be asked.

        """
        if self._database.has_lease(self._workspace):
            # A daemon of a fleet claimed it for this cycle, and gives it back.
            yield True
            return
        lease = await self._wait(give_up)
        if lease is None:
            yield False
            return
        self._database.use_lease(lease)
        renewals = _Renewals(self._leases, lease)
        try:
            yield True
        finally:
            renewals.stop()
            self._database.drop_lease(lease)
            # If the database is away, the lease ends by itself.
            with contextlib.suppress(LedgerError):
                self._leases.give(lease, None)

    async def _wait(self, give_up: Callable[[], bool]) -> Lease | None:
        started, reported = self._clock.monotonic(), False
        while (lease := self._leases.claim_one(self._workspace)) is None:
            if give_up():
                return None
            waited = self._clock.monotonic() - started
            if waited >= _REPORT_AFTER_SECONDS and not reported:
                holder = self._leases.holder_of(self._workspace)
                self._on_wait(holder or "another process")
                reported = True
            await self._clock.sleep(_POLL_SECONDS)
        return lease


class _Renewals:
    """Renews a lease every few seconds of real time, between its holder's steps."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease
        self._loop = asyncio.get_running_loop()
        self._plan()

    def stop(self) -> None:
        """Renew no more."""
        self._timer.cancel()

    def _plan(self) -> None:
        self._timer = self._loop.call_later(RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        try:
            self._leases.renew(self._lease)
        except LeaseLost:
            return  # the holder's next transaction finds out
        except LedgerError:
            pass  # the database may be back before the lease ends
        self._plan()
