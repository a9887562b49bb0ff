"""Durable counters, updated in the same transaction as the event that they count."""

from collections.abc import Mapping

from triaged.ledger.database import Database


class Counters:
    """The counters of one workspace, each with a name and two labels."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def increment(
        self, name: str, label: str, label2: str = "", *, by: int = 1
    ) -> None:
        """Add to a counter."""
        self._database.execute(
            "INSERT INTO counter (workspace, name, label, label2, value)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (workspace, name, label, label2)"
            " DO UPDATE SET value = counter.value + excluded.value",
            (self._workspace, name, label, label2, by),
        )

    def values(self, name: str) -> Mapping[tuple[str, str], int]:
        """Return the values of all counters of one name, keyed by their labels."""
        rows = self._database.rows(
            "SELECT label, label2, value FROM counter WHERE workspace = ? AND name = ?",
            (self._workspace, name),
        )
        return {(row["label"], row["label2"]): row["value"] for row in rows}
