"""Stores the latest decision on each task, up to a maximum number."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from triaged.ledger.database import (
    Database,
    Row,
    format_timestamp,
    parse_stored_timestamp,
)
from triaged.rules.task import Decision, LeaveCause

if TYPE_CHECKING:
    # For type checking only: commands that only read the ledger start faster.
    from triaged.rules.conditions import DuplicateOf
    from triaged.rules.context import EvaluationContext

# Bounds the stored decisions, whatever LeadLex lists: the newest are kept.
MAX_DECISIONS: Final = 20_000
MAX_DECISION_BYTES: Final = 64 * 1024 * 1024

# A decision that equals the stored one in these is not stored again.
_COMPARED: Final = ("cause", "rule", "observed", "rules_sha256", "content_sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """The latest decision on a task that differed from the previous one.

    ``duplicate_flags`` has one entry for each duplicate condition of the rules, in
    order: whether the task was a copy. Nothing else of the other tasks affects a
    decision.
    """

    task_id: str
    decided_at: datetime
    cause: LeaveCause | None
    rule: str | None
    reason: str | None
    observed: tuple[str, ...]
    duplicate_flags: tuple[bool | None, ...]
    rules_sha256: str
    task: dict[str, Any]


class DecisionStore:
    """The decisions of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def save(
        self,
        decisions: Sequence[Decision],
        *,
        rules_sha256: str,
        context: "EvaluationContext",
        duplicates: "Sequence[DuplicateOf]",
        at: datetime,
    ) -> int:
        """Store the decisions that are not stored yet; return their number.

        Reads only the records of these tasks.  At most 32,000 decisions at a time.

        """
        known = self._known([d.task.id for d in decisions if d.task.id is not None])
        rows = []
        for decision in decisions:
            task_id = decision.task.id
            if task_id is None:
                continue
            content = decision.task.content_hash()
            observed = json.dumps([dismissal.rule for dismissal in decision.observed])
            key = (decision.cause, decision.rule, observed, rules_sha256, content)
            if known.get(task_id) == key:
                continue
            flags = [context.is_duplicate[dup].get(task_id) for dup in duplicates]
            task = json.dumps(dict(decision.task.raw), ensure_ascii=False)
            rows.append(
                (
                    self._workspace,
                    task_id,
                    format_timestamp(at),
                    decision.cause,
                    decision.rule,
                    decision.reason,
                    observed,
                    rules_sha256,
                    task,
                    len(task),
                    content,
                    json.dumps(flags),
                )
            )
        self._database.execute_many(
            "INSERT INTO decision (workspace, task_id, decided_at, cause, rule, reason,"
            " observed, rules_sha256, task, bytes, content_sha256, duplicate_flags)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (workspace, task_id) DO UPDATE SET"
            " decided_at = excluded.decided_at, cause = excluded.cause,"
            " rule = excluded.rule, reason = excluded.reason,"
            " observed = excluded.observed, rules_sha256 = excluded.rules_sha256,"
            " task = excluded.task, bytes = excluded.bytes,"
            " content_sha256 = excluded.content_sha256,"
            " duplicate_flags = excluded.duplicate_flags",
            rows,
        )
        return len(rows)

    def _known(self, task_ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        # PostgreSQL does not take an empty list.
        marks = ", ".join("?" * len(task_ids)) or "NULL"
        rows = self._database.rows(
            "SELECT task_id, cause, rule, observed, rules_sha256, content_sha256"  # noqa: S608 - only marks
            f" FROM decision WHERE workspace = ? AND task_id IN ({marks})",
            (self._workspace, *task_ids),
        )
        return {
            row["task_id"]: tuple(row[column] for column in _COMPARED) for row in rows
        }

    def trim(self) -> int:
        """Delete the oldest decisions beyond the maximum; return their number."""
        return self._database.execute(
            "DELETE FROM decision WHERE workspace = ? AND task_id IN ("
            " SELECT task_id FROM (SELECT task_id, ROW_NUMBER() OVER newest AS n,"
            " SUM(bytes) OVER newest AS total FROM decision WHERE workspace = ?"
            " WINDOW newest AS (ORDER BY decided_at DESC, task_id)) AS ranked"
            " WHERE n > ? OR total > ?)",
            (self._workspace, self._workspace, MAX_DECISIONS, MAX_DECISION_BYTES),
        )

    def latest(self, task_id: str) -> DecisionRecord | None:
        """Return the latest decision on a task, or None."""
        row = self._database.row(
            "SELECT * FROM decision WHERE workspace = ? AND task_id = ?",
            (self._workspace, task_id),
        )
        with self._database.decoding():
            return None if row is None else _record(row)

    def times(self) -> dict[str, datetime]:
        """Return when the last decision on each task was made."""
        rows = self._database.rows(
            "SELECT task_id, decided_at FROM decision WHERE workspace = ?",
            (self._workspace,),
        )
        with self._database.decoding():
            return {
                row["task_id"]: parse_stored_timestamp(row["decided_at"])
                for row in rows
            }

    def latest_left(self, limit: int) -> list[DecisionRecord]:
        """Return the latest decisions to leave a task, newest first."""
        rows = self._database.rows(
            "SELECT * FROM decision WHERE workspace = ? AND cause IS NOT NULL"
            " ORDER BY decided_at DESC, task_id LIMIT ?",
            (self._workspace, limit),
        )
        with self._database.decoding():
            return [_record(row) for row in rows]

    def count_wanted(self) -> dict[LeaveCause, int]:
        """Count the tasks that a rule would dismiss, by the cause that prevents it.

        A stored decision with a reason code is one that a rule wanted to dismiss.
        """
        rows = self._database.rows(
            "SELECT cause, COUNT(*) AS n FROM decision WHERE workspace = ?"
            " AND cause IS NOT NULL AND reason IS NOT NULL GROUP BY cause",
            (self._workspace,),
        )
        with self._database.decoding():
            return {LeaveCause(row["cause"]): row["n"] for row in rows}

    def prune(self, *, before: datetime) -> int:
        """Delete decisions older than ``before``; return their number."""
        return self._database.execute(
            "DELETE FROM decision WHERE workspace = ? AND decided_at < ?",
            (self._workspace, format_timestamp(before)),
        )


def _record(row: Row) -> DecisionRecord:
    return DecisionRecord(
        task_id=row["task_id"],
        decided_at=parse_stored_timestamp(row["decided_at"]),
        cause=LeaveCause(row["cause"]) if row["cause"] else None,
        rule=row["rule"],
        reason=row["reason"],
        observed=tuple(json.loads(row["observed"])),
        duplicate_flags=tuple(json.loads(row["duplicate_flags"])),
        rules_sha256=row["rules_sha256"],
        task=json.loads(row["task"]),
    )


def description_in(task: str | None) -> str:
    """Return the description in a stored task; what is no text is shown as JSON."""
    value = json.loads(task).get("description") if task else None
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
