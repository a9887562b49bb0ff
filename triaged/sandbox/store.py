"""The workspace in memory: its tasks, what may become of them, and what did."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from triaged.rules.task import Json

STATUSES: Final = ("pending", "approved", "dismissed", "completed", "failed")
ORDERS: Final = ("newest", "oldest", "added")
API: Final = "api"
PERSON: Final = "person"


class UnknownTaskError(Exception):
    """The workspace has no task of that id."""


class TaskNotPending(Exception):
    """The task has been settled before; ``status`` says how."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One task that changed for good: the proof of what was done, and when."""

    task_id: str
    status: str
    reason: str | None
    at: datetime
    by: str


@dataclass(slots=True)
class _Entry:
    key: str
    fields: Json
    status: str
    created_at: str
    encoded: bytes


class Store:
    """Tasks by id; every change is kept in ``effects``.

    Serialises a task once, and a list only after something changed.
    """

    def __init__(self, tasks: Iterable[Json] = (), *, order: str = "newest") -> None:
        if order not in ORDERS:
            raise ValueError(f"unknown order {order!r} (known: {', '.join(ORDERS)})")
        self._order = order
        self._entries: dict[str, _Entry] = {}
        self._bodies: dict[tuple[str, int | None], bytes] = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._added = 0
        self.effects: list[Change] = []
        self.add(tasks)

    def add(self, tasks: Iterable[Json]) -> int:
        """Take tasks as they are, odd ones too; the same id again replaces.

        What has no status is listed as pending.
        """
        before = self._added
        for task in tasks:
            self._added += 1
            self._add_one(task)
        self._bodies.clear()
        return self._added - before

    def _add_one(self, task: Json) -> None:
        fields: Mapping[str, Json] = task if isinstance(task, dict) else {}
        task_id, status = fields.get("id"), fields.get("status")
        created_at = fields.get("created_at")
        # What has no usable id can be listed, though never asked for.
        key = task_id if isinstance(task_id, str) else f"\0{self._added}"
        known = isinstance(status, str) and status in STATUSES
        self._entries[key] = _Entry(
            key=key,
            fields=task,
            status=str(status) if known else "pending",
            created_at=created_at if isinstance(created_at, str) else "",
            encoded=encode(task),
        )

    def remove(self, task_id: str) -> None:
        """Forget a task, as if it had never been.

        Raises:
            NoSuchTask: there is none.
        """
        if self._entries.pop(task_id, None) is None:
            raise UnknownTaskError
        self._bodies.clear()

    def list_body(self, status: str, *, row_cap: int | None = None) -> bytes:
        """Return the list answer for one status, as the API gives it."""
        key = (status, row_cap)
        if key not in self._bodies:
            rows = self._rows(status)[:row_cap]
            joined = b",".join(entry.encoded for entry in rows)
            self._bodies[key] = b'{"data":{"tasks":[' + joined + b"]}}"
        return self._bodies[key]

    def _rows(self, status: str) -> list[_Entry]:
        rows = [entry for entry in self._entries.values() if entry.status == status]
        if self._order != "added":
            newest = self._order == "newest"
            rows.sort(key=lambda entry: entry.created_at, reverse=newest)
        return rows

    def settle(
        self,
        task_id: str,
        status: str,
        *,
        now: datetime,
        reason: str | None = None,
        by: str = API,
    ) -> Change:
        """Dismiss or approve a pending task, once and for good.

        Raises:
            NoSuchTask: there is none.
            NoLongerPending: it has been settled before.
        """
        self._asked[task_id, status] += 1
        entry = self._entries.get(task_id)
        if entry is None:
            raise UnknownTaskError
        if entry.status != "pending":
            raise TaskNotPending(entry.status)
        entry.status = status
        entry.fields = (entry.fields if isinstance(entry.fields, dict) else {}) | {
            "status": status
        }
        entry.encoded = encode(entry.fields)
        self._bodies.clear()
        effect = Change(task_id=task_id, status=status, reason=reason, at=now, by=by)
        self.effects.append(effect)
        return effect

    def times(self, task_id: str, status: str = "dismissed") -> int:
        """Return how often the workspace was asked for this; refusals count."""
        return self._asked[task_id, status]

    def status_of(self, task_id: str) -> str | None:
        """Return a task's status, or None where there is no such task."""
        entry = self._entries.get(task_id)
        return entry.status if entry else None

    def ids(self, status: str) -> list[str]:
        """List the ids of one status, in the order of the list answer."""
        keys = (entry.key for entry in self._rows(status))
        return [key for key in keys if not key.startswith("\0")]

    def counts(self) -> dict[str, int]:
        """Count the tasks of each status."""
        counted = Counter(entry.status for entry in self._entries.values())
        return {status: counted[status] for status in STATUSES}


def encode(value: object) -> bytes:
    """Write JSON in UTF-8, as services do; a lone surrogate becomes an escape."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def render_moment(moment: datetime) -> str:
    """Write a moment as the API does: ISO 8601 in UTC, with a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
