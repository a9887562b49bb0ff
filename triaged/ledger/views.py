"""What the status page and the metrics read: bounded queries, on a connection apart.

Nothing here changes the ledger, and nothing reads a whole table into memory.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from sqlite3 import Row
from typing import Final

from triaged.ledger.database import (
    BUSY_SECONDS,
    FILE,
    Database,
    format_timestamp,
    parse_stored_timestamp,
)
from triaged.ledger.decisions import DecisionStore
from triaged.ledger.dismissals import Dismissals, Outcome
from triaged.ledger.flags import Flag, FlagName, Flags
from triaged.ledger.observations import Observations
from triaged.ledger.rulesets import Rulesets

# A dismissal by a rule itself, or perhaps one: that is no feedback from people.
_BY_TRIAGED: Final = (
    "EXISTS (SELECT 1 FROM dismissal d WHERE d.workspace = o.workspace"
    " AND d.task_id = o.task_id AND d.rule IS NOT NULL"
    " AND (d.outcome IS NULL OR d.outcome IN ('unknown', 'confirmed')))"
)
_LAST_CHARACTER: Final = "\U0010ffff"
_DESCRIPTION: Final = "json_extract({}, '$.description') AS description"


class ReadOnlyDatabase(Database):
    """An open ledger that cannot be written, for one thread."""

    def __init__(self, directory: Path) -> None:
        """Open the ledger of a state directory.

        Raises:
            LedgerError: it cannot be opened.
        """
        self.path = directory / FILE
        self._busy_seconds = BUSY_SECONDS
        self._depth = 0
        self._connection = self._connect("ro")
        self._connection.row_factory = Row


@contextlib.contextmanager
def open_views(directory: Path, workspace: str) -> Iterator["LedgerViews"]:
    """Open the views of one workspace on a connection of their own.

    Raises:
        LedgerError: the ledger cannot be opened.
    """
    database = ReadOnlyDatabase(directory)
    try:
        yield LedgerViews(database, workspace)
    finally:
        database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTotals:
    """The counters of one workspace, and the flags that a dashboard shows."""

    attempts: Mapping[str, int]
    dismissals: Mapping[tuple[str, str], int]
    observed: Mapping[tuple[str, str], int]
    false_positives: Mapping[str, int]
    unresolved: int
    paused: Flag | None
    breaker: Flag | None


@dataclass(frozen=True, slots=True)
class DailyCount:
    """How many tasks a rule dismissed for a reason on one UTC day."""

    day: str
    rule: str | None
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task on hold, since when, and its description."""

    task_id: str
    rule: str
    since: datetime
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentDismissal:
    """One dismissal in a list: without its task and explanation."""

    task_id: str
    decided_at: datetime
    rule: str | None
    reason: str
    source: str
    outcome: Outcome | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentlyLeft:
    """One decision to leave in a list; ``rule`` is the one that had a part in it."""

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
        self._observations = Observations(database, workspace)
        self._flags = Flags(database, workspace)

    def totals(self) -> LedgerTotals:
        """Return all counters as of now."""
        counted: dict[str, dict[tuple[str, str], int]] = {}
        for row in self._database.rows(
            "SELECT name, label, label2, value FROM counter WHERE workspace = ?"
            " AND name IN ('attempts', 'dismissals', 'observed')",
            (self._workspace,),
        ):
            of_name = counted.setdefault(row["name"], {})
            of_name[row["label"], row["label2"]] = row["value"]
        return LedgerTotals(
            attempts={k: n for (k, _), n in counted.get("attempts", {}).items()},
            dismissals=counted.get("dismissals", {}),
            observed=counted.get("observed", {}),
            false_positives=self._count(
                "SELECT rule AS name, COUNT(*) AS n FROM false_positive"
                " WHERE workspace = ? GROUP BY rule"
            ),
            unresolved=self._number(
                "SELECT COUNT(*) AS n FROM dismissal WHERE workspace = ?"
                " AND (outcome IS NULL OR outcome = 'unknown')"
            ),
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

    def feedback(self) -> Mapping[tuple[str, str], int]:
        """Count by rule and human decision what people did with observed tasks."""
        rows = self._database.rows(
            "SELECT o.rule, w.decision, COUNT(*) AS n FROM observation o"  # noqa: S608
            " JOIN human_decision w ON w.workspace = o.workspace"
            " AND w.task_id = o.task_id"
            f" WHERE o.workspace = ? AND w.decision IS NOT NULL AND NOT {_BY_TRIAGED}"
            " GROUP BY o.rule, w.decision",
            (self._workspace,),
        )
        return {(row["rule"], row["decision"]): row["n"] for row in rows}

    def held(self, rule: str, limit: int) -> list[HeldTask]:
        """Return the tasks that a rule holds, those that end first at the front."""
        rows = self._database.rows(
            f"SELECT h.task_id, h.since, {_DESCRIPTION.format('d.task')}"  # noqa: S608
            " FROM (SELECT workspace, task_id, since FROM hold WHERE workspace = ?"
            " AND rule = ? ORDER BY since, task_id LIMIT ?) h LEFT JOIN decision d"
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
                    _text(row["description"]),
                )
                for row in rows
            ]

    def recent(self, limit: int) -> list[RecentDismissal]:
        """Return the last dismissals, newest first."""
        rows = self._database.rows(
            "SELECT task_id, decided_at, rule, reason, source, outcome,"  # noqa: S608
            f" {_DESCRIPTION.format('task')} FROM dismissal WHERE workspace = ?"
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
                    description=_text(row["description"]),
                )
                for row in rows
            ]

    def recently_left(self, limit: int) -> list[RecentlyLeft]:
        """Return the last decisions to leave to people, newest first.

        What is on hold or waits for a cap is not left for good.
        """
        rows = self._database.rows(
            "SELECT task_id, decided_at, cause, rule,"  # noqa: S608
            f" {_DESCRIPTION.format('task')} FROM decision WHERE workspace = ?"
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
                    description=_text(row["description"]),
                )
                for row in rows
            ]

    def task_ids(self, prefix: str, limit: int) -> list[str]:
        """Return the known ids that begin with a text."""
        found: set[str] = set()
        for table in ("decision", "dismissal"):
            rows = self._database.rows(
                f"SELECT DISTINCT task_id FROM {table} WHERE workspace = ?"  # noqa: S608 - a name of ours
                " AND task_id >= ? AND task_id < ? ORDER BY task_id LIMIT ?",
                (self._workspace, prefix, prefix + _LAST_CHARACTER, limit),
            )
            found.update(row["task_id"] for row in rows)
        return sorted(found)[:limit]

    def _count(self, statement: str) -> Mapping[str, int]:
        rows = self._database.rows(statement, (self._workspace,))
        return {row["name"]: row["n"] for row in rows}

    def _number(self, statement: str) -> int:
        row = self._database.row(statement, (self._workspace,))
        return int(row["n"]) if row else 0


def day_of(moment: datetime) -> datetime:
    """Return the start of a moment's UTC day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def next_day(moment: datetime) -> datetime:
    """Return the start of the UTC day after a moment's."""
    return day_of(moment) + timedelta(days=1)


def _text(value: object) -> str:
    return (
        value if isinstance(value, str) else "" if value is None else json.dumps(value)
    )
