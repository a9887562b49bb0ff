"""The workspace in memory: its tasks, and every change of their status."""

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


class TaskNotFound(Exception):
    """The workspace has no task with that id."""


class TaskNotPending(Exception):
    """The task has a final status, which is ``status``."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One final status change of a task: the status, the time and the author."""

    task_id: str
    status: str
    reason: str | None
    at: datetime
    by: str


@dataclass(slots=True)
class _StoredTask:
    key: str
    fields: Json
    status: str
    created_at: str
    encoded: bytes


class Store:
    """Tasks by id; every change is kept in ``effects``.

    A task is serialized once, and a list only after a change.
    """

    def __init__(
        self,
        tasks: Iterable[Json] = (),
        *,
        order: str = "newest",
        lists_reason: bool = False,
    ) -> None:
        if order not in ORDERS:
            raise ValueError(f"unknown order {order!r} (known: {', '.join(ORDERS)})")
        self._order = order
        self._lists_reason = lists_reason
        self._used_ids: set[str] = set()
        self._entries: dict[str, _StoredTask] = {}
        self._bodies: dict[tuple[str, int | None], bytes] = {}
        self._request_counts: Counter[tuple[str, str]] = Counter()
        self._added = 0
        self.effects: list[Change] = []
        self.add(tasks)

    def add(self, tasks: Iterable[Json]) -> int:
        """Add tasks unchanged, even invalid ones; return their number.

        A task replaces any with the same id; without a known status it is pending.
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
        # A task without a valid id is listed, but no request can refer to it.
        key = task_id if isinstance(task_id, str) else f"\0{self._added}"
        self._used_ids.add(key)
        known = isinstance(status, str) and status in STATUSES
        self._entries[key] = _StoredTask(
            key=key,
            fields=task,
            status=str(status) if known else "pending",
            created_at=created_at if isinstance(created_at, str) else "",
            encoded=encode(task),
        )

    def remove(self, task_id: str) -> None:
        """Remove a task; its id stays used."""
        if self._entries.pop(task_id, None) is None:
            raise TaskNotFound
        self._bodies.clear()

    def list_response(self, status: str, *, row_cap: int | None = None) -> bytes:
        key = (status, row_cap)
        if key not in self._bodies:
            rows = self._rows(status)[:row_cap]
            joined = b",".join(entry.encoded for entry in rows)
            self._bodies[key] = b'{"data":{"tasks":[' + joined + b"]}}"
        return self._bodies[key]

    def tasks(self, status: str) -> list[Json]:
        return [entry.fields for entry in self._rows(status)]

    def has_used(self, task_id: str) -> bool:
        return task_id in self._used_ids

    def _rows(self, status: str) -> list[_StoredTask]:
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
        """Dismiss or approve a pending task, irreversibly.

        Raises:
            TaskNotFound: there is no such task.
            TaskNotPending: its status is final.
        """
        self._request_counts[task_id, status] += 1
        entry = self._entries.get(task_id)
        if entry is None:
            raise TaskNotFound
        if entry.status != "pending":
            raise TaskNotPending(entry.status)
        entry.status = status
        fields = entry.fields if isinstance(entry.fields, dict) else {}
        entry.fields = fields | {"status": status}
        if self._lists_reason and reason is not None:
            entry.fields["reason"] = reason
        entry.encoded = encode(entry.fields)
        self._bodies.clear()
        effect = Change(task_id=task_id, status=status, reason=reason, at=now, by=by)
        self.effects.append(effect)
        return effect

    def request_count(self, task_id: str, status: str = "dismissed") -> int:
        """Return the number of requests for this change, including rejected ones."""
        return self._request_counts[task_id, status]

    def status_of(self, task_id: str) -> str | None:
        entry = self._entries.get(task_id)
        return entry.status if entry else None

    def ids(self, status: str) -> list[str]:
        keys = (entry.key for entry in self._rows(status))
        return [key for key in keys if not key.startswith("\0")]

    def counts(self) -> dict[str, int]:
        counted = Counter(entry.status for entry in self._entries.values())
        return {status: counted[status] for status in STATUSES}


def encode(value: object) -> bytes:
    """Encode JSON in UTF-8, as services do; a lone surrogate becomes an escape."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def format_timestamp(moment: datetime) -> str:
    """Format a timestamp as the API does: ISO 8601 in UTC, with a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
