"""Intents and outcomes: every dismissal that was attempted, and its outcome."""

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from triaged.ledger.database import (
    Database,
    Row,
    format_timestamp,
    parse_stored_timestamp,
    utc_day,
)
from triaged.rules.task import Task


class Outcome(StrEnum):
    """The outcome of a dismissal; a closed set, used as a metric label."""

    CONFIRMED = "confirmed"
    ALREADY_HANDLED = "already_handled"
    GONE = "gone"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    FAILED = "failed"


class Source(StrEnum):
    """Which part of the program a dismissal came from."""

    DAEMON = "daemon"
    APPLY = "apply"
    REVIEW = "review"
    HAND = "hand"


# Counts towards a daily cap: it was, or may have been, carried out.
_SPENT: Final = "(outcome IS NULL OR outcome IN ('unknown', 'confirmed'))"

_UNRESOLVED: Final = "(outcome IS NULL OR outcome = 'unknown')"

# SQLite allows 32,766 parameters in one statement, PostgreSQL 65,535.
_CHUNK: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A dismissal that is about to be requested, with its explanation."""

    task: Task
    rule: str | None
    reason: str
    source: Source
    cycle: str
    decided_at: datetime
    rules_sha256: str
    trace: str

    @property
    def task_id(self) -> str:
        """Return the task id; intents exist only for tasks with an id."""
        if self.task.id is None:
            raise ValueError("a task without id cannot be dismissed")
        return self.task.id


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissalRecord:
    """One dismissal as recorded.

    ``recheck`` is set if a list shows that it failed but it may still turn out to have
    taken effect.
    """

    id: str
    task_id: str
    rule: str | None
    reason: str
    source: Source
    cycle: str
    decided_at: datetime
    outcome: Outcome | None
    resolved_at: datetime | None
    request_id: str | None
    detail: str | None
    rules_sha256: str
    content_sha256: str
    task: dict[str, Any]
    trace: Any
    recheck: bool = False


@dataclass(frozen=True, slots=True)
class FinalOutcome:
    """An outcome after which a task is not retried, with content hash and time."""

    outcome: Outcome
    content_sha256: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissalFilter:
    """A filter for dismissals; a field that is None does not restrict the result.

    ``last`` limits the result to the latest N, newest first.
    """

    since: datetime | None = None
    task_id: str | None = None
    rule: str | None = None
    reason: str | None = None
    outcome: Outcome | None = None
    last: int | None = None


class Dismissals:
    """The dismissals of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def record_intent(self, intent: Intent) -> str:
        """Record an intent before its request is sent; return its id."""
        entry_id = os.urandom(16).hex()
        self._database.execute(
            "INSERT INTO dismissal (id, workspace, task_id, rule, reason, source,"
            " cycle, decided_at, rules_sha256, content_sha256, task, trace)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry_id,
                self._workspace,
                intent.task_id,
                intent.rule,
                intent.reason,
                intent.source,
                intent.cycle,
                format_timestamp(intent.decided_at),
                intent.rules_sha256,
                intent.task.content_hash(),
                json.dumps(dict(intent.task.raw), ensure_ascii=False),
                zlib.compress(intent.trace.encode()),
            ),
        )
        return entry_id

    def record_outcome(
        self,
        entry_id: str,
        outcome: Outcome,
        *,
        at: datetime,
        request_id: str | None = None,
        detail: str | None = None,
        recheck: bool = False,
    ) -> None:
        """Record the outcome of a dismissal; a final one is never changed.

        An unknown outcome may be resolved later. So may a failed one with ``recheck``:
        its request was sent, but a list still showed the task as pending. A check that
        finds the same outcome again does not move the time at which it was known.
        """
        self._database.execute(
            "UPDATE dismissal SET outcome = ?,"
            " resolved_at = CASE WHEN outcome = ? THEN resolved_at ELSE ? END,"
            " request_id = COALESCE(?, request_id), detail = COALESCE(?, detail),"
            " recheck = ? WHERE workspace = ? AND id = ?"
            " AND (outcome IS NULL OR outcome = 'unknown' OR recheck = 1)",
            (
                outcome,
                outcome,
                format_timestamp(at),
                request_id,
                detail,
                int(recheck),
                self._workspace,
                entry_id,
            ),
        )

    def unresolved(self) -> list[DismissalRecord]:
        """Return the dismissals with an unknown outcome, oldest first."""
        return self._entries(f"{_UNRESOLVED} ORDER BY decided_at, id", ())

    def count_unresolved(self) -> int:
        """Count the dismissals with an unknown outcome."""
        row = self._database.row(
            "SELECT COUNT(*) AS n FROM dismissal"  # noqa: S608
            f" WHERE workspace = ? AND {_UNRESOLVED}",
            (self._workspace,),
        )
        return int(row["n"]) if row else 0

    def unresolved_task_ids(self) -> frozenset[str]:
        """Return the ids of tasks with an unresolved dismissal."""
        rows = self._database.rows(
            f"SELECT task_id FROM dismissal WHERE workspace = ? AND {_UNRESOLVED}",  # noqa: S608
            (self._workspace,),
        )
        return frozenset(row["task_id"] for row in rows)

    def is_unresolved(self, task_id: str) -> bool:
        """Return whether this task has an unresolved dismissal."""
        row = self._database.row(
            "SELECT 1 FROM dismissal WHERE workspace = ? AND task_id = ?"  # noqa: S608
            f" AND {_UNRESOLVED}",
            (self._workspace, task_id),
        )
        return row is not None

    def to_recheck(self) -> list[DismissalRecord]:
        """Return the failed dismissals that may still turn out to have taken effect."""
        return self._entries("recheck = 1 ORDER BY decided_at, id", ())

    def final_outcomes(self, task_ids: Sequence[str]) -> dict[str, list[FinalOutcome]]:
        """Return, by task id, the outcomes after which a task is not retried.

        Failed dismissals are left out, since they had no effect.
        """
        found: dict[str, list[FinalOutcome]] = {}
        for start in range(0, len(task_ids), _CHUNK):
            chunk = task_ids[start : start + _CHUNK]
            flags = ", ".join("?" * len(chunk))
            for row in self._database.rows(
                "SELECT task_id, outcome, content_sha256, resolved_at FROM dismissal"  # noqa: S608
                f" WHERE workspace = ? AND task_id IN ({flags}) AND outcome IN"
                " ('confirmed', 'already_handled', 'gone', 'rejected')",
                (self._workspace, *chunk),
            ):
                closed = FinalOutcome(
                    Outcome(row["outcome"]),
                    row["content_sha256"],
                    parse_stored_timestamp(row["resolved_at"]),
                )
                found.setdefault(row["task_id"], []).append(closed)
        return found

    def confirmed(self, task_ids: Sequence[str]) -> frozenset[str]:
        """Return which of these tasks were dismissed by this program and confirmed."""
        return frozenset(
            task_id
            for task_id, ends in self.final_outcomes(task_ids).items()
            if any(end.outcome is Outcome.CONFIRMED for end in ends)
        )

    def by_rules(self) -> frozenset[str]:
        """Return the tasks that a rule dismissed, or may have."""
        rows = self._database.rows(
            "SELECT DISTINCT task_id FROM dismissal WHERE workspace = ?"  # noqa: S608
            f" AND rule IS NOT NULL AND {_SPENT}",
            (self._workspace,),
        )
        return frozenset(row["task_id"] for row in rows)

    def reasons_by_hand(self) -> dict[str, str]:
        """Return the reasons with which people dismissed tasks, by task."""
        rows = self._database.rows(
            "SELECT task_id, reason FROM dismissal WHERE workspace = ?"
            " AND rule IS NULL AND outcome = 'confirmed'",
            (self._workspace,),
        )
        return {row["task_id"]: row["reason"] for row in rows}

    def count_by_rule(
        self, now: datetime, *, skew: timedelta | None = None
    ) -> dict[str | None, int]:
        """Count by rule what was dismissed, or may have been, on this UTC day.

        With ``skew``, by which the server's clock is ahead, the day is the server's.
        """
        start, end = utc_day(now)
        if skew:
            day, end = utc_day(now + skew)
            midnight = parse_stored_timestamp(f"{day}T00:00:00Z")
            start, end = format_timestamp(midnight - skew), max(end, utc_day(now)[1])
        return {
            row["rule"]: row["n"]
            for row in self._database.rows(
                "SELECT rule, COUNT(*) AS n FROM dismissal WHERE workspace = ?"  # noqa: S608
                f" AND decided_at >= ? AND decided_at < ? AND {_SPENT} GROUP BY rule",
                (self._workspace, start, end),
            )
        }

    def query(self, search: DismissalFilter) -> list[DismissalRecord]:
        """Return the matching dismissals, oldest first unless ``last`` is set."""
        clauses: list[str] = ["1 = 1"]
        values: list[str | int] = []
        if search.since is not None:
            clauses.append("decided_at >= ?")
            values.append(format_timestamp(search.since))
        for column in ("task_id", "rule", "reason", "outcome"):
            wanted = getattr(search, column)
            if wanted is not None:
                clauses.append(f"{column} = ?")
                values.append(str(wanted))
        where = " AND ".join(clauses)
        if search.last is None:
            return self._entries(f"{where} ORDER BY decided_at, id", values)
        values.append(search.last)
        newest = f"{where} ORDER BY decided_at DESC, id DESC LIMIT ?"
        return self._entries(newest, values)

    def prune(self, *, before: datetime) -> int:
        """Delete resolved dismissals older than ``before``; return their number."""
        return self._database.execute(
            "DELETE FROM dismissal WHERE workspace = ? AND decided_at < ?"
            " AND outcome IS NOT NULL AND outcome != 'unknown'",
            (self._workspace, format_timestamp(before)),
        )

    def _entries(
        self, where: str, values: Sequence[str | int]
    ) -> list[DismissalRecord]:
        rows = self._database.rows(
            f"SELECT * FROM dismissal WHERE workspace = ? AND {where}",  # noqa: S608
            (self._workspace, *values),
        )
        with self._database.decoding():
            return [_entry(row) for row in rows]


def _entry(row: Row) -> DismissalRecord:
    return DismissalRecord(
        id=row["id"],
        task_id=row["task_id"],
        rule=row["rule"],
        reason=row["reason"],
        source=Source(row["source"]),
        cycle=row["cycle"],
        decided_at=parse_stored_timestamp(row["decided_at"]),
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        resolved_at=parse_stored_timestamp(row["resolved_at"])
        if row["resolved_at"]
        else None,
        request_id=row["request_id"],
        detail=row["detail"],
        rules_sha256=row["rules_sha256"],
        content_sha256=row["content_sha256"],
        task=json.loads(row["task"]),
        trace=json.loads(zlib.decompress(row["trace"])),
        recheck=bool(row["recheck"]),
    )
