"""What people settled, listed once a day and kept in the ledger until then."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from triaged.leadlex.models import TaskList
from triaged.ledger import Ledger
from triaged.ledger.state import SETTLED_TASKS_KEPT, StateName
from triaged.rules.task import Json, Task, parse_task, parse_timestamp, unreadable
from triaged.triage.agreement import FINAL_STATUSES
from triaged.triage.feedback import FeedbackCollector

# What is kept of a list is bounded, whatever LeadLex lists: the newest tasks stay.
MAX_TASKS: Final = 10_000
MAX_CHARACTERS: Final = 8 * 1024 * 1024
_MAX_DESCRIPTION: Final = 2_000
_MAX_METADATA: Final = 4_000
_VERSION: Final = 1
_FIELDS: Final = ("id", "type", "status", "description", "created_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledList:
    """The tasks of one final status, as kept.

    ``complete_from`` is None unless older tasks than that were too many to keep.
    """

    status: str
    asked_at: datetime
    incomplete: str | None
    complete_from: datetime | None
    tasks: tuple[Task, ...]


class SettledLists:
    """Asks for the lists of final statuses that the ledger does not have from today."""

    def __init__(self, ledger: Ledger, *, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        self._kept = self._load()

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the statuses that are still to be asked for, a call each."""
        return tuple(status for status in FINAL_STATUSES if status not in self._kept)

    async def ask(self, collector: FeedbackCollector, status: str) -> None:
        """Ask for one list and keep it, so that the call is not spent twice."""
        listed = await collector.list_final(status)
        self._kept[status] = _entry(listed, self._now())
        document = {"version": _VERSION, "lists": self._kept}
        with self._ledger.transaction():
            self._ledger.state.save(StateName.SETTLED_TASKS, document, at=self._now())

    def lists(self) -> tuple[SettledList, ...]:
        """Return all lists that are there, each cut to the time that all cover."""
        lists = [_parse(status, entry) for status, entry in self._kept.items()]
        cuts = [one.complete_from for one in lists if one.complete_from is not None]
        if not cuts:
            return tuple(lists)
        since = max(cuts)
        return tuple(
            replace(
                one,
                complete_from=since,
                tasks=tuple(
                    t for t in one.tasks if t.created_at and t.created_at >= since
                ),
            )
            for one in lists
        )

    def _load(self) -> dict[str, dict[str, Any]]:
        kept = self._ledger.state.load(StateName.SETTLED_TASKS)
        if not isinstance(kept, dict) or kept.get("version") != _VERSION:
            return {}
        lists: Mapping[str, dict[str, Any]] = kept["lists"]
        return {
            status: entry
            for status, entry in lists.items()
            if self._is_of_today(parse_timestamp(entry["asked_at"]))
        }

    def _is_of_today(self, asked_at: datetime | None) -> bool:
        # A time in the future comes from a clock that was set back since.
        return (
            asked_at is not None
            and timedelta(0) <= self._now() - asked_at < SETTLED_TASKS_KEPT
        )


def _entry(listed: TaskList, at: datetime) -> dict[str, Any]:
    newest = sorted(listed.tasks, key=_created, reverse=True)
    kept = _bounded(newest)
    left_out = newest[len(kept) :]
    # Tasks without a time come last; leaving those out cuts nothing off.
    cut = left_out and left_out[0].created_at is not None
    complete_from = newest[len(kept) - 1].created_at if cut and kept else None
    return {
        "asked_at": at.isoformat(),
        "incomplete": listed.incomplete,
        "complete_from": complete_from.isoformat() if complete_from else None,
        "tasks": kept,
    }


def _created(task: Task) -> float:
    return task.created_at.timestamp() if task.created_at else float("-inf")


def _bounded(newest: Sequence[Task]) -> list[dict[str, Json]]:
    kept: list[dict[str, Json]] = []
    size = 0
    for task in newest[:MAX_TASKS]:
        fields = _needed(task)
        size += len(json.dumps(fields, ensure_ascii=False))
        if size > MAX_CHARACTERS:
            break
        kept.append(fields)
    return kept


def _needed(task: Task) -> dict[str, Json]:
    fields = {key: task.raw.get(key) for key in _FIELDS}
    text = fields["description"]
    if isinstance(text, str):
        fields["description"] = text[:_MAX_DESCRIPTION]
    metadata = task.raw.get("metadata")
    if len(json.dumps(metadata, ensure_ascii=False)) > _MAX_METADATA:
        metadata = unreadable("too long to keep")
    return {**fields, "metadata": metadata}


def _parse(status: str, entry: Mapping[str, Any]) -> SettledList:
    asked_at = parse_timestamp(entry["asked_at"])
    if asked_at is None:
        raise ValueError("a list is kept with the time at which it was asked for")
    return SettledList(
        status=status,
        asked_at=asked_at,
        incomplete=entry["incomplete"],
        complete_from=parse_timestamp(entry["complete_from"]),
        tasks=tuple(map(parse_task, entry["tasks"])),
    )
