"""The ledger of one workspace: its stores over one database."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from triaged.clock import Clock
from triaged.errors import ConfigError
from triaged.ledger.activity import Activity
from triaged.ledger.bound import WorkspaceDatabase
from triaged.ledger.counters import Counters
from triaged.ledger.database import (
    BUSY_SECONDS,
    Database,
    find_task_ids,
    format_timestamp,
)
from triaged.ledger.decisions import DecisionStore
from triaged.ledger.dismissals import Dismissals
from triaged.ledger.feedback import FeedbackStore
from triaged.ledger.flags import Flags
from triaged.ledger.fleet_views import FleetViews
from triaged.ledger.holds import Holds
from triaged.ledger.location import LedgerLocation
from triaged.ledger.locks import DispatchLock
from triaged.ledger.notifications import Notifications
from triaged.ledger.observations import Observations
from triaged.ledger.opening import (
    close_database,
    make_dispatch_lock,
    open_database,
    served_workspace,
)
from triaged.ledger.rule_changes import RuleChanges
from triaged.ledger.rulesets import Rulesets
from triaged.ledger.state import StateStore
from triaged.ledger.vetoes import Vetoes

# Names of workspaces in a message.
_SHOWN: Final = 5


class Ledger:
    """All durable state of one workspace."""

    def __init__(
        self,
        database: Database,
        workspace: str = "default",
        *,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Use an open database, which ledgers of other workspaces may share.

        ``close`` leaves it open, unless ``on_close`` closes it.
        """
        self._shared = database
        self._database = database = WorkspaceDatabase(database, workspace)
        self._on_close = on_close
        self.workspace = workspace
        self.location = database.location
        self.dismissals = Dismissals(database, workspace)
        self.decisions = DecisionStore(database, workspace)
        self.holds = Holds(database, workspace)
        self.observations = Observations(database, workspace)
        self.rule_changes = RuleChanges(database, workspace)
        self.rulesets = Rulesets(database)
        self.feedback = FeedbackStore(database, workspace)
        self.flags = Flags(database, workspace)
        self.vetoes = Vetoes(database, workspace)
        self.counters = Counters(database, workspace)
        self.state = StateStore(database, workspace)
        self.notifications = Notifications(database, workspace)
        self.activity = Activity(database, workspace)

    @classmethod
    def open(
        cls,
        place: Path | LedgerLocation,
        *,
        workspace: str = "default",
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
    ) -> Self:
        """Open the ledger at a place, with a database of its own.

        ``busy_seconds`` is how long a statement waits while another process writes.

        Raises:
            LedgerBusy: another process wrote for longer than that.
            LedgerError: it cannot be opened; the message tells what to do.

        """
        database = open_database(place, create=create, busy_seconds=busy_seconds)
        return cls(database, workspace, on_close=lambda: close_database(database))

    @classmethod
    def open_existing(
        cls,
        place: Path | LedgerLocation,
        *,
        workspace: str,
        is_of_fleet: bool = False,
        busy_seconds: float = BUSY_SECONDS,
    ) -> Self:
        """Open a ledger that a daemon or another command has created.

        For commands that act on a running daemon: nothing is created, so a command
        cannot report success without an effect. ``is_of_fleet``: the files of the fleet
        have this workspace, so it need not have run yet.

        Raises:
            LedgerError: there is no ledger here, or it cannot be opened.
            ConfigError: the ledger does not know this workspace, or the daemon that
                runs on it serves another one, or a fleet.
        """
        ledger = cls.open(
            place, workspace=workspace, create=False, busy_seconds=busy_seconds
        )
        if not is_of_fleet:
            _refuse_another(ledger, place)
        return ledger

    @classmethod
    def open_own(
        cls,
        place: Path | LedgerLocation,
        *,
        workspace: str,
        is_of_fleet: bool = False,
    ) -> Self:
        """Open the ledger for a command that acts or reports for one workspace.

        A second label on the state directory of one workspace would know neither its
        vetoes nor its pause, and report that nothing was ever dismissed.

        Raises:
            LedgerError: it cannot be opened; the message tells what to do.
            ConfigError: it belongs to other workspaces, or the daemon that runs on it
                serves another one, or a fleet.
        """
        ledger = cls.open(place, workspace=workspace)
        # Processes with nothing in common may share a database.
        is_shared = isinstance(place, LedgerLocation) and place.url is not None
        if not (is_of_fleet or is_shared):
            _refuse_another(ledger, place)
        return ledger

    def bind(self, api_url: str, *, at: datetime) -> None:
        """Record which API this workspace belongs to, or check that it is the same.

        Raises:
            ConfigError: the ledger belongs to another API URL.

        """
        with self.transaction():
            row = self._database.row(
                "SELECT api_url FROM workspace WHERE name = ?", (self.workspace,)
            )
            if row is None:
                self._database.execute(
                    "INSERT INTO workspace (name, api_url, first_used_at)"
                    " VALUES (?, ?, ?)",
                    (self.workspace, api_url, format_timestamp(at)),
                )
            elif row["api_url"] != api_url:
                raise ConfigError.of_setting(
                    "TRIAGED_API_URL",
                    f"the ledger {self.location} holds what workspace"
                    f" {self.workspace} did at {row['api_url']}, not at {api_url};"
                    " use another TRIAGED_STATE_DIR",
                )

    def workspaces(self) -> dict[str, str]:
        """Return the known workspaces with the URLs of their APIs."""
        rows = self._database.rows("SELECT name, api_url FROM workspace")
        return {row["name"]: row["api_url"] for row in rows}

    def fleet_views(self) -> FleetViews:
        """Return queries over all workspaces of this ledger."""
        return FleetViews(self._database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database, if this ledger opened it."""
        self._on_close()

    def verify(self) -> None:
        """Check that a dismissal may leave: others still read and write this ledger.

        Raises:
            LedgerError: its file was deleted or replaced, or its database is away.
            LeaseLost: another process may dismiss for this workspace.
        """
        self._database.verify(self.workspace)

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Run the body in one durable transaction; it may be nested."""
        return self._database.transaction(self.workspace)

    def task_ids(self, prefix: str = "", *, limit: int) -> list[str]:
        """Return the known task ids with a prefix, sorted."""
        return find_task_ids(self._database, self.workspace, prefix, limit=limit)

    def dispatch_lock(
        self, clock: Clock, on_wait: Callable[[str], None] = lambda _: None
    ) -> DispatchLock:
        """Return the lock to hold while dismissals of this workspace are sent.

        ``on_wait`` is called with the owner of the lock if the wait takes long.
        """
        return make_dispatch_lock(self._shared, self.workspace, clock, on_wait)

    def prune(self, *, before: datetime) -> int:
        """Delete resolved data older than ``before``; return the number of rows."""
        with self.transaction():
            return sum(store.prune(before=before) for store in self._prunable())

    def _prunable(
        self,
    ) -> Iterator[
        Dismissals | DecisionStore | Observations | FeedbackStore | Notifications
    ]:
        yield from (self.dismissals, self.decisions, self.observations, self.feedback)
        yield self.notifications


def _named(known: Iterable[str]) -> str:
    names = sorted(known)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _refuse_another(ledger: Ledger, place: Path | LedgerLocation) -> None:
    """Close a ledger of another workspace, or of a fleet, and raise."""
    known, served = ledger.workspaces(), served_workspace(place)
    is_free = served in {None, ledger.workspace}
    if is_free and (not known or ledger.workspace in known):
        return
    ledger.close()
    own = "or another TRIAGED_STATE_DIR for a workspace of its own"
    if served == "" or (is_free and len(known) > 1):
        names = f" ({_named(known)})" if known else ""
        raise ConfigError.of_setting(
            "TRIAGED_FLEET",
            f"the ledger {ledger.location} belongs to a fleet{names};"
            f" set TRIAGED_FLEET to the directory of its files, {own}",
        )
    raise ConfigError.of_setting(
        "TRIAGED_WORKSPACE",
        f"the ledger {ledger.location} belongs to workspace"
        f" {_named(known) if is_free else served}, not to {ledger.workspace};"
        f" set TRIAGED_WORKSPACE or --workspace, {own}",
    )
