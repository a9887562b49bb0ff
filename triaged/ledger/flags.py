"""Flags of a workspace: durable states that stay set until they are cleared."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from triaged.ledger.database import Database, format_timestamp, parse_stored_timestamp


class FlagName(StrEnum):
    """The known flags."""

    PAUSED = "paused"
    BREAKER = "breaker"
    FEEDBACK_REFRESHED = "feedback_refreshed"


@dataclass(frozen=True, slots=True)
class Flag:
    """When a flag was set, why, and by whom (empty: by the program)."""

    since: datetime
    reason: str
    set_by: str = ""


class Flags:
    """The flags of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def get(self, name: FlagName) -> Flag | None:
        """Return a flag, or None if it is not set."""
        row = self._database.row(
            "SELECT since, reason, set_by FROM flag WHERE workspace = ? AND name = ?",
            (self._workspace, name),
        )
        if row is None:
            return None
        with self._database.decoding():
            since = parse_stored_timestamp(row["since"])
        return Flag(since, row["reason"], row["set_by"])

    def set(
        self, name: FlagName, *, reason: str = "", by: str = "", at: datetime
    ) -> bool:
        """Set a flag; return whether it was not set before.

        A flag that is already set keeps its time; reason and author are replaced.
        """
        with self._database.transaction(self._workspace):
            is_new = self.get(name) is None
            self._database.execute(
                "INSERT INTO flag (workspace, name, since, reason, set_by)"
                " VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (workspace, name) DO UPDATE SET"
                " reason = excluded.reason, set_by = excluded.set_by"
                " WHERE excluded.reason != ''",
                (self._workspace, name, format_timestamp(at), reason, by),
            )
        return is_new

    def clear(self, name: FlagName) -> bool:
        """Clear a flag; return whether it was set."""
        with self._database.transaction(self._workspace):
            return bool(
                self._database.execute(
                    "DELETE FROM flag WHERE workspace = ? AND name = ?",
                    (self._workspace, name),
                )
            )
