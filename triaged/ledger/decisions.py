"""What was judged: the last decision on each task, holds, observations, rulesets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from sqlite3 import Row
from typing import Any, Final

from triaged.ledger.database import Store, from_text, to_text
from triaged.rules.conditions import Duplicate
from triaged.rules.context import Listing
from triaged.rules.task import Cause, Decision, Dismissal, Task

# As text beside the tasks themselves, all rows at once would double a long list.
_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The last decision on a task that differed from the one before.

    ``copies`` says for each duplicate condition of the rules, in their order, whether
    the task was a copy: all that its decision took from the other tasks.
    """

    task_id: str
    decided_at: datetime
    cause: Cause | None
    rule: str | None
    reason: str | None
    observed: tuple[str, ...]
    copies: tuple[bool | None, ...]
    rules_sha256: str
    task: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Holding:
    """A task that a rule with a hold wants, as long as both stay what they are."""

    task_id: str
    rule: str
    fingerprint: str


class Judgements:
    """The judgements of one workspace."""

    def __init__(self, store: Store, workspace: str) -> None:
        self._store = store
        self._workspace = workspace

    def remember_rules(self, sha256: str, text: str, *, at: datetime) -> None:
        """Keep the text of a rules file, so that old decisions can be explained."""
        self._store.execute(
            "INSERT INTO ruleset (sha256, first_used_at, text) VALUES (?, ?, ?)"
            " ON CONFLICT (sha256) DO NOTHING",
            (sha256, to_text(at), text),
        )

    def rules_text(self, sha256: str) -> str | None:
        """Return a rules file's text by its hash."""
        row = self._store.row("SELECT text FROM ruleset WHERE sha256 = ?", (sha256,))
        return row["text"] if row else None

    def remember(
        self,
        decisions: Iterable[Decision],
        *,
        rules_sha256: str,
        listing: Listing,
        duplicates: Sequence[Duplicate],
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
            task_id, content = decision.task.id, decision.task.digest()
            if task_id is None:
                continue
            observed = _observed(decision)
            key = (decision.cause, decision.rule, observed, rules_sha256, content)
            if known.get(task_id) != key:
                copies = [listing.spare[dup].get(task_id) for dup in duplicates]
                row = self._row(decision, rules_sha256, at)
                rows.append((*row, content, json.dumps(copies)))
            if len(rows) == _AT_ONCE:
                kept += self._keep(rows)
                rows.clear()
        return kept + self._keep(rows)

    def _keep(self, rows: Sequence[Sequence[Any]]) -> int:
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

    def last(self, task_id: str) -> Judgement | None:
        """Return what was decided last on a task."""
        row = self._store.row(
            "SELECT * FROM decision WHERE workspace = ? AND task_id = ?",
            (self._workspace, task_id),
        )
        with self._store.reading():
            return None if row is None else _judgement(row)

    def left_last(self, limit: int) -> list[Judgement]:
        """Return the decisions to leave that were made last, newest first."""
        rows = self._store.rows(
            "SELECT * FROM decision WHERE workspace = ? AND cause IS NOT NULL"
            " ORDER BY decided_at DESC, task_id LIMIT ?",
            (self._workspace, limit),
        )
        with self._store.reading():
            return [_judgement(row) for row in rows]

    def count_waiting(self) -> int:
        """Count the tasks that a cap made wait, as last decided."""
        row = self._store.row(
            "SELECT COUNT(*) AS n FROM decision WHERE workspace = ? AND cause = ?",
            (self._workspace, Cause.OVER_CAP),
        )
        return int(row["n"]) if row else 0

    def holds(self) -> dict[Holding, datetime]:
        """Return since when each hold has been running."""
        return {
            Holding(row["task_id"], row["rule"], row["fingerprint"]): from_text(
                row["since"]
            )
            for row in self._store.rows(
                "SELECT task_id, rule, fingerprint, since FROM hold"
                " WHERE workspace = ?",
                (self._workspace,),
            )
        }

    def replace_holds(self, holds: Mapping[Holding, datetime]) -> None:
        """Keep exactly these holds: one that was not seen again has ended."""
        if holds == self.holds():
            return
        self._store.execute("DELETE FROM hold WHERE workspace = ?", (self._workspace,))
        self._store.execute_many(
            "INSERT INTO hold (workspace, task_id, rule, fingerprint, since)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (self._workspace, h.task_id, h.rule, h.fingerprint, to_text(since))
                for h, since in holds.items()
            ],
        )

    def observe(
        self, seen: Iterable[tuple[Task, Dismissal]], *, at: datetime
    ) -> list[Dismissal]:
        """Keep what would have been dismissed; return those not known before."""
        new = []
        for task, dismissal in seen:
            if self._store.execute(
                "INSERT INTO observation (workspace, task_id, rule, reason, seen_at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (self._workspace, task.id, *dismissal, to_text(at)),
            ):
                new.append(dismissal)
        return new

    def observed_on(self, day: datetime) -> dict[str, int]:
        """Count by rule what would have been dismissed, seen first on a UTC day."""
        start = day.replace(hour=0, minute=0, second=0, microsecond=0)
        rows = self._store.rows(
            "SELECT rule, COUNT(*) AS n FROM observation WHERE workspace = ?"
            " AND seen_at >= ? AND seen_at < ? GROUP BY rule",
            (self._workspace, to_text(start), to_text(start + timedelta(days=1))),
        )
        return {row["rule"]: row["n"] for row in rows}

    def prune(self, *, before: datetime) -> int:
        """Forget decisions and observations older than a moment; return how many."""
        moment = to_text(before)
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
            to_text(at),
            decision.cause,
            decision.rule,
            decision.reason,
            _observed(decision),
            sha256,
            json.dumps(dict(decision.task.fields), ensure_ascii=False),
        )


def _judgement(row: Row) -> Judgement:
    return Judgement(
        task_id=row["task_id"],
        decided_at=from_text(row["decided_at"]),
        cause=Cause(row["cause"]) if row["cause"] else None,
        rule=row["rule"],
        reason=row["reason"],
        observed=tuple(json.loads(row["observed"])),
        copies=tuple(json.loads(row["copies"])),
        rules_sha256=row["rules_sha256"],
        task=json.loads(row["task"]),
    )


def _observed(decision: Decision) -> str:
    return json.dumps([dismissal.rule for dismissal in decision.observed])
