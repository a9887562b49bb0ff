"""Small states that survive restarts, as JSON; each is replaced as a whole."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from triaged.ledger.database import Database, format_timestamp


class StateName(StrEnum):
    """The names of the stored states."""

    DAEMON = "daemon"
    REVIEW_POSITION = "review_position"
    SETTLED_TASKS = "settled_tasks"


# Texts of settled tasks are of use for a day, and not kept for longer.
SETTLED_TASKS_KEPT: Final = timedelta(days=1)


class StateStore:
    """The states of one workspace, including the versioned state of its quota."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def save(self, name: StateName, value: Any, *, at: datetime) -> None:  # noqa: ANN401 - any JSON
        """Store a state, replacing the previous one."""
        self._database.execute(
            "INSERT INTO state (workspace, name, value, saved_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (workspace, name) DO UPDATE SET"
            " value = excluded.value, saved_at = excluded.saved_at",
            (self._workspace, name, json.dumps(value), format_timestamp(at)),
        )

    def load(self, name: StateName) -> Any:  # noqa: ANN401 - any JSON
        """Return a state, or None."""
        row = self._database.row(
            "SELECT value FROM state WHERE workspace = ? AND name = ?",
            (self._workspace, name),
        )
        with self._database.decoding():
            return None if row is None else json.loads(row["value"])

    def forget(self, name: StateName) -> None:
        """Delete a state."""
        self._database.execute(
            "DELETE FROM state WHERE workspace = ? AND name = ?",
            (self._workspace, name),
        )

    def forget_outdated(self, *, now: datetime) -> None:
        """Drop the settled tasks once they are too old to be of use."""
        self._database.execute(
            "DELETE FROM state WHERE workspace = ? AND name = ? AND saved_at < ?",
            (
                self._workspace,
                StateName.SETTLED_TASKS,
                format_timestamp(now - SETTLED_TASKS_KEPT),
            ),
        )

    def load_quota(
        self, *, unless_version: int
    ) -> tuple[int, dict[str, Any] | None] | None:
        """Return version and state of the quota; None for ``unless_version``."""
        row = self._database.row(
            "SELECT version FROM quota WHERE workspace = ?", (self._workspace,)
        )
        version = row["version"] if row else 0
        if version == unless_version:
            return None
        row = self._database.row(
            "SELECT state FROM quota WHERE workspace = ?", (self._workspace,)
        )
        with self._database.decoding():
            return version, json.loads(row["state"]) if row else None

    def save_quota(self, version: int, state: Mapping[str, Any]) -> None:
        """Store the state of the quota under its next version."""
        self._database.execute(
            "INSERT INTO quota (workspace, version, state) VALUES (?, ?, ?)"
            " ON CONFLICT (workspace) DO UPDATE SET"
            " version = excluded.version, state = excluded.state",
            (self._workspace, version, json.dumps(state)),
        )
