"""Whether a condition holds, in three values.

``True``, ``False`` or ``None`` for unknown, combined by Kleene's strong logic.  This is
the meaning of the rules language; everything faster must agree with it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionMatches,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    LessThan,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Pattern,
    Regex,
    TypeIn,
)
from triaged.rules.context import EvaluationContext
from triaged.rules.task import Json, Task, is_number, json_equal

TriState: TypeAlias = bool | None


def evaluate(condition: Condition, task: Task, context: EvaluationContext) -> TriState:
    """Say whether the condition holds for the task; None when that is unknown."""
    match condition:
        case TypeIn(types):
            return None if task.type is None else task.type in types
        case DescriptionMatches(patterns):
            return _any_match(patterns, task.description)
        case AgeBetween(over, under):
            return _aged(task, context.now, over, under)
        case MetadataMatches(path, test):
            return _evaluate_test(test, get_path(task.metadata, path))
        case DuplicateOf():
            return (
                None
                if task.id is None
                else context.is_duplicate[condition].get(task.id)
            )
        case AllOf(parts):
            return kleene_all(evaluate(part, task, context) for part in parts)
        case AnyOf(parts):
            return kleene_any(evaluate(part, task, context) for part in parts)
        case Not(part):
            return kleene_not(evaluate(part, task, context))
        case _:
            assert_never(condition)


def age_of(task: Task, now: datetime) -> timedelta | None:
    """Return how old the task is; None when absent or in the future."""
    if task.created_at is None or task.created_at > now:
        return None
    return now - task.created_at


def get_path(metadata: Mapping[str, Json] | None, path: str) -> Json:
    """Return the value at a dotted path; None when absent, as for null."""
    if metadata is None:
        return None
    if path in metadata:
        return metadata[path]
    first, *rest = path.split(".")
    value = metadata.get(first)
    for key in rest:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _any_match(patterns: tuple[Pattern, ...], text: str | None) -> TriState:
    if text is None:
        return None
    return any(pattern.search(text) for pattern in patterns)


def _aged(
    task: Task, now: datetime, over: timedelta | None, under: timedelta | None
) -> TriState:
    age = age_of(task, now)
    if age is None:
        return None
    return (over is None or age > over) and (under is None or age < under)


def _evaluate_test(test: MetadataTest, value: Json) -> TriState:
    if isinstance(test, Missing):
        return (value is None) is test.expected
    if value is None:
        return None
    match test:
        case Equals(wanted):
            return json_equal(value, wanted)
        case In(values):
            return any(json_equal(value, wanted) for wanted in values)
        case Regex(patterns):
            return _any_match(patterns, value if isinstance(value, str) else None)
        case GreaterThan(bound):
            return value > bound if is_number(value) else None
        case LessThan(bound):
            return value < bound if is_number(value) else None
        case _:
            assert_never(test)


def kleene_all(truths: Iterable[TriState]) -> TriState:
    """Return the conjunction: one false decides, else one unknown clouds."""
    answer: TriState = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            answer = None
    return answer


def kleene_any(truths: Iterable[TriState]) -> TriState:
    """Return the disjunction: one true decides, else one unknown clouds."""
    answer: TriState = False
    for truth in truths:
        if truth is True:
            return True
        if truth is None:
            answer = None
    return answer


def kleene_not(truth: TriState) -> TriState:
    """Return the negation; unknown stays unknown."""
    return None if truth is None else not truth
