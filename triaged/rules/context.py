"""What evaluating one task needs besides the task: the time, and its duplicates."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from triaged.rules.conditions import Condition, DuplicateOf, iter_leaves
from triaged.rules.duplicates import Partner, find_duplicates
from triaged.rules.task import Task, json_equal


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """The time of evaluation, and the duplicates among all listed tasks.

    ``is_duplicate`` maps each duplicate condition to task ids: True for a copy, False
    for a task that is kept or unique; the result for any other id is unknown.
    ``partners`` maps each copy to the task that is kept instead, where that is known.
    """

    now: datetime
    is_duplicate: Mapping[DuplicateOf, Mapping[str, bool]]
    partners: Mapping[DuplicateOf, Mapping[str, Partner]] = field(default_factory=dict)

    def partner(self, condition: DuplicateOf, task_id: str | None) -> Partner | None:
        """Return the kept task that this one is a copy of; None if it is not a copy."""
        return self.partners.get(condition, {}).get(task_id or "")

    def kept_for(self, condition: DuplicateOf, task_id: str) -> str | None:
        """Return the id of the task that is kept if this copy is dismissed, or None."""
        partner = self.partner(condition, task_id)
        return None if partner is None else partner.kept


def build_context(
    conditions: Iterable[Condition], tasks: Sequence[Task], *, now: datetime
) -> EvaluationContext:
    """Find the duplicates among all tasks, once for each duplicate condition."""
    wanted = duplicate_conditions(conditions)
    if wanted and (unclear := ambiguous_rows(tasks)):
        tasks = [task for row, task in enumerate(tasks) if row not in unclear]
    found = {dup: find_duplicates(dup, tasks, now) for dup in wanted}
    return EvaluationContext(
        now,
        {dup: {i: p is not None for i, p in found[dup].items()} for dup in wanted},
        {dup: {i: p for i, p in found[dup].items() if p is not None} for dup in wanted},
    )


def duplicate_conditions(conditions: Iterable[Condition]) -> tuple[DuplicateOf, ...]:
    """Return the distinct duplicate conditions, in order of first occurrence."""
    found = [dup for condition in conditions for dup in iter_duplicates(condition)]
    return tuple(dict.fromkeys(found))


def iter_duplicates(condition: Condition) -> Iterator[DuplicateOf]:
    """Yield every duplicate condition inside a condition."""
    return (leaf for leaf in iter_leaves(condition) if isinstance(leaf, DuplicateOf))


def ambiguous_rows(tasks: Sequence[Task]) -> frozenset[int]:
    """Return the indices of the rows that share an id but differ in content.

    Rows with the same id are one task. If they differ, or cannot be compared, it is
    unknown which of them is right, so none of them is evaluated.
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
