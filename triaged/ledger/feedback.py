"""Stores what people did with the tasks that a rule would have dismissed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from triaged.ledger.database import Database, format_timestamp, parse_stored_timestamp
from triaged.ledger.observations import ObservationKind
from triaged.rules.task import HumanDecision

# After this many lookups without a result, a task is no longer in any list.
MAX_LOOKUPS: Final = 3

# Dismissed, or possibly dismissed, by a rule: not feedback from people.
BY_TRIAGED: Final = (
    "EXISTS (SELECT 1 FROM dismissal d WHERE d.workspace = o.workspace"
    " AND d.task_id = o.task_id AND d.rule IS NOT NULL"
    " AND (d.outcome IS NULL OR d.outcome IN ('unknown', 'confirmed')))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A task that a rule would have dismissed, and what happened to it.

    ``human_decision`` is None while unknown; ``dismissed_by_triaged`` is set if a rule
    dismissed the task later.
    """

    rule: str
    reason: str
    kind: ObservationKind
    task_id: str
    seen_at: datetime
    human_decision: HumanDecision | None
    dismissed_by_triaged: bool


class FeedbackStore:
    """The human decisions on the tasks of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def record(self, words: Mapping[str, HumanDecision], *, at: datetime) -> None:
        """Record human decisions; the first one for a task is kept."""
        self._database.execute_many(
            "INSERT INTO human_decision"
            " (workspace, task_id, decision, lookups, recorded_at)"
            " VALUES (?, ?, ?, 1, ?) ON CONFLICT (workspace, task_id) DO UPDATE SET"
            " decision = excluded.decision,"
            " lookups = human_decision.lookups + 1,"
            " recorded_at = excluded.recorded_at",
            [
                (self._workspace, task_id, word, format_timestamp(at))
                for task_id, word in words.items()
            ],
        )

    def record_not_found(self, task_ids: Collection[str], *, at: datetime) -> None:
        """Record that a lookup did not find these tasks."""
        self._database.execute_many(
            "INSERT INTO human_decision"
            " (workspace, task_id, decision, lookups, recorded_at)"
            " VALUES (?, ?, NULL, 1, ?) ON CONFLICT (workspace, task_id) DO UPDATE SET"
            " lookups = human_decision.lookups + 1,"
            " recorded_at = excluded.recorded_at",
            [(self._workspace, task_id, format_timestamp(at)) for task_id in task_ids],
        )

    def undecided(self, *, seen_before: datetime) -> frozenset[str]:
        """Return the ids of observed tasks whose human decision must be looked up."""
        rows = self._database.rows(
            "SELECT DISTINCT o.task_id FROM observation o WHERE o.workspace = ?"  # noqa: S608
            f" AND o.seen_at <= ? AND NOT {BY_TRIAGED} AND NOT EXISTS"
            " (SELECT 1 FROM human_decision w WHERE w.workspace = o.workspace"
            " AND w.task_id = o.task_id"
            " AND (w.decision IS NOT NULL OR w.lookups >= ?))",
            (self._workspace, format_timestamp(seen_before), MAX_LOOKUPS),
        )
        return frozenset(row["task_id"] for row in rows)

    def observations(self) -> list[Observation]:
        """Return all observations, oldest first, with what happened to each task."""
        rows = self._database.rows(
            "SELECT o.rule, o.reason, o.kind, o.task_id, o.seen_at, w.decision,"  # noqa: S608
            f" {BY_TRIAGED} AS ours FROM observation o LEFT JOIN human_decision w"
            " ON w.workspace = o.workspace AND w.task_id = o.task_id"
            " WHERE o.workspace = ? ORDER BY o.seen_at, o.task_id, o.rule",
            (self._workspace,),
        )
        return [
            Observation(
                rule=row["rule"],
                reason=row["reason"],
                kind=ObservationKind(row["kind"]),
                task_id=row["task_id"],
                seen_at=parse_stored_timestamp(row["seen_at"]),
                human_decision=HumanDecision(row["decision"])
                if row["decision"]
                else None,
                dismissed_by_triaged=bool(row["ours"]),
            )
            for row in rows
        ]

    def evidence(
        self, rule: str, fingerprint: str, *, since: datetime, after: datetime | None
    ) -> tuple[int, int]:
        """Count what people dismissed and approved of the tasks of a rule.

        Only decisions recorded at ``since`` or later count, on tasks first seen after
        ``after`` (None: on any).
        """
        rows = self._database.rows(
            "SELECT w.decision, COUNT(*) AS n FROM observation o"  # noqa: S608
            " JOIN human_decision w ON w.workspace = o.workspace"
            " AND w.task_id = o.task_id"
            " WHERE o.workspace = ? AND o.rule = ? AND o.rule_sha256 = ?"
            " AND o.seen_at > ? AND w.recorded_at >= ?"
            f" AND w.decision IS NOT NULL AND NOT {BY_TRIAGED} GROUP BY w.decision",
            (
                self._workspace,
                rule,
                fingerprint,
                "" if after is None else format_timestamp(after),
                format_timestamp(since),
            ),
        )
        counted = {row["decision"]: row["n"] for row in rows}
        return (
            counted.get(HumanDecision.DISMISSED, 0),
            counted.get(HumanDecision.APPROVED, 0),
        )

    def approved_audits(
        self, task_ids: Collection[str]
    ) -> list[tuple[str, str, str, datetime]]:
        """Return the audited tasks among these that people approved.

        Each as task id, rule, fingerprint of the rule, and when it was first seen.
        """
        rows = self._database.rows(
            "SELECT o.task_id, o.rule, o.rule_sha256, o.seen_at FROM observation o"  # noqa: S608
            " JOIN human_decision w ON w.workspace = o.workspace"
            " AND w.task_id = o.task_id WHERE o.workspace = ? AND o.kind = 'audited'"
            f" AND w.decision = 'approved' AND NOT {BY_TRIAGED}"
            " ORDER BY o.seen_at, o.task_id",
            (self._workspace,),
        )
        return [
            (
                row["task_id"],
                row["rule"],
                row["rule_sha256"],
                parse_stored_timestamp(row["seen_at"]),
            )
            for row in rows
            if row["task_id"] in task_ids
        ]

    def add_false_positives(self, found: Iterable[tuple[str, str]]) -> None:
        """Store (rule, task id) pairs of tasks that a person approved."""
        self._database.execute_many(
            "INSERT INTO false_positive (workspace, rule, task_id) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [(self._workspace, rule, task_id) for rule, task_id in found],
        )

    def false_positives(self) -> frozenset[tuple[str, str]]:
        """Return all false positives as (rule, task id) pairs."""
        rows = self._database.rows(
            "SELECT rule, task_id FROM false_positive WHERE workspace = ?",
            (self._workspace,),
        )
        return frozenset((row["rule"], row["task_id"]) for row in rows)

    def count_false_positives(self) -> dict[str, int]:
        """Count the false positives by rule."""
        rows = self._database.rows(
            "SELECT rule, COUNT(*) AS n FROM false_positive WHERE workspace = ?"
            " GROUP BY rule",
            (self._workspace,),
        )
        return {row["rule"]: row["n"] for row in rows}

    def prune(self, *, before: datetime) -> int:
        """Delete feedback recorded before ``before``; return the number of rows."""
        return self._database.execute(
            "DELETE FROM human_decision WHERE workspace = ? AND recorded_at < ?",
            (self._workspace, format_timestamp(before)),
        )
