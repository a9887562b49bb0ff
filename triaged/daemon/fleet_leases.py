"""Which workspaces this daemon runs now, where several daemons share a ledger.

Due workspaces are claimed from the database, run for one cycle, and given back. Without
the database nothing is claimed, and what was claimed ends with its lease.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from triaged.clock import Clock
from triaged.errors import LeaseLost, LedgerError, LedgerUnavailable
from triaged.ledger.database import Database
from triaged.ledger.leases import Lease, Leases, Standing
from triaged.ledger.locks import DaemonLock
from triaged.triage.report import log_ledger

if TYPE_CHECKING:
    from triaged.ledger.postgres import PostgresDatabase

REBALANCE_SECONDS: Final = 5.0
ENROL_SECONDS: Final = 60.0
RENEW_SECONDS: Final = 15.0
# After so many cycles in a row in which LeadLex could not be reached, the daemon leaves
# due workspaces to the others, and tries one itself this often.
UNREACHABLE_CYCLES: Final = 5
PROBE_SECONDS: Final = 30.0

log = structlog.get_logger()


def make_leases(
    database: Database,
    lock: DaemonLock,
    clock: Clock,
    *,
    on_fatal: Callable[[LedgerError], None],
) -> "FleetLeases | None":
    """Return the leases of a daemon; None on a file, where there is one daemon."""
    name = getattr(lock, "name", None)
    if name is None:
        return None
    from triaged.ledger.postgres import PostgresDatabase  # noqa: PLC0415 - rare

    return (
        FleetLeases(database, name, clock, on_fatal=on_fatal)
        if isinstance(database, PostgresDatabase)
        else None
    )


class Turn(NamedTuple):
    """A workspace whose cycle is to be run now, and how late that is, in seconds."""

    workspace: str
    late: float


class FleetLeases:
    """The leases that one daemon of a fleet holds."""

    def __init__(
        self,
        database: "PostgresDatabase",
        holder: str,
        clock: Clock,
        *,
        on_fatal: Callable[[LedgerError], None],
    ) -> None:
        """Hold leases by this name; ``on_fatal`` is told what will not pass."""
        self._database = database
        self._on_fatal = on_fatal
        self._leases = Leases(database, holder)
        self._clock = clock
        self._wanted: Mapping[str, timedelta] = {}
        self._held: dict[str, tuple[Lease, float]] = {}
        # What has ended here, and when it is due again by the monotonic clock.
        self._given: list[tuple[Lease, float]] = []
        # What was claimed here although the files lack it; of that, what has not been
        # looked into; and what to retire.
        self._unknown: set[str] = set()
        self._unexplained: set[str] = set()
        self._removed: set[str] = set()
        self._rebalance_at = self._enrol_at = self._probe_at = 0.0
        self._unreachable = 0
        self._has_others = False
        self._is_away = False
        self.tried_at = clock.monotonic()
        self.lost = 0
        self.fenced = 0

    def follow(self, workspaces: Mapping[str, timedelta]) -> None:
        """Take part in running these workspaces, and in no others.

        One that no daemon has had yet is first polled after its delay.
        """
        self._removed |= self._wanted.keys() - workspaces.keys()
        self._removed -= workspaces.keys()
        self._wanted = dict(workspaces)
        self._unknown.clear()
        self._unexplained.clear()
        self._enrol_at = 0.0

    def claim(self, free: int) -> list[Turn]:
        """Claim at most ``free`` workspaces that are due; none without the database."""
        self.tried_at = now = self._clock.monotonic()
        try:
            self._give_all()
            self._keep_up(now)
            found = self._claim(self._allowed(free, now))
        except LedgerUnavailable as error:
            self._note_away(error)
            return []
        except LedgerError as error:
            self._on_fatal(error)
            return []
        self._note_away(None)
        for lease in found:
            self._held[lease.workspace] = lease, now
            self._database.use_lease(lease)
        return [Turn(lease.workspace, lease.late) for lease in found]

    def _claim(self, free: int) -> list[Lease]:
        """Claim what is due and in the files here.

        Another daemon may have newer files, or older ones: what only those have is left
        to it, and not claimed again until the files change.
        """
        found: list[Lease] = []
        while True:
            claimed = self._leases.claim(free - len(found), unknown=self._unknown)
            found += [each for each in claimed if each.workspace in self._wanted]
            foreign = [each for each in claimed if each.workspace not in self._wanted]
            if not foreign:
                return found
            names = [lease.workspace for lease in foreign]
            self._unknown.update(names)
            self._unexplained.update(names)
            self._leases.give_all([(lease, None) for lease in foreign])
            self._leases.disown(names)

    def give(self, workspace: str, delay: timedelta) -> None:
        """Give a workspace back after its cycle, to be due again after ``delay``.

        The database learns of it at the next claim: many at once cost one commit.
        """
        held = self._held.pop(workspace, None)
        if held is not None:
            self._database.drop_lease(held[0])
            wait = 0.0 if self._leaves_to_others else delay.total_seconds()
            self._given.append((held[0], self._clock.monotonic() + wait))

    def holds(self, workspace: str) -> bool:
        """Return whether a cycle of this workspace is running here."""
        return workspace in self._held

    def hasten(self, workspace: str) -> None:
        """Make a workspace due now, in whatever daemon."""
        with contextlib.suppress(LedgerUnavailable):
            # First, or a delay that is noted here only would be applied afterwards.
            self._give_all()
            self._leases.hasten(workspace)

    def note_fenced(self, workspace: str) -> None:
        """Count a transaction that was refused because the lease had ended."""
        self.fenced += 1
        log.warning("lease.lost", workspace=workspace)

    def note_reached(self, *, is_reached: bool) -> None:
        """Record whether a cycle could reach LeadLex."""
        before = self._leaves_to_others
        self._unreachable = 0 if is_reached else self._unreachable + 1
        if self._leaves_to_others and not before:
            log.warning("fleet.left_to_others", cycles=self._unreachable)
        elif before and is_reached:
            log.info("fleet.taken_again")

    def leave(self) -> None:
        """Leave all workspaces to the other daemons, at a shutdown."""
        for workspace in list(self._held):
            self.give(workspace, timedelta(0))
        with contextlib.suppress(LedgerUnavailable):
            self._give_all()
            self._leases.leave()

    @property
    def _leaves_to_others(self) -> bool:
        return self._unreachable >= UNREACHABLE_CYCLES and self._has_others

    def _allowed(self, free: int, now: float) -> int:
        """Return how many may be claimed: few if LeadLex is out of reach."""
        if not self._leaves_to_others:
            return free
        if now < self._probe_at:
            return 0
        self._probe_at = now + PROBE_SECONDS
        return min(free, 1)

    def _keep_up(self, now: float) -> None:
        """Enrol what is new, count the daemons, and renew the leases of long cycles."""
        if now >= self._enrol_at:
            self._leases.enrol(self._wanted)
            self._enrol_at = now + ENROL_SECONDS
        if now >= self._rebalance_at:
            standing = self._leases.rebalance()
            self._has_others = standing.alive > 1
            self._rebalance_at = now + REBALANCE_SECONDS
            self._retire(standing)
        for workspace, (lease, since) in list(self._held.items()):
            if now - since < RENEW_SECONDS:
                continue
            try:
                self._leases.renew(lease)
            except LeaseLost:
                # The cycle finds out at its next transaction, and sends nothing more.
                self.lost += 1
                self._held[workspace] = lease, float("inf")
            else:
                self._held[workspace] = lease, now

    def _retire(self, standing: Standing) -> None:
        """Let no daemon claim what is no longer in the files of any of them.

        A daemon that still has one in its files enrols it again.
        """
        if standing.has_same_files:
            # Once only: another daemon may run one in its last good form.
            self._removed |= self._unexplained
            self._unexplained.clear()
        if self._removed:
            self._leases.retire(sorted(self._removed))
            self._removed.clear()

    def _give_all(self) -> None:
        """Give back what ended here; without the database, at the next attempt."""
        if not self._given:
            return
        now = self._clock.monotonic()
        self._leases.give_all(
            [
                (lease, timedelta(seconds=max(due - now, 0.0)))
                for lease, due in self._given
            ]
        )
        self._given.clear()

    def _note_away(self, error: LedgerUnavailable | None) -> None:
        problem, was_away = None if error is None else str(error), self._is_away
        self._is_away = problem is not None
        log_ledger(problem, was_away=was_away)
