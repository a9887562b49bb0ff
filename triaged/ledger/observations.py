"""Observations: what a rule would have dismissed if it had been allowed to."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from triaged.ledger.database import Database, format_timestamp
from triaged.rules.task import ProposedDismissal, Task

# SQLite takes 32,766 values in one statement, PostgreSQL 65,535.
_CHUNK = 5_000


class Observations:
    """The observations of one workspace; each task once for each rule."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def record(
        self, seen: Sequence[tuple[Task, ProposedDismissal]], *, at: datetime
    ) -> list[ProposedDismissal]:
        """Keep what would have been dismissed; return those not known before."""
        new: list[ProposedDismissal] = []
        for start in range(0, len(seen), _CHUNK):
            chunk = seen[start : start + _CHUNK]
            known = self._known([task.id or "" for task, _ in chunk])
            fresh = {
                (task.id or "", dismissal.rule): dismissal
                for task, dismissal in chunk
                if task.id is not None and (task.id, dismissal.rule) not in known
            }
            self._database.execute_many(
                "INSERT INTO observation (workspace, task_id, rule, reason, seen_at)"
                " VALUES (?, ?, ?, ?, ?)",
                [
                    (self._workspace, task_id, rule, d.reason, format_timestamp(at))
                    for (task_id, rule), d in fresh.items()
                ],
            )
            new += fresh.values()
        return new

    def _known(self, task_ids: Sequence[str]) -> set[tuple[str, str]]:
        marks = ", ".join("?" * len(task_ids))
        rows = self._database.rows(
            "SELECT task_id, rule FROM observation"  # noqa: S608 - only marks
            f" WHERE workspace = ? AND task_id IN ({marks})",
            (self._workspace, *task_ids),
        )
        return {(row["task_id"], row["rule"]) for row in rows}

    def count_on(self, day: datetime) -> dict[str, int]:
        """Count by rule what would have been dismissed, seen first on a UTC day."""
        start = day.replace(hour=0, minute=0, second=0, microsecond=0)
        rows = self._database.rows(
            "SELECT rule, COUNT(*) AS n FROM observation WHERE workspace = ?"
            " AND seen_at >= ? AND seen_at < ? GROUP BY rule",
            (
                self._workspace,
                format_timestamp(start),
                format_timestamp(start + timedelta(days=1)),
            ),
        )
        return {row["rule"]: row["n"] for row in rows}

    def prune(self, *, before: datetime) -> int:
        """Delete observations older than a moment; return how many."""
        return self._database.execute(
            "DELETE FROM observation WHERE workspace = ? AND seen_at < ?",
            (self._workspace, format_timestamp(before)),
        )
