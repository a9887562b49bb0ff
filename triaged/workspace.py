"""Builds all parts of one LeadLex workspace.

Nothing is global, so another workspace is another object.
"""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from triaged.clock import Clock, read_boot_id
from triaged.leadlex.api_key import ApiKey, ApiKeyProvider
from triaged.leadlex.clients import HttpClients
from triaged.leadlex.connection import Connection
from triaged.leadlex.models import ApiCall
from triaged.leadlex.reader import LexiReader
from triaged.leadlex.writer import LexiWriter
from triaged.ledger import DispatchLock, Ledger
from triaged.rules.evidence import rules_in_force
from triaged.rules.rule import Ruleset
from triaged.rules.task import Task
from triaged.rulesfile.loader import CompiledRules
from triaged.settings import Settings
from triaged.triage.assessment import Assessment, assess
from triaged.triage.cycle import Cycle
from triaged.triage.dispatcher import Dispatcher
from triaged.triage.feedback import FeedbackCollector
from triaged.triage.guard import is_clock_wrong
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter
from triaged.triage.requests import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The parts of one workspace in use."""

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
        """Build the only object that can dismiss."""
        return Dispatcher(
            writer=LexiWriter(self.connection),
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
            on_attempt=on_attempt,
        )

    def assess(
        self, rules: CompiledRules, tasks: Sequence[Task], *, now: datetime
    ) -> Assessment:
        """Decide on each task by rules, ledger and guard; writes nothing."""
        return assess(
            self.ledger,
            rules,
            tasks,
            now=now,
            clock_skew=self.rate_limiter.clock_skew,
        )

    def in_force(self, ruleset: Ruleset) -> Ruleset:
        """Return the rules in the modes that promotions and demotions gave them."""
        return rules_in_force(ruleset, self.ledger.rule_changes.changes())

    def dispatch_lock(self) -> DispatchLock:
        """Return the lock to hold while sending dismissals of this workspace."""
        return self.ledger.dispatch_lock(self.clock, self.on_lock_wait)

    def prune(self, now: datetime) -> int | None:
        """Delete data older than the retention; return the number of rows.

        With a wrong clock everything may seem old: then nothing is deleted and None
        returned.
        """
        if is_clock_wrong(self.rate_limiter.clock_skew):
            return None
        self.ledger.state.forget_outdated(now=now)
        return self.ledger.prune(before=now - self.settings.retention)

    def feedback(self) -> FeedbackCollector:
        """Build the collector of human decisions on observed tasks."""
        return FeedbackCollector(
            self.reader, self.ledger, self.rate_limiter, self.clock
        )

    def cycle(
        self,
        *,
        dry_run: bool,
        on_attempt: Callable[[Attempt], None] = lambda _: None,
    ) -> Cycle:
        """Build the object that runs cycles; for a dry run it has no dispatcher."""
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
    # Read before the ledger is made, so that a missing key leaves no trace.
    settings.key.read()
    clients = HttpClients()
    with Ledger.open_own(
        settings.ledger,
        workspace=settings.workspace,
        is_of_fleet=settings.is_of_fleet,
    ) as ledger:
        try:
            yield build_workspace(
                settings,
                clock,
                ledger=ledger,
                clients=clients,
                on_call=on_call,
                on_refused=on_refused,
                on_lock_wait=on_lock_wait,
            )
        finally:
            await clients.close()


def build_workspace(
    settings: Settings,
    clock: Clock,
    *,
    ledger: Ledger,
    clients: HttpClients,
    check_key: Callable[[ApiKey], None] = lambda _: None,
    on_call: Callable[[ApiCall], None] = lambda _: None,
    on_refused: Callable[[str], None] = lambda _: None,
    on_lock_wait: Callable[[str], None] = lambda _: None,
) -> Workspace:
    """Build the parts of a workspace on a ledger and clients that others may share.

    ``check_key`` raises ``ConfigError`` for a key that another workspace has.

    Raises:
        ConfigError: there is no usable key, or the ledger belongs to another API URL.
        LedgerError: the ledger cannot be written.
    """
    key = ApiKeyProvider(settings.key, check=check_key)
    ledger.bind(settings.api_url, at=clock.now())
    rate_limiter = RateLimiter(
        settings.quota,
        ledger,
        clock,
        seed=_seed(settings),
        boot_id=read_boot_id(),
        on_refused=on_refused,
    )
    connection = Connection(
        base_url=settings.api_url,
        key=key.reveal,
        clock=clock,
        on_call=on_call,
        clients=clients,
    )
    return Workspace(
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
    """Return a seed that spreads the calls of installations after a common reset."""
    place = f"{socket.gethostname()} {settings.workspace} {settings.state_dir}"
    return crc32(place.encode())
