"""What people did with the tasks that a rule would have dismissed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from triaged.ledger.database import Database, format_timestamp, parse_stored_timestamp
from triaged.rules.task import HumanDecision

# A task that so many questions did not find is in none of the lists any more.
MAX_LOOKUPS: Final = 3

# Dismissed by a rule's own doing, or perhaps: that says nothing about people.
_BY_TRIAGED: Final = (
    "EXISTS (SELECT 1 FROM dismissal d WHERE d.workspace = o.workspace"
    " AND d.task_id = o.task_id AND d.rule IS NOT NULL"
    " AND (d.outcome IS NULL OR d.outcome IN ('unknown', 'confirmed')))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A task that a rule would have dismissed, and what became of it.

    ``word`` is None while nobody knows; ``ours`` says that a rule dismissed it later.
    """

    rule: str
    reason: str
    task_id: str
    seen_at: datetime
    human_decision: HumanDecision | None
    dismissed_by_triaged: bool


class FeedbackStore:
    """What people said of the tasks of one workspace by approving or dismissing."""

    def __init__(self, store: Database, workspace: str) -> None:
        self._store = store
        self._workspace = workspace

    def record(self, words: Mapping[str, HumanDecision], *, at: datetime) -> None:
        """Keep what people did; a task is decided on once."""
        self._store.execute_many(
            "INSERT INTO word (workspace, task_id, word, asked, at)"
            " VALUES (?, ?, ?, 1, ?) ON CONFLICT (workspace, task_id) DO UPDATE SET"
            " word = excluded.word, asked = word.asked + 1, at = excluded.at",
            [
                (self._workspace, task_id, word, format_timestamp(at))
                for task_id, word in words.items()
            ],
        )

    def record_not_found(self, task_ids: Collection[str], *, at: datetime) -> None:
        """Remember that a question about these tasks had no answer."""
        self._store.execute_many(
            "INSERT INTO word (workspace, task_id, word, asked, at)"
            " VALUES (?, ?, NULL, 1, ?) ON CONFLICT (workspace, task_id) DO UPDATE SET"
            " asked = word.asked + 1, at = excluded.at",
            [(self._workspace, task_id, format_timestamp(at)) for task_id in task_ids],
        )

    def undecided(self, *, seen_before: datetime) -> frozenset[str]:
        """Return the observed tasks of which it pays to ask what became of them."""
        rows = self._store.rows(
            "SELECT DISTINCT o.task_id FROM observation o WHERE o.workspace = ?"  # noqa: S608
            f" AND o.seen_at <= ? AND NOT {_BY_TRIAGED} AND NOT EXISTS"
            " (SELECT 1 FROM word w WHERE w.workspace = o.workspace"
            " AND w.task_id = o.task_id AND (w.word IS NOT NULL OR w.asked >= ?))",
            (self._workspace, format_timestamp(seen_before), MAX_LOOKUPS),
        )
        return frozenset(row["task_id"] for row in rows)

    def observations(self) -> list[Observation]:
        """Return everything observed, oldest first, with what became of it."""
        rows = self._store.rows(
            "SELECT o.rule, o.reason, o.task_id, o.seen_at, w.word,"  # noqa: S608
            f" {_BY_TRIAGED} AS ours FROM observation o LEFT JOIN word w"
            " ON w.workspace = o.workspace AND w.task_id = o.task_id"
            " WHERE o.workspace = ? ORDER BY o.seen_at, o.task_id, o.rule",
            (self._workspace,),
        )
        return [
            Observation(
                rule=row["rule"],
                reason=row["reason"],
                task_id=row["task_id"],
                seen_at=parse_stored_timestamp(row["seen_at"]),
                human_decision=HumanDecision(row["word"]) if row["word"] else None,
                dismissed_by_triaged=bool(row["ours"]),
            )
            for row in rows
        ]

    def prune(self, *, before: datetime) -> int:
        """Forget what was learned before a moment; return how many."""
        return self._store.execute(
            "DELETE FROM word WHERE workspace = ? AND at < ?",
            (self._workspace, format_timestamp(before)),
        )
