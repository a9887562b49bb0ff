"""Flags of a workspace: durable states that stay set until they are cleared."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from triaged.ledger.database import Database, format_timestamp, parse_stored_timestamp

# The workspace of a flag that is set for all; no workspace can have this name.
WHOLE_FLEET: Final = ""


class FlagName(StrEnum):
    """The known flags."""

    PAUSED = "paused"
    BREAKER = "breaker"
    FEEDBACK_REFRESHED = "feedback_refreshed"


@dataclass(frozen=True, slots=True)
class Flag:
    """When a flag was set, why, and by whom (empty: by the program).

    ``is_of_fleet``: it is set for all workspaces.
    """

    since: datetime
    reason: str
    set_by: str = ""
    is_of_fleet: bool = False


class Flags:
    """The flags of one workspace, or with ``WHOLE_FLEET`` those set for all."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def get(self, name: FlagName) -> Flag | None:
        """Return a flag, or None if it is set neither here nor for all workspaces."""
        row = self._database.row(
            "SELECT workspace, since, reason, set_by FROM flag"
            " WHERE workspace IN (?, ?) AND name = ? ORDER BY workspace DESC LIMIT 1",
            (self._workspace, WHOLE_FLEET, name),
        )
        if row is None:
            return None
        with self._database.decoding():
            since = parse_stored_timestamp(row["since"])
        is_of_fleet = row["workspace"] == WHOLE_FLEET
        return Flag(since, row["reason"], row["set_by"], is_of_fleet)

    def set(
        self, name: FlagName, *, reason: str = "", by: str = "", at: datetime
    ) -> bool:
        """Set a flag for this workspace; return whether it was not set before.

        A flag that is already set keeps its time; reason and author are replaced.
        """
        with self._database.transaction(self._workspace):
            is_new = not self._is_set(name)
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
        """Clear a flag of this workspace; return whether it was set."""
        if not self._is_set(name):
            return False
        deleted = self._database.execute(
            "DELETE FROM flag WHERE workspace = ? AND name = ?", (self._workspace, name)
        )
        return deleted > 0

    def _is_set(self, name: FlagName) -> bool:
        """Return whether a flag is set for this workspace itself."""
        row = self._database.row(
            "SELECT 1 FROM flag WHERE workspace = ? AND name = ?",
            (self._workspace, name),
        )
        return row is not None
