"""Stores holds: since when a rule with a hold has matched a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from triaged.ledger.database import Database, format_timestamp, parse_stored_timestamp


@dataclass(frozen=True, slots=True)
class Hold:
    """A task that a rule with a hold matches; it ends when the task or rule changes."""

    task_id: str
    rule: str
    fingerprint: str


class Holds:
    """The running holds of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def all(self) -> dict[Hold, datetime]:
        """Return the start time of each hold."""
        rows = self._database.rows(
            "SELECT task_id, rule, fingerprint, since FROM hold WHERE workspace = ?",
            (self._workspace,),
        )
        with self._database.decoding():
            return {
                Hold(r["task_id"], r["rule"], r["fingerprint"]): parse_stored_timestamp(
                    r["since"]
                )
                for r in rows
            }

    def replace(self, holds: Mapping[Hold, datetime]) -> None:
        """Store exactly these holds; all others have ended and are deleted."""
        known = self.all()
        ended = known.keys() - holds.keys()
        begun = holds.keys() - known.keys()
        if not ended and not begun:
            return
        with self._database.transaction(self._workspace):
            self._database.execute_many(
                "DELETE FROM hold WHERE workspace = ? AND task_id = ? AND rule = ?",
                [(self._workspace, hold.task_id, hold.rule) for hold in ended],
            )
            self._database.execute_many(
                "INSERT INTO hold (workspace, task_id, rule, fingerprint, since)"
                " VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        self._workspace,
                        hold.task_id,
                        hold.rule,
                        hold.fingerprint,
                        format_timestamp(holds[hold]),
                    )
                    for hold in begun
                ],
            )
