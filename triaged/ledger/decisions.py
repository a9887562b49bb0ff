"""What was judged: the last decision on each task, holds, observations, rulesets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from sqlite3 import Row
from typing import Any, Final

from triaged.ledger.database import Database, format_timestamp, parse_stored_timestamp
from triaged.rules.conditions import DuplicateOf
from triaged.rules.context import EvaluationContext
from triaged.rules.task import Decision, LeaveCause, ProposedDismissal, Task

# As text beside the tasks themselves, all rows at once would double a long list.
_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """The last decision on a task that differed from the one before.

    ``copies`` says for each duplicate condition of the rules, in their order, whether
    the task was a copy: all that its decision took from the other tasks.
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


@dataclass(frozen=True, slots=True)
class Hold:
    """A task that a rule with a hold wants, as long as both stay what they are."""

    task_id: str
    rule: str
    fingerprint: str


class DecisionStore:
    """The judgements of one workspace."""

    def __init__(self, store: Database, workspace: str) -> None:
        self._store = store
        self._workspace = workspace

    def save_ruleset(self, sha256: str, text: str, *, at: datetime) -> None:
        """Keep the text of a rules file, so that old decisions can be explained."""
        self._store.execute(
            "INSERT INTO ruleset (sha256, first_used_at, text) VALUES (?, ?, ?)"
            " ON CONFLICT (sha256) DO NOTHING",
            (sha256, format_timestamp(at), text),
        )

    def ruleset_source(self, sha256: str) -> str | None:
        """Return a rules file's text by its hash."""
        row = self._store.row("SELECT text FROM ruleset WHERE sha256 = ?", (sha256,))
        return row["text"] if row else None

    def save(
        self,
        decisions: Iterable[Decision],
        *,
        rules_sha256: str,
        context: EvaluationContext,
        duplicates: Sequence[DuplicateOf],
        at: datetime,
    ) -> int:
        """Keep each decision that is not the one already kept; return how many."""
        known = {
            row["task_id"]: tuple(row)[1:]
            for row in self._store.rows(
                "SELECT task_id, cause, rule, observed, rules_sha256, content_sha256"
                " FROM decision WHERE workspace = ?",
                (self._workspace,),
            )
        }
        kept, rows = 0, []
        for decision in decisions:
            task_id, content = decision.task.id, decision.task.content_hash()
            if task_id is None:
                continue
            observed = _observed(decision)
            key = (decision.cause, decision.rule, observed, rules_sha256, content)
            if known.get(task_id) != key:
                copies = [context.is_duplicate[dup].get(task_id) for dup in duplicates]
                row = self._row(decision, rules_sha256, at)
                rows.append((*row, content, json.dumps(copies)))
            if len(rows) == _BATCH:
                kept += self._upsert(rows)
                rows.clear()
        return kept + self._upsert(rows)

    def _upsert(self, rows: Sequence[Sequence[Any]]) -> int:
        self._store.execute_many(
            "INSERT INTO decision (workspace, task_id, decided_at, cause, rule, reason,"
            " observed, rules_sha256, task, content_sha256, copies)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (workspace, task_id) DO UPDATE SET"
            " decided_at = excluded.decided_at, cause = excluded.cause,"
            " rule = excluded.rule, reason = excluded.reason,"
            " observed = excluded.observed, rules_sha256 = excluded.rules_sha256,"
            " task = excluded.task, content_sha256 = excluded.content_sha256,"
            " copies = excluded.copies",
            rows,
        )
        return len(rows)

    def latest(self, task_id: str) -> DecisionRecord | None:
        """Return what was decided last on a task."""
        row = self._store.row(
            "SELECT * FROM decision WHERE workspace = ? AND task_id = ?",
            (self._workspace, task_id),
        )
        with self._store.decoding():
            return None if row is None else _record(row)

    def latest_left(self, limit: int) -> list[DecisionRecord]:
        """Return the decisions to leave that were made last, newest first."""
        rows = self._store.rows(
            "SELECT * FROM decision WHERE workspace = ? AND cause IS NOT NULL"
            " ORDER BY decided_at DESC, task_id LIMIT ?",
            (self._workspace, limit),
        )
        with self._store.decoding():
            return [_record(row) for row in rows]

    def count_over_cap(self) -> int:
        """Count the tasks that a cap made wait, as last decided."""
        row = self._store.row(
            "SELECT COUNT(*) AS n FROM decision WHERE workspace = ? AND cause = ?",
            (self._workspace, LeaveCause.OVER_CAP),
        )
        return int(row["n"]) if row else 0

    def holds(self) -> dict[Hold, datetime]:
        """Return since when each hold has been running."""
        return {
            Hold(
                row["task_id"], row["rule"], row["fingerprint"]
            ): parse_stored_timestamp(row["since"])
            for row in self._store.rows(
                "SELECT task_id, rule, fingerprint, since FROM hold"
                " WHERE workspace = ?",
                (self._workspace,),
            )
        }

    def replace_holds(self, holds: Mapping[Hold, datetime]) -> None:
        """Keep exactly these holds: one that was not seen again has ended."""
        if holds == self.holds():
            return
        self._store.execute("DELETE FROM hold WHERE workspace = ?", (self._workspace,))
        self._store.execute_many(
            "INSERT INTO hold (workspace, task_id, rule, fingerprint, since)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (
                    self._workspace,
                    h.task_id,
                    h.rule,
                    h.fingerprint,
                    format_timestamp(since),
                )
                for h, since in holds.items()
            ],
        )

    def record_observations(
        self, seen: Iterable[tuple[Task, ProposedDismissal]], *, at: datetime
    ) -> list[ProposedDismissal]:
        """Keep what would have been dismissed; return those not known before."""
        new = []
        for task, dismissal in seen:
            if self._store.execute(
                "INSERT INTO observation (workspace, task_id, rule, reason, seen_at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (self._workspace, task.id, *dismissal, format_timestamp(at)),
            ):
                new.append(dismissal)
        return new

    def count_observations(self, day: datetime) -> dict[str, int]:
        """Count by rule what would have been dismissed, seen first on a UTC day."""
        start = day.replace(hour=0, minute=0, second=0, microsecond=0)
        rows = self._store.rows(
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
        """Forget decisions and observations older than a moment; return how many."""
        moment = format_timestamp(before)
        return self._store.execute(
            "DELETE FROM decision WHERE workspace = ? AND decided_at < ?",
            (self._workspace, moment),
        ) + self._store.execute(
            "DELETE FROM observation WHERE workspace = ? AND seen_at < ?",
            (self._workspace, moment),
        )

    def _row(self, decision: Decision, sha256: str, at: datetime) -> tuple[Any, ...]:
        return (
            self._workspace,
            decision.task.id,
            format_timestamp(at),
            decision.cause,
            decision.rule,
            decision.reason,
            _observed(decision),
            sha256,
            json.dumps(dict(decision.task.raw), ensure_ascii=False),
        )


def _record(row: Row) -> DecisionRecord:
    return DecisionRecord(
        task_id=row["task_id"],
        decided_at=parse_stored_timestamp(row["decided_at"]),
        cause=LeaveCause(row["cause"]) if row["cause"] else None,
        rule=row["rule"],
        reason=row["reason"],
        observed=tuple(json.loads(row["observed"])),
        duplicate_flags=tuple(json.loads(row["copies"])),
        rules_sha256=row["rules_sha256"],
        task=json.loads(row["task"]),
    )


def _observed(decision: Decision) -> str:
    return json.dumps([dismissal.rule for dismissal in decision.observed])
