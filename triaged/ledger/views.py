"""Bounded queries for the status page and metrics, on a separate connection.

They never change the ledger and never read a whole table into memory.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from triaged.ledger.database import (
    Database,
    find_task_ids,
    format_timestamp,
    parse_stored_timestamp,
)
from triaged.ledger.decisions import DecisionStore, description_in
from triaged.ledger.dismissals import Dismissals, Outcome
from triaged.ledger.feedback import BY_TRIAGED, FeedbackStore
from triaged.ledger.flags import Flag, FlagName, Flags
from triaged.ledger.location import LedgerLocation
from triaged.ledger.notifications import COUNTER as NOTIFICATIONS
from triaged.ledger.observations import Observations
from triaged.ledger.opening import open_read_only
from triaged.ledger.rule_changes import COUNTER, RuleChanges
from triaged.ledger.rulesets import Rulesets
from triaged.ledger.vetoes import Veto, Vetoes
from triaged.rules.task import Changes


@contextlib.contextmanager
def open_views(place: Path | LedgerLocation, workspace: str) -> Iterator["LedgerViews"]:
    """Open the views of one workspace on a separate connection.

    Raises:
        LedgerError: the ledger cannot be opened.

    """
    database = open_read_only(place)
    try:
        yield LedgerViews(database, workspace)
    finally:
        database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTotals:
    """The counters and flags of one workspace that a dashboard shows."""

    attempts: Mapping[str, int]
    dismissals: Mapping[tuple[str, str], int]
    observed: Mapping[tuple[str, str], int]
    false_positives: Mapping[str, int]
    rule_changes: Mapping[tuple[str, str], int]
    modes: Changes
    notifications: Mapping[str, int]
    unresolved: int
    paused: Flag | None
    breaker: Flag | None


@dataclass(frozen=True, slots=True)
class DailyCount:
    """The number of tasks that a rule dismissed for a reason on one UTC day."""

    day: str
    rule: str | None
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task on hold, its start time and its description."""

    task_id: str
    rule: str
    since: datetime
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentDismissal:
    """A dismissal in a list, without its task content and explanation."""

    task_id: str
    decided_at: datetime
    rule: str | None
    reason: str
    source: str
    outcome: Outcome | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentlyLeft:
    """A decision to leave, in a list; ``rule`` is the one that contributed."""

    task_id: str
    decided_at: datetime
    cause: str
    rule: str | None
    description: str


class LedgerViews:
    """The views of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace
        self.dismissals = Dismissals(database, workspace)
        self.decisions = DecisionStore(database, workspace)
        self.rulesets = Rulesets(database)
        self.rule_changes = RuleChanges(database, workspace)
        self._observations = Observations(database, workspace)
        self._feedback = FeedbackStore(database, workspace)
        self._flags = Flags(database, workspace)
        self._vetoes = Vetoes(database, workspace)

    def totals(self) -> LedgerTotals:
        """Return the current values of all counters."""
        counted: dict[str, dict[tuple[str, str], int]] = {}
        for row in self._database.rows(
            "SELECT name, label, label2, value FROM counter WHERE workspace = ?"
            " AND name IN ('attempts', 'dismissals', 'observed', 'rule_changes',"
            " 'notifications')",
            (self._workspace,),
        ):
            of_name = counted.setdefault(row["name"], {})
            of_name[row["label"], row["label2"]] = row["value"]
        return LedgerTotals(
            attempts={k: n for (k, _), n in counted.get("attempts", {}).items()},
            dismissals=counted.get("dismissals", {}),
            observed=counted.get("observed", {}),
            rule_changes=counted.get(COUNTER, {}),
            modes=self.rule_changes.changes(),
            false_positives=self._feedback.count_false_positives(),
            notifications={
                k: n for (k, _), n in counted.get(NOTIFICATIONS, {}).items()
            },
            unresolved=self.dismissals.count_unresolved(),
            paused=self._flags.get(FlagName.PAUSED),
            breaker=self._flags.get(FlagName.BREAKER),
        )

    def dismissed_by_day(self, since: datetime, until: datetime) -> list[DailyCount]:
        """Count confirmed dismissals by UTC day, rule and reason."""
        rows = self._database.rows(
            "SELECT substr(decided_at, 1, 10) AS day, rule, reason, COUNT(*) AS n"
            " FROM dismissal WHERE workspace = ? AND decided_at >= ?"
            " AND decided_at < ? AND outcome = 'confirmed' GROUP BY day, rule, reason",
            (self._workspace, format_timestamp(since), format_timestamp(until)),
        )
        return [DailyCount(r["day"], r["rule"], r["reason"], r["n"]) for r in rows]

    def observed_on(self, day: datetime) -> Mapping[str, int]:
        """Count by rule the tasks first observed on a UTC day."""
        return self._observations.count_on(day)

    def feedback(self) -> Mapping[tuple[str, str, str], int]:
        """Count the observed and audited tasks by rule, kind and human decision."""
        rows = self._database.rows(
            "SELECT o.rule, o.kind, w.decision, COUNT(*) AS n FROM observation o"  # noqa: S608
            " JOIN human_decision w ON w.workspace = o.workspace"
            " AND w.task_id = o.task_id"
            f" WHERE o.workspace = ? AND w.decision IS NOT NULL AND NOT {BY_TRIAGED}"
            " GROUP BY o.rule, o.kind, w.decision",
            (self._workspace,),
        )
        return {(row["rule"], row["kind"], row["decision"]): row["n"] for row in rows}

    def held(self, rule: str, limit: int) -> list[HeldTask]:
        """Return the tasks that a rule holds, in the order in which their holds end.

        Vetoed tasks are not included, since nothing happens when their holds end.
        """
        rows = self._database.rows(
            "SELECT h.task_id, h.since, d.task"
            " FROM (SELECT workspace, task_id, since FROM hold o WHERE workspace = ?"
            " AND rule = ? AND NOT EXISTS (SELECT 1 FROM veto v"
            " WHERE v.workspace = o.workspace AND v.task_id = o.task_id)"
            " ORDER BY since, task_id LIMIT ?) h LEFT JOIN decision d"
            " ON d.workspace = h.workspace AND d.task_id = h.task_id"
            " ORDER BY h.since, h.task_id",
            (self._workspace, rule, limit),
        )
        with self._database.decoding():
            return [
                HeldTask(
                    row["task_id"],
                    rule,
                    parse_stored_timestamp(row["since"]),
                    description_in(row["task"]),
                )
                for row in rows
            ]

    def recent(self, limit: int) -> list[RecentDismissal]:
        """Return the latest dismissals, newest first."""
        rows = self._database.rows(
            "SELECT task_id, decided_at, rule, reason, source, outcome,"
            " task FROM dismissal WHERE workspace = ?"
            " ORDER BY decided_at DESC, id DESC LIMIT ?",
            (self._workspace, limit),
        )
        with self._database.decoding():
            return [
                RecentDismissal(
                    task_id=row["task_id"],
                    decided_at=parse_stored_timestamp(row["decided_at"]),
                    rule=row["rule"],
                    reason=row["reason"],
                    source=row["source"],
                    outcome=Outcome(row["outcome"]) if row["outcome"] else None,
                    description=description_in(row["task"]),
                )
                for row in rows
            ]

    def recently_left(self, limit: int) -> list[RecentlyLeft]:
        """Return the latest decisions to leave a task to people, newest first.

        Tasks on hold or over a cap are not included, since they are only delayed.
        """
        rows = self._database.rows(
            "SELECT task_id, decided_at, cause, rule, task"
            " FROM decision WHERE workspace = ?"
            " AND cause IS NOT NULL AND cause NOT IN ('held', 'over_cap')"
            " ORDER BY decided_at DESC, task_id LIMIT ?",
            (self._workspace, limit),
        )
        with self._database.decoding():
            return [
                RecentlyLeft(
                    task_id=row["task_id"],
                    decided_at=parse_stored_timestamp(row["decided_at"]),
                    cause=row["cause"],
                    rule=row["rule"],
                    description=description_in(row["task"]),
                )
                for row in rows
            ]

    def paused(self) -> Flag | None:
        """Return when, by whom and why dismissing was paused; None if it was not."""
        return self._flags.get(FlagName.PAUSED)

    def veto(self, task_id: str) -> Veto | None:
        """Return the veto of a task, or None."""
        return self._vetoes.get(task_id)

    def vetoes(self, limit: int) -> list[Veto]:
        """Return the latest vetoes, newest first."""
        return self._vetoes.latest(limit)

    def count_vetoes(self) -> int:
        """Return the number of vetoes."""
        return self._vetoes.count()

    def task_ids(self, prefix: str, limit: int) -> list[str]:
        """Return the known task ids with a prefix."""
        return find_task_ids(
            self._database,
            self._workspace,
            prefix,
            limit=limit,
            tables=("decision", "dismissal"),
        )


def day_of(moment: datetime) -> datetime:
    """Return the start of a timestamp's UTC day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def next_day(moment: datetime) -> datetime:
    """Return the start of the UTC day after a timestamp's day."""
    return day_of(moment) + timedelta(days=1)
