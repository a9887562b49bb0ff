"""Queries for the digest: what happened within a period, by rule, in bounded size."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.ledger.database import Database, format_timestamp
from triaged.ledger.decisions import description_in
from triaged.ledger.feedback import BY_TRIAGED
from triaged.rules.task import HumanDecision

# An unknown outcome is resolved by a later list, usually the next one.
_RESOLVED_WITHIN: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class DismissedTask:
    """A confirmed dismissal; ``rule`` is None if a person dismissed the task."""

    task_id: str
    rule: str | None
    reason: str
    description: str


@dataclass(frozen=True, slots=True)
class Decided:
    """The observed tasks of a rule that people dismissed and approved.

    The first two within the period, the others from the beginning up to its end.
    """

    dismissed: int
    approved: int
    dismissed_ever: int
    approved_ever: int


class Activity:
    """The activity of one workspace between two times: after the first of them."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def count_dismissed(
        self, since: datetime, until: datetime
    ) -> dict[tuple[str | None, str], int]:
        """Count by rule and reason the dismissals confirmed within a period."""
        rows = self._database.rows(
            "SELECT rule, reason, COUNT(*) AS n FROM dismissal"  # noqa: S608
            f" WHERE workspace = ? AND {_CONFIRMED} GROUP BY rule, reason",
            self._period(since, until, since - _RESOLVED_WITHIN),
        )
        return {(row["rule"], row["reason"]): row["n"] for row in rows}

    def dismissed(
        self, since: datetime, until: datetime, *, per_rule: int
    ) -> list[DismissedTask]:
        """Return the latest dismissals of each rule and reason, newest first."""
        rows = self._database.rows(
            "SELECT task_id, rule, reason, task FROM ("  # noqa: S608
            "SELECT id, task_id, rule, reason, task, resolved_at,"
            " ROW_NUMBER() OVER (PARTITION BY rule, reason"
            " ORDER BY resolved_at DESC, id) AS place"
            f" FROM dismissal WHERE workspace = ? AND {_CONFIRMED}) AS ranked"
            " WHERE place <= ? ORDER BY resolved_at DESC, task_id",
            (*self._period(since, until, since - _RESOLVED_WITHIN), per_rule),
        )
        return [
            DismissedTask(
                r["task_id"], r["rule"], r["reason"], description_in(r["task"])
            )
            for r in rows
        ]

    def count_observed(self, since: datetime, until: datetime) -> dict[str, int]:
        """Count by rule the tasks first observed within a period."""
        rows = self._database.rows(
            "SELECT rule, COUNT(*) AS n FROM observation WHERE workspace = ?"
            " AND kind = 'observed' AND seen_at > ? AND seen_at <= ? GROUP BY rule",
            self._period(since, until),
        )
        return {row["rule"]: row["n"] for row in rows}

    def count_decided(self, since: datetime, until: datetime) -> dict[str, Decided]:
        """Count by rule what people decided on observed tasks."""
        rows = self._database.rows(
            "SELECT o.rule, w.decision, w.recorded_at > ? AS is_new, COUNT(*) AS n"  # noqa: S608
            " FROM observation o JOIN human_decision w ON w.workspace = o.workspace"
            " AND w.task_id = o.task_id WHERE o.workspace = ?"
            " AND w.recorded_at <= ? AND w.decision IS NOT NULL"
            f" AND NOT {BY_TRIAGED} GROUP BY o.rule, w.decision, is_new",
            (format_timestamp(since), self._workspace, format_timestamp(until)),
        )
        new: dict[str, Counter[str]] = {}
        ever: dict[str, Counter[str]] = {}
        for row in rows:
            rule, decision = row["rule"], row["decision"]
            ever.setdefault(rule, Counter())[decision] += row["n"]
            new.setdefault(rule, Counter())[decision] += row["n"] * row["is_new"]
        return {
            rule: Decided(*_both(new[rule]), *_both(ever[rule]))
            for rule in sorted(ever)
        }

    def descriptions(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Return the descriptions of tasks, as of the latest decision on each."""
        # PostgreSQL does not take an empty list.
        marks = ", ".join("?" * len(task_ids)) or "NULL"
        rows = self._database.rows(
            "SELECT task_id, task FROM decision"  # noqa: S608
            f" WHERE workspace = ? AND task_id IN ({marks})",
            (self._workspace, *task_ids),
        )
        return {row["task_id"]: description_in(row["task"]) for row in rows}

    def _period(
        self, since: datetime, until: datetime, *more: datetime
    ) -> tuple[str, ...]:
        times = (format_timestamp(moment) for moment in (since, until, *more))
        return (self._workspace, *times)


_CONFIRMED: Final = (
    "resolved_at > ? AND resolved_at <= ? AND decided_at >= ? AND outcome = 'confirmed'"
)


def _both(counted: Counter[str]) -> tuple[int, int]:
    return counted[HumanDecision.DISMISSED], counted[HumanDecision.APPROVED]
