"""Stores observations: tasks that a rule would have dismissed and left to people."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from triaged.ledger.counters import Counters
from triaged.ledger.database import (
    Database,
    format_timestamp,
    parse_stored_timestamp,
    utc_day,
)
from triaged.rules.task import HumanDecision

# The name of the counters, with the rule and the reason as labels.
COUNTER: Final = "observed"


class ObservationKind(StrEnum):
    """Why the task was left: the rule (or the run) only observes, or audits it."""

    OBSERVED = "observed"
    AUDITED = "audited"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObservation:
    """A task that a rule would have dismissed, to be stored.

    ``fingerprint`` is that of the rule: what people decide is evidence for the rule as
    it is written now.
    """

    task_id: str
    rule: str
    reason: str
    fingerprint: str
    kind: ObservationKind = ObservationKind.OBSERVED


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTask:
    """A task that a rule would have dismissed.

    ``task`` is its content at the latest decision, if that is still stored;
    ``human_decision`` is None while unknown.
    """

    rule: str
    reason: str
    kind: ObservationKind
    task_id: str
    seen_at: datetime
    task: dict[str, Any] | None
    human_decision: HumanDecision | None


class Observations:
    """The observations of one workspace: each task at most once for each rule."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace
        self._counters = Counters(database, workspace)

    def record(
        self, seen: Sequence[NewObservation], *, at: datetime
    ) -> list[NewObservation]:
        """Record and count observations; return those of pairs not seen before.

        A pair of task and rule seen before takes the present kind and fingerprint, and
        keeps its time. Pass at most some thousand at once: SQLite allows 32,766
        parameters in one statement, PostgreSQL 65,535.
        """
        known = self._known([each.task_id for each in seen])
        changed = {
            (each.task_id, each.rule): each
            for each in seen
            if known.get((each.task_id, each.rule)) != (each.kind, each.fingerprint)
        }
        if not changed:
            return []
        new = [each for pair, each in changed.items() if pair not in known]
        with self._database.transaction(self._workspace):
            self._save(changed.values(), at=at)
            observed = (e for e in new if e.kind is ObservationKind.OBSERVED)
            for (rule, reason), number in Counter(
                (each.rule, each.reason) for each in observed
            ).items():
                self._counters.increment(COUNTER, rule, reason, by=number)
        return new

    def _save(self, seen: Iterable[NewObservation], *, at: datetime) -> None:
        self._database.execute_many(
            "INSERT INTO observation"
            " (workspace, task_id, rule, reason, seen_at, kind, rule_sha256)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (workspace, task_id, rule) DO UPDATE SET"
            " kind = excluded.kind, rule_sha256 = excluded.rule_sha256",
            [
                (
                    self._workspace,
                    each.task_id,
                    each.rule,
                    each.reason,
                    format_timestamp(at),
                    each.kind,
                    each.fingerprint,
                )
                for each in seen
            ],
        )

    def _known(self, task_ids: Sequence[str]) -> dict[tuple[str, str], tuple[str, str]]:
        # PostgreSQL does not take an empty list.
        marks = ", ".join("?" * len(task_ids)) or "NULL"
        rows = self._database.rows(
            "SELECT task_id, rule, kind, rule_sha256"  # noqa: S608 - only placeholders
            " FROM observation"
            f" WHERE workspace = ? AND task_id IN ({marks})",
            (self._workspace, *task_ids),
        )
        return {
            (row["task_id"], row["rule"]): (row["kind"], row["rule_sha256"])
            for row in rows
        }

    def query(self, *, since: datetime | None = None, limit: int) -> list[ObservedTask]:
        """Return the latest observations, newest first."""
        rows = self._database.rows(
            "SELECT o.rule, o.reason, o.kind, o.task_id, o.seen_at, d.task, h.decision,"
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
                    kind=ObservationKind(r["kind"]),
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
            " AND kind = 'observed' AND seen_at >= ? AND seen_at < ? GROUP BY rule",
            (self._workspace, *utc_day(day)),
        )
        return {row["rule"]: row["n"] for row in rows}

    def prune(self, *, before: datetime) -> int:
        """Delete observations older than ``before``; return their number."""
        return self._database.execute(
            "DELETE FROM observation WHERE workspace = ? AND seen_at < ?",
            (self._workspace, format_timestamp(before)),
        )
