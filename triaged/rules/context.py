"""What judging one task needs to know of the moment and of the other listed tasks."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, assert_never

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionMatches,
    DuplicateOf,
    Keep,
    MetadataMatches,
    Not,
    TypeIn,
)
from triaged.rules.task import Json, Task, json_equal


class Partner(NamedTuple):
    """The task that stays of which another is a copy, and how alike the two are."""

    kept: str
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """The moment of evaluation, and what must be known of all listed tasks.

    ``is_duplicate`` says for each duplicate condition which task ids are a copy (True)
    or the kept one or unique (False); an id that is not there is unknown.
    ``partners`` tells of each copy which task is kept for it, where that is known.
    """

    now: datetime
    is_duplicate: Mapping[DuplicateOf, Mapping[str, bool]]
    partners: Mapping[DuplicateOf, Mapping[str, Partner]] = field(default_factory=dict)

    def partner(self, condition: DuplicateOf, task_id: str | None) -> Partner | None:
        """Return the kept task that this one is a copy of; None if it is no copy."""
        return self.partners.get(condition, {}).get(task_id or "")

    def kept_for(self, condition: DuplicateOf, task_id: str) -> str | None:
        """Return the id of the task that is kept when this copy of it is dismissed."""
        partner = self.partner(condition, task_id)
        return None if partner is None else partner.kept


def build_context(
    conditions: Iterable[Condition], tasks: Sequence[Task], *, now: datetime
) -> EvaluationContext:
    """Learn once, from all tasks, what the conditions need to know of the others."""
    wanted = {dup for condition in conditions for dup in iter_duplicates(condition)}
    if wanted and (unclear := ambiguous_rows(tasks)):
        tasks = [task for row, task in enumerate(tasks) if row not in unclear]
    found = {dup: _find_duplicates(dup, tasks, now) for dup in wanted}
    return EvaluationContext(
        now,
        {
            dup: {i: p is not None for i, p in kept.items()}
            for dup, kept in found.items()
        },
        {
            dup: {i: p for i, p in kept.items() if p is not None}
            for dup, kept in found.items()
        },
    )


def duplicate_conditions(conditions: Iterable[Condition]) -> tuple[DuplicateOf, ...]:
    """Return every duplicate condition once, in the order in which they come up."""
    found = [dup for condition in conditions for dup in iter_duplicates(condition)]
    return tuple(dict.fromkeys(found))


def iter_duplicates(condition: Condition) -> Iterator[DuplicateOf]:
    """Find every duplicate condition inside a condition."""
    match condition:
        case DuplicateOf():
            yield condition
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from iter_duplicates(part)
        case Not(part):
            yield from iter_duplicates(part)
        case TypeIn() | DescriptionMatches() | AgeBetween() | MetadataMatches():
            return
        case _:
            assert_never(condition)


def ambiguous_rows(tasks: Sequence[Task]) -> frozenset[int]:
    """Find the rows whose id does not say which task is meant.

    An id listed again is one task, judged once; where its rows differ nobody knows
    which of them is true, so none is judged.
    """
    rows: dict[str, list[int]] = {}
    for index, task in enumerate(tasks):
        if task.id is not None:
            rows.setdefault(task.id, []).append(index)
    unclear: set[int] = set()
    for indices in rows.values():
        if len(indices) > 1:
            first = dict(tasks[indices[0]].raw)
            same = all(json_equal(first, dict(tasks[i].raw)) for i in indices[1:])
            unclear.update(indices[1:] if same else indices)
    return frozenset(unclear)


def _find_duplicates(
    duplicate: DuplicateOf, tasks: Sequence[Task], now: datetime
) -> Mapping[str, Partner | None]:
    """Say of each task that can be compared which one is kept for it, if any."""
    groups: dict[tuple[str, ...], list[tuple[datetime, str]]] = defaultdict(list)
    for task in tasks:
        if not task.is_pending or task.created_at is None or task.created_at > now:
            continue
        texts = tuple(_normalize(task.raw, path) for path in duplicate.of)
        if task.id is not None and all(texts):
            groups[texts].append((task.created_at, task.id))
    found: dict[str, Partner | None] = {}
    for members in groups.values():
        kept = min(members) if duplicate.keep is Keep.OLDEST else max(members)
        for member in members:
            found[member[1]] = None if member == kept else Partner(kept[1])
    return found


def _normalize(fields: Mapping[str, Json], path: str) -> str:
    """Return the text at a dotted path for comparison; empty when there is none."""
    value: Json = dict(fields)
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return " ".join(value.split()).casefold() if isinstance(value, str) else ""
