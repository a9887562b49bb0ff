"""What judging one task needs to know of the moment and of the other listed tasks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from triaged.rules.conditions import Condition, DuplicateOf, iter_leaves
from triaged.rules.duplicates import Partner, find_duplicates
from triaged.rules.task import Task, json_equal


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
    found = {dup: find_duplicates(dup, tasks, now) for dup in wanted}
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
    return (leaf for leaf in iter_leaves(condition) if isinstance(leaf, DuplicateOf))


def ambiguous_rows(tasks: Sequence[Task]) -> frozenset[int]:
    """Find the rows whose id does not say which task is meant.

    An id listed again is one task, evaluated once; where its rows differ, or cannot
    be compared, it is unknown which of them is true, so none is evaluated.
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
