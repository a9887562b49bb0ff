"""Stores observations: tasks that an observing rule would have dismissed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from triaged.ledger.database import (
    Database,
    format_timestamp,
    parse_stored_timestamp,
    utc_day,
)
from triaged.rules.task import HumanDecision, ProposedDismissal, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTask:
    """A task that a rule would have dismissed.

    ``task`` is its content at the latest decision, if that is still stored;
    ``human_decision`` is None while unknown.
    """

    rule: str
    reason: str
    task_id: str
    seen_at: datetime
    task: dict[str, Any] | None
    human_decision: HumanDecision | None


class Observations:
    """The observations of one workspace: each task at most once for each rule."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def record(
        self, seen: Sequence[tuple[Task, ProposedDismissal]], *, at: datetime
    ) -> list[ProposedDismissal]:
        """Record proposed dismissals; return the new ones.

        Pass at most some thousand at once: SQLite allows 32,766 parameters in one
        statement, PostgreSQL 65,535.
        """
        known = self._known([task.id or "" for task, _ in seen])
        fresh = {
            (task.id or "", dismissal.rule): dismissal
            for task, dismissal in seen
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
        return list(fresh.values())

    def _known(self, task_ids: Sequence[str]) -> set[tuple[str, str]]:
        # PostgreSQL does not take an empty list.
        marks = ", ".join("?" * len(task_ids)) or "NULL"
        rows = self._database.rows(
            "SELECT task_id, rule FROM observation"  # noqa: S608 - only placeholders
            f" WHERE workspace = ? AND task_id IN ({marks})",
            (self._workspace, *task_ids),
        )
        return {(row["task_id"], row["rule"]) for row in rows}

    def query(self, *, since: datetime | None = None, limit: int) -> list[ObservedTask]:
        """Return the latest observations, newest first."""
        rows = self._database.rows(
            "SELECT o.rule, o.reason, o.task_id, o.seen_at, d.task, h.decision,"
            " h.recorded_at FROM observation o"
            " LEFT JOIN decision d ON d.workspace = o.workspace"
            " AND d.task_id = o.task_id"
            " LEFT JOIN human_decision h ON h.workspace = o.workspace"
            " AND h.task_id = o.task_id"
            " WHERE o.workspace = ? AND o.seen_at >= ?"
            " ORDER BY o.seen_at DESC, o.task_id, o.rule LIMIT ?",
            (
                self._workspace,
                "" if since is None else format_timestamp(since),
                limit,
            ),
        )
        with self._database.decoding():
            return [
                ObservedTask(
                    rule=r["rule"],
                    reason=r["reason"],
                    task_id=r["task_id"],
                    seen_at=parse_stored_timestamp(r["seen_at"]),
                    task=json.loads(r["task"]) if r["task"] else None,
                    human_decision=HumanDecision(r["decision"])
                    if r["decision"]
                    else None,
                )
                for r in rows
            ]

    def count_on(self, day: datetime) -> dict[str, int]:
        """Count, by rule, the tasks first observed on a UTC day."""
        rows = self._database.rows(
            "SELECT rule, COUNT(*) AS n FROM observation WHERE workspace = ?"
            " AND seen_at >= ? AND seen_at < ? GROUP BY rule",
            (self._workspace, *utc_day(day)),
        )
        return {row["rule"]: row["n"] for row in rows}

    def prune(self, *, before: datetime) -> int:
        """Delete observations older than ``before``; return their number."""
        return self._database.execute(
            "DELETE FROM observation WHERE workspace = ? AND seen_at < ?",
            (self._workspace, format_timestamp(before)),
        )
