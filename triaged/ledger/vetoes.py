"""Stores vetoes: tasks that a person has excluded from dismissal."""

from dataclasses import dataclass
from datetime import datetime

from triaged.ledger.database import (
    Database,
    Row,
    format_timestamp,
    parse_stored_timestamp,
)


@dataclass(frozen=True, slots=True)
class Veto:
    """A task that must not be dismissed, with the time and the author of the veto."""

    task_id: str
    since: datetime
    set_by: str


class Vetoes:
    """The vetoes of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def add(self, task_id: str, *, at: datetime, by: str = "") -> bool:
        """Veto a task; return False if it was already vetoed."""
        # The transaction verifies that the open file is the one that other processes
        # use.
        with self._database.transaction(self._workspace):
            return bool(
                self._database.execute(
                    "INSERT INTO veto (workspace, task_id, since, set_by)"
                    " VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (self._workspace, task_id, format_timestamp(at), by),
                )
            )

    def remove(self, task_id: str) -> bool:
        """Remove a veto; return whether there was one."""
        with self._database.transaction(self._workspace):
            return bool(
                self._database.execute(
                    "DELETE FROM veto WHERE workspace = ? AND task_id = ?",
                    (self._workspace, task_id),
                )
            )

    def is_vetoed(self, task_id: str) -> bool:
        """Return whether this task is vetoed."""
        row = self._database.row(
            "SELECT 1 FROM veto WHERE workspace = ? AND task_id = ?",
            (self._workspace, task_id),
        )
        return row is not None

    def get(self, task_id: str) -> Veto | None:
        """Return the veto of a task, or None."""
        row = self._database.row(
            "SELECT task_id, since, set_by FROM veto"
            " WHERE workspace = ? AND task_id = ?",
            (self._workspace, task_id),
        )
        return None if row is None else self._veto(row)

    def count(self) -> int:
        """Return the number of vetoes."""
        row = self._database.row(
            "SELECT COUNT(*) AS n FROM veto WHERE workspace = ?", (self._workspace,)
        )
        return int(row["n"]) if row else 0

    def latest(self, limit: int) -> list[Veto]:
        """Return the latest vetoes, newest first."""
        rows = self._database.rows(
            "SELECT task_id, since, set_by FROM veto WHERE workspace = ?"
            " ORDER BY since DESC, task_id LIMIT ?",
            (self._workspace, limit),
        )
        return [self._veto(row) for row in rows]

    def task_ids(self) -> frozenset[str]:
        """Return the ids of all vetoed tasks."""
        rows = self._database.rows(
            "SELECT task_id FROM veto WHERE workspace = ?", (self._workspace,)
        )
        return frozenset(row["task_id"] for row in rows)

    def all(self) -> list[Veto]:
        """Return every veto, oldest first."""
        rows = self._database.rows(
            "SELECT task_id, since, set_by FROM veto WHERE workspace = ?"
            " ORDER BY since, task_id",
            (self._workspace,),
        )
        return [self._veto(row) for row in rows]

    def _veto(self, row: Row) -> Veto:
        with self._database.decoding():
            since = parse_stored_timestamp(row["since"])
        return Veto(row["task_id"], since, row["set_by"])
