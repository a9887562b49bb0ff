"""One LeadLex workspace and all that belongs to it, built in one place.

Nothing here is global: a second workspace is a second object.
"""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from triaged.clock import Clock, read_boot_id
from triaged.leadlex.api_key import ApiKeyProvider
from triaged.leadlex.connection import Connection
from triaged.leadlex.models import ApiCall
from triaged.leadlex.reader import LexiReader
from triaged.leadlex.writer import LexiWriter
from triaged.ledger import DispatchLock, Ledger
from triaged.settings import Settings
from triaged.triage.cycle import Cycle
from triaged.triage.dispatcher import Dispatcher
from triaged.triage.feedback import FeedbackCollector
from triaged.triage.guard import is_clock_wrong
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter
from triaged.triage.requests import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The parts of one workspace at work."""

    settings: Settings
    clock: Clock
    key: ApiKeyProvider
    connection: Connection
    ledger: Ledger
    rate_limiter: RateLimiter
    reader: RateLimitedReader
    on_lock_wait: Callable[[str], None]

    def dispatcher(
        self, on_attempt: Callable[[Attempt], None] = lambda _: None
    ) -> Dispatcher:
        """Make the one object that can dismiss."""
        return Dispatcher(
            writer=LexiWriter(self.connection),
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
            on_attempt=on_attempt,
        )

    def dispatch_lock(self) -> DispatchLock:
        """Return the lock under which this state directory's dismissals are made."""
        return DispatchLock(
            self.settings.state_dir, self.clock, on_wait=self.on_lock_wait
        )

    def prune(self, now: datetime) -> int | None:
        """Forget what is older than the retention; return how many rows.

        By a wrong clock everything may seem old: then nothing is forgotten, and None.
        """
        if is_clock_wrong(self.rate_limiter.clock_skew):
            return None
        self.ledger.state.forget_outdated(now=now)
        return self.ledger.prune(before=now - self.settings.retention)

    def feedback(self) -> FeedbackCollector:
        """Return what asks LeadLex what people did with observed tasks."""
        return FeedbackCollector(
            self.reader, self.ledger, self.rate_limiter, self.clock
        )

    def cycle(
        self,
        *,
        dry_run: bool,
        on_attempt: Callable[[Attempt], None] = lambda _: None,
    ) -> Cycle:
        """Return what runs cycles; a dry run has nothing that could write."""
        return Cycle(
            reader=self.reader,
            dispatcher=None if dry_run else self.dispatcher(on_attempt),
            dispatch_lock=self.dispatch_lock(),
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
        )


@contextlib.asynccontextmanager
async def open_workspace(
    settings: Settings,
    clock: Clock,
    *,
    on_call: Callable[[ApiCall], None] = lambda _: None,
    on_refused: Callable[[str], None] = lambda _: None,
    on_lock_wait: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Workspace]:
    """Open key, ledger and connection, and close them again.

    Raises:
        ConfigError: there is no usable key.
        LedgerError: the ledger cannot be opened.
    """
    key = ApiKeyProvider(settings.key)
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        ledger.bind(settings.api_url, at=clock.now())
        rate_limiter = RateLimiter(
            settings.quota,
            ledger,
            clock,
            seed=_seed(settings),
            boot_id=read_boot_id(),
            on_refused=on_refused,
        )
        async with Connection(
            base_url=settings.api_url,
            key=key.reveal,
            clock=clock,
            on_call=on_call,
        ) as connection:
            yield Workspace(
                settings=settings,
                clock=clock,
                key=key,
                connection=connection,
                ledger=ledger,
                rate_limiter=rate_limiter,
                on_lock_wait=on_lock_wait,
                reader=RateLimitedReader(LexiReader(connection), rate_limiter),
            )


def _seed(settings: Settings) -> int:
    """Return what spreads installations apart that wait for the same reset."""
    place = f"{socket.gethostname()} {settings.workspace} {settings.state_dir}"
    return crc32(place.encode())
