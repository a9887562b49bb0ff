"""One LeadLex workspace and all that belongs to it, built in one place.

Nothing here is global: a second workspace is a second object.
"""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from triaged.clock import Clock
from triaged.leadlex.api_key import KeyHolder
from triaged.leadlex.connection import Connection
from triaged.leadlex.models import Exchange
from triaged.leadlex.reader import LexiReader
from triaged.leadlex.writer import LexiWriter
from triaged.ledger import GateLock, Ledger
from triaged.settings import Settings
from triaged.triage.cycle import Cycle
from triaged.triage.dispatcher import Gate
from triaged.triage.feedback import People
from triaged.triage.guard import is_clock_wrong
from triaged.triage.rate_limiter import Meter, MeteredReader
from triaged.triage.requests import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The parts of one workspace at work."""

    settings: Settings
    clock: Clock
    key: KeyHolder
    connection: Connection
    ledger: Ledger
    meter: Meter
    reader: MeteredReader

    def gate(self, on_attempt: Callable[[Attempt], None] = lambda _: None) -> Gate:
        """Make the one object that can dismiss."""
        return Gate(
            lexi=LexiWriter(self.connection),
            ledger=self.ledger,
            meter=self.meter,
            clock=self.clock,
            on_attempt=on_attempt,
        )

    def gate_lock(self) -> GateLock:
        """Return the lock under which this state directory's dismissals are made."""
        return GateLock(self.settings.state_dir, self.clock)

    def forget_old(self, now: datetime) -> int | None:
        """Forget what is older than the retention; return how many rows.

        By a wrong clock everything may seem old: then nothing is forgotten, and None.
        """
        if is_clock_wrong(self.meter.clock_skew):
            return None
        return self.ledger.prune(before=now - self.settings.retention)

    def people(self) -> People:
        """Return what asks LeadLex what people did with observed tasks."""
        return People(self.reader, self.ledger, self.meter, self.clock)

    def cycle(self, *, dry_run: bool) -> Cycle:
        """Return what runs cycles; a dry run has nothing that could write."""
        return Cycle(
            reader=self.reader,
            gate=None if dry_run else self.gate(),
            gate_lock=self.gate_lock(),
            ledger=self.ledger,
            meter=self.meter,
            clock=self.clock,
        )


@contextlib.asynccontextmanager
async def open_workspace(
    settings: Settings,
    clock: Clock,
    *,
    on_exchange: Callable[[Exchange], None] = lambda _: None,
    on_refused: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Workspace]:
    """Open key, ledger and connection, and close them again.

    Raises:
        ConfigError: there is no usable key.
        LedgerError: the ledger cannot be opened.
    """
    key = KeyHolder(settings.key)
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        meter = Meter(
            settings.quota,
            ledger,
            clock,
            seed=_seed(settings),
            on_refused=on_refused,
        )
        async with Connection(
            base_url=settings.api_url,
            key=key.reveal,
            clock=clock,
            on_exchange=on_exchange,
        ) as connection:
            yield Workspace(
                settings=settings,
                clock=clock,
                key=key,
                connection=connection,
                ledger=ledger,
                meter=meter,
                reader=MeteredReader(LexiReader(connection), meter),
            )


def _seed(settings: Settings) -> int:
    """Return what spreads installations apart that wait for the same reset."""
    place = f"{socket.gethostname()} {settings.workspace} {settings.state_dir}"
    return crc32(place.encode())
