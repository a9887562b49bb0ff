"""What judging one task needs to know of the moment and of the other listed tasks."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

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


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """The moment of judgement, and what must be known of all listed tasks.

    ``spare`` says for each duplicate condition which task ids are a copy (True) or
    the kept one or unique (False); an id that is not there is unknown.
    """

    now: datetime
    is_duplicate: Mapping[DuplicateOf, Mapping[str, bool]]


def build_context(
    conditions: Iterable[Condition], tasks: Sequence[Task], *, now: datetime
) -> EvaluationContext:
    """Learn once, from all tasks, what the conditions need to know of the others."""
    wanted = {dup for condition in conditions for dup in iter_duplicates(condition)}
    if wanted and (unclear := ambiguous_rows(tasks)):
        tasks = [task for row, task in enumerate(tasks) if row not in unclear]
    return EvaluationContext(
        now, {dup: _find_duplicates(dup, tasks, now) for dup in wanted}
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
) -> Mapping[str, bool]:
    groups: dict[tuple[str, ...], list[tuple[datetime, str]]] = defaultdict(list)
    for task in tasks:
        if not task.is_pending or task.created_at is None or task.created_at > now:
            continue
        texts = tuple(_normalize(task.raw, path) for path in duplicate.of)
        if task.id is not None and all(texts):
            groups[texts].append((task.created_at, task.id))
    spare: dict[str, bool] = {}
    for members in groups.values():
        kept = min(members) if duplicate.keep is Keep.OLDEST else max(members)
        spare |= {member[1]: member != kept for member in members}
    return spare


def _normalize(fields: Mapping[str, Json], path: str) -> str:
    """Return the text at a dotted path for comparison; empty when there is none."""
    value: Json = dict(fields)
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return " ".join(value.split()).casefold() if isinstance(value, str) else ""
