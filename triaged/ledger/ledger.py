"""The ledger of one workspace: its stores over one database."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from triaged.errors import ConfigError
from triaged.ledger.activity import Activity
from triaged.ledger.counters import Counters
from triaged.ledger.database import BUSY_SECONDS, Database, format_timestamp
from triaged.ledger.decisions import DecisionStore
from triaged.ledger.dismissals import Dismissals
from triaged.ledger.feedback import FeedbackStore
from triaged.ledger.flags import Flags
from triaged.ledger.holds import Holds
from triaged.ledger.locks import DaemonLock
from triaged.ledger.notifications import Notifications
from triaged.ledger.observations import Observations
from triaged.ledger.rule_changes import RuleChanges
from triaged.ledger.rulesets import Rulesets
from triaged.ledger.state import StateStore
from triaged.ledger.vetoes import Vetoes

# Every table with task ids.
_TASK_TABLES: Final = ("dismissal", "decision", "observation", "hold", "veto")


class Ledger:
    """All durable state of one workspace."""

    def __init__(
        self,
        directory: Path,
        *,
        workspace: str = "default",
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """Open the ledger of a state directory.

        ``busy_seconds`` is how long a statement waits while another process writes.

        Raises:
            LedgerBusy: another process wrote for longer than that.
            LedgerError: it cannot be opened; the message tells what to do.

        """
        self._database = Database(directory, create=create, busy_seconds=busy_seconds)
        self.workspace = workspace
        self.path = self._database.path
        self.dismissals = Dismissals(self._database, workspace)
        self.decisions = DecisionStore(self._database, workspace)
        self.holds = Holds(self._database, workspace)
        self.observations = Observations(self._database, workspace)
        self.rule_changes = RuleChanges(self._database, workspace)
        self.rulesets = Rulesets(self._database)
        self.feedback = FeedbackStore(self._database, workspace)
        self.flags = Flags(self._database, workspace)
        self.vetoes = Vetoes(self._database, workspace)
        self.counters = Counters(self._database, workspace)
        self.state = StateStore(self._database, workspace)
        self.notifications = Notifications(self._database, workspace)
        self.activity = Activity(self._database, workspace)

    @classmethod
    def open_existing(
        cls, directory: Path, *, workspace: str, busy_seconds: float = BUSY_SECONDS
    ) -> Self:
        """Open a ledger that a daemon or another command has created.

        For commands that act on a running daemon: nothing is created, so a command
        cannot report success without an effect.

        Raises:
            LedgerError: there is no ledger here, or it cannot be opened.
            ConfigError: the ledger does not know this workspace, or the daemon that
                runs on it serves another one.
        """
        owner = DaemonLock.owner(directory)
        ledger = cls(
            directory, workspace=workspace, create=False, busy_seconds=busy_seconds
        )
        known = ledger.workspaces()
        served = owner.workspace if owner else None
        if served not in {None, "", workspace} or (known and workspace not in known):
            ledger.close()
            whose = served or ", ".join(sorted(known))
            raise ConfigError.of_setting(
                "TRIAGED_WORKSPACE",
                f"the ledger {ledger.path} belongs to workspace {whose}, not to"
                f" {workspace}; set TRIAGED_WORKSPACE or --workspace",
            )
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
                    f"the ledger {self.path} holds what workspace {self.workspace} did"
                    f" at {row['api_url']}, not at {api_url}; use another"
                    " TRIAGED_STATE_DIR",
                )

    def workspaces(self) -> dict[str, str]:
        """Return the known workspaces with the URLs of their APIs."""
        rows = self._database.rows("SELECT name, api_url FROM workspace")
        return {row["name"]: row["api_url"] for row in rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def verify(self) -> None:
        """Check that the open file is still the one at the ledger's path.

        Raises:
            LedgerError: it was deleted or replaced.
        """
        self._database.verify()

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Run the body in one durable transaction; it may be nested."""
        return self._database.transaction()

    def task_ids(self, prefix: str = "", *, limit: int) -> list[str]:
        """Return the known task ids with a prefix, sorted."""
        return self._database.task_ids(
            _TASK_TABLES, self.workspace, prefix, limit=limit
        )

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
