"""Small facts that outlive a process: vetoes, pause, breaker, totals, the quota."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from triaged.ledger.database import Database, format_timestamp, parse_stored_timestamp


class FlagName(StrEnum):
    """Which facts of the whole workspace are kept."""

    PAUSED = "paused"
    BREAKER = "breaker"
    REVIEW_POSITION = "review"
    FEEDBACK_REFRESHED = "people_asked"


@dataclass(frozen=True, slots=True)
class Flag:
    """A fact that holds since a moment, and why."""

    since: datetime
    reason: str


class Flags:
    """The marks, vetoes, totals and quota of one workspace."""

    def __init__(self, store: Database, workspace: str) -> None:
        self._store = store
        self._workspace = workspace

    def get(self, name: FlagName) -> Flag | None:
        """Return a mark; None when it is not set."""
        row = self._store.row(
            "SELECT since, note FROM mark WHERE workspace = ? AND name = ?",
            (self._workspace, name),
        )
        return Flag(parse_stored_timestamp(row["since"]), row["note"]) if row else None

    def set(self, name: FlagName, *, note: str, at: datetime) -> bool:
        """Set a mark, keeping since when it is set; say whether it is new."""
        known = self.get(name) is not None
        self._store.execute(
            "INSERT INTO mark (workspace, name, since, note) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (workspace, name) DO UPDATE SET note = excluded.note",
            (self._workspace, name, format_timestamp(at), note),
        )
        return not known

    def clear(self, name: FlagName) -> bool:
        """Take a mark away; say whether it was set."""
        return bool(
            self._store.execute(
                "DELETE FROM mark WHERE workspace = ? AND name = ?",
                (self._workspace, name),
            )
        )

    def veto(self, task_id: str, *, at: datetime) -> bool:
        """Keep a task from ever being dismissed by rules; False when it was already."""
        return bool(
            self._store.execute(
                "INSERT INTO veto (workspace, task_id, since) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (self._workspace, task_id, format_timestamp(at)),
            )
        )

    def remove_veto(self, task_id: str) -> bool:
        """Take a veto back; say whether there was one."""
        return bool(
            self._store.execute(
                "DELETE FROM veto WHERE workspace = ? AND task_id = ?",
                (self._workspace, task_id),
            )
        )

    def vetoed(self) -> frozenset[str]:
        """Return the ids of all tasks that are vetoed."""
        rows = self._store.rows(
            "SELECT task_id FROM veto WHERE workspace = ?", (self._workspace,)
        )
        return frozenset(row["task_id"] for row in rows)

    def increment(
        self, name: str, label: str, label2: str = "", *, count: int = 1
    ) -> None:
        """Add to a total, in the same transaction as what it counts."""
        self._store.execute(
            "INSERT INTO tally (workspace, name, label, label2, count)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (workspace, name, label, label2)"
            " DO UPDATE SET count = tally.count + excluded.count",
            (self._workspace, name, label, label2, count),
        )

    def counters(self, name: str) -> Mapping[tuple[str, str], int]:
        """Return all totals of one name by their two labels."""
        rows = self._store.rows(
            "SELECT label, label2, count FROM tally WHERE workspace = ? AND name = ?",
            (self._workspace, name),
        )
        return {(row["label"], row["label2"]): row["count"] for row in rows}

    def load_quota(
        self, *, unless_version: int
    ) -> tuple[int, dict[str, Any] | None] | None:
        """Return version and state of the quota; None when the version is known."""
        row = self._store.row(
            "SELECT version FROM quota WHERE workspace = ?", (self._workspace,)
        )
        version = row["version"] if row else 0
        if version == unless_version:
            return None
        row = self._store.row(
            "SELECT state FROM quota WHERE workspace = ?", (self._workspace,)
        )
        with self._store.decoding():
            return version, json.loads(row["state"]) if row else None

    def save_quota(self, version: int, state: Mapping[str, Any]) -> None:
        """Keep the quota's state under its next version."""
        self._store.execute(
            "INSERT INTO quota (workspace, version, state) VALUES (?, ?, ?)"
            " ON CONFLICT (workspace) DO UPDATE SET"
            " version = excluded.version, state = excluded.state",
            (self._workspace, version, json.dumps(state)),
        )
