"""Example tasks for which conditions hold, or do not: found by trying.

A condition is taken apart into what it asks of each field; values that might do are
proposed for each and tried on their own; what is put together of them is judged by the
engine again before anybody sees it.  So there may be no example where one exists, but
none is ever wrong.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice, product
from typing import Final, TypeAlias

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
from triaged.rules.context import EvaluationContext
from triaged.rules.evaluate import evaluate, get_path
from triaged.rules.task import Json
from triaged.rulesfile.document import TestTask
from triaged.rulesfile.lint.candidate_values import Goal, Value, propose
from triaged.rulesfile.lint.example import ORDINARY, Example, rounded, truth_in
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.lint.yaml_flow import can_flow

# What is tried at most: values in each field, and examples like one other.
_VALUES: Final = 3
_EXAMPLES: Final = 12

_DEFAULT_AGE: Final = timedelta(days=30)
_BESIDE: Final = timedelta(hours=1)

_Branch: TypeAlias = tuple[Goal, ...]


@dataclass(slots=True)
class Effort:
    """How many more ways to reach goals are tried: about half a millisecond each."""

    left: int

    def spend(self) -> bool:
        """Say whether one more may be tried."""
        self.left -= self.left > 0
        return self.left > 0


def examples(
    goals: Sequence[Goal],
    types: Sequence[str],
    *,
    effort: Effort,
    like: Iterable[Example] = (),
) -> Iterator[Example]:
    """Give tasks for which each condition is as true as its goal says.

    They differ as little as may be from the examples that they should be ``like``.
    """
    for base in (*like, ORDINARY):
        yield from islice(_examples_like(base, goals, types, effort), _EXAMPLES)


def _examples_like(
    base: Example, goals: Sequence[Goal], types: Sequence[str], effort: Effort
) -> Iterator[Example]:
    for branch in _joint(goals):
        if not effort.spend():
            return
        for example in _solve(branch, base, types):
            if all(truth_in(example, what) is wanted for what, wanted in goals):
                yield example


# --- taking conditions apart --------------------------------------------------------


def _joint(goals: Sequence[Goal]) -> Iterator[_Branch]:
    """Give ways to reach all goals, each as goals for conditions without parts."""
    if not goals:
        yield ()
        return
    first, *rest = goals
    for branch in _branches(first):
        for others in _joint(rest):
            yield branch + others


def _branches(goal: Goal) -> Iterator[_Branch]:
    condition, wanted = goal
    match condition:
        case Not(part):
            yield from _branches((part, not wanted))
        case AllOf(parts) | AnyOf(parts) if isinstance(condition, AllOf) is wanted:
            yield from _joint([(part, wanted) for part in parts])
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _branches((part, wanted))
        case _:
            yield ((condition, wanted),)


# --- putting tasks together ---------------------------------------------------------


def _solve(branch: _Branch, base: Example, types: Sequence[str]) -> Iterator[Example]:
    """Try the values that reach each field's goals, all fields together."""
    if any((what, not wanted) in branch for what, wanted in branch):
        return
    duplicates = [(c, wanted) for c, wanted in branch if isinstance(c, DuplicateOf)]
    asked: dict[str, list[Goal]] = defaultdict(list)
    for condition, wanted in branch:
        if not isinstance(condition, DuplicateOf):
            asked[_field_of(condition)].append((condition, wanted))
    compared = {path for duplicate, _ in duplicates for path in duplicate.of}
    choices = [
        [(name, value) for value in _values(name, asked[name], base, types, compared)]
        for name in (*asked, *sorted(compared - asked.keys()))
    ]
    if "age" not in asked and base.task.age is None:
        choices.append([("age", _DEFAULT_AGE)] if duplicates else _SOME_AGE)
    for chosen in product(*choices):
        task = _with(base.task, chosen)
        if task is not None:
            for others in _besides(task, base, duplicates):
                yield Example(task, others)


_SOME_AGE: Final[list[tuple[str, Value]]] = [("age", None), ("age", _DEFAULT_AGE)]


def _field_of(condition: Condition) -> str:
    match condition:
        case TypeIn():
            return "type"
        case DescriptionMatches():
            return "description"
        case AgeBetween():
            return "age"
        case MetadataMatches(path):
            return f"metadata.{path}"
        case _:
            message = f"{condition} is about more than one field"
            raise TypeError(message)


def _values(
    name: str,
    goals: Sequence[Goal],
    base: Example,
    types: Sequence[str],
    compared: Collection[str],
) -> list[Value]:
    """Choose values for a field, that of the base first, which reach its goals."""
    proposed = [_value_of(base.task, name), *propose(name, goals, types)]
    found: dict[str, Value] = {}
    for value in proposed:
        if name in compared and not (isinstance(value, str) and value.strip()):
            continue
        if repr(value) not in found and _reaches(name, value, goals):
            found[repr(value)] = value
            if len(found) == _VALUES:
                break
    return list(found.values())


def _reaches(name: str, value: Value, goals: Sequence[Goal]) -> bool:
    task = _with(TestTask({}), [(name, value)])
    if task is None:
        return False
    context, seen = EvaluationContext(NOW, {}), task.to_task(NOW, task_id="test")
    return all(evaluate(what, seen, context) is wanted for what, wanted in goals)


def _value_of(task: TestTask, name: str) -> Value:
    if name == "age":
        return task.age
    top, _, path = name.partition(".")
    value = task.fields.get(top)
    if not path:
        return value
    return get_path(value if isinstance(value, dict) else None, path)


def _with(task: TestTask, values: Iterable[tuple[str, Value]]) -> TestTask | None:
    """Return the task with other values; None where no rules file could say so."""
    fields, age = dict(task.fields), task.age
    for name, value in sorted(values, key=lambda pair: pair[0].count(".")):
        top, _, path = name.partition(".")
        if value is None or isinstance(value, timedelta):
            age = value if name == "age" else age
            if path:
                fields[top] = _without(fields.get(top), path)
            elif name != "age":
                fields.pop(top, None)
        else:
            fields[top] = _put(fields.get(top), path, value) if path else value
    fields = {k: v for k, v in fields.items() if v != {} and v is not None}
    return TestTask(fields, age) if can_flow(fields) else None


def _put(metadata: Json, path: str, value: Json) -> Json:
    """Return metadata with this value at a dotted path."""
    inside = dict(metadata) if isinstance(metadata, dict) else {}
    first, dot, rest = path.partition(".")
    if path in inside or not dot:
        return inside | {path: value}
    return inside | {first: _put(inside.get(first), rest, value)}


def _without(metadata: Json, path: str) -> Json:
    """Return metadata with nothing at a dotted path."""
    inside = dict(metadata) if isinstance(metadata, dict) else {}
    first, dot, rest = path.partition(".")
    if path in inside or not dot:
        inside.pop(path, None)
    elif isinstance(inside.get(first), dict):
        inside[first] = _without(inside[first], rest)
    return inside


def _besides(
    task: TestTask, base: Example, duplicates: Sequence[Goal]
) -> Iterator[tuple[TestTask, ...]]:
    """Propose what is listed beside the task: for duplicates, equal tasks."""
    yield base.other_tasks
    keeps = {
        what.keep for what, yes in duplicates if yes and isinstance(what, DuplicateOf)
    }
    if not duplicates or task.age is None:
        return
    copies = [
        TestTask(task.fields, task.age + step)
        for keep, step in (
            (Keep.OLDEST, _BESIDE),
            (Keep.NEWEST, -rounded(task.age / 2)),
        )
        if keep in keeps
    ]
    if tuple(copies) != base.other_tasks:
        yield tuple(copies)
