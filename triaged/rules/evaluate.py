"""Evaluates a condition on a task, in three-valued logic.

Results are ``True``, ``False`` or ``None`` for unknown, combined by Kleene's strong
logic. This module defines the meaning of the rules language; faster implementations
must agree with it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import TypeAlias, assert_never

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Blank,
    Condition,
    CreatedAt,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    LessThan,
    ListFile,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Regex,
    TypeIn,
    Words,
)
from triaged.rules.context import EvaluationContext
from triaged.rules.task import (
    REPLACEMENT,
    Json,
    Task,
    get_path,
    is_number,
    is_unreadable,
    json_equal,
)

TriState: TypeAlias = bool | None


def evaluate(  # noqa: C901 (one case for each condition)
    condition: Condition, task: Task, context: EvaluationContext
) -> TriState:
    """Return whether the condition is true for the task; None if that is unknown."""
    match condition:
        case TypeIn(types):
            return None if task.type is None else task.type in types
        case DescriptionIs(test):
            return _evaluate_test(test, task.description)
        case AgeBetween(over, under):
            return _aged(task, context.now, over, under)
        case CreatedAt():
            return _created(condition, task, context.now)
        case MetadataMatches(path, test):
            return _evaluate_test(test, get_path(task.metadata, path))
        case DuplicateOf():
            if task.id is None:
                return None
            return context.is_duplicate[condition].get(task.id)
        case AllOf(parts):
            return kleene_all(evaluate(part, task, context) for part in parts)
        case AnyOf(parts):
            return kleene_any(evaluate(part, task, context) for part in parts)
        case Not(part):
            return kleene_not(evaluate(part, task, context))
        case _:
            assert_never(condition)


def age_of(task: Task, now: datetime) -> timedelta | None:
    """Return the age of the task; None if its creation time is absent or ahead."""
    if task.created_at is None or task.created_at > now:
        return None
    return now - task.created_at


def _aged(
    task: Task, now: datetime, over: timedelta | None, under: timedelta | None
) -> TriState:
    age = age_of(task, now)
    if age is None:
        return None
    return (over is None or age > over) and (under is None or age < under)


def local_time(task: Task, zone: tzinfo, now: datetime) -> datetime | None:
    """Return the creation time in a time zone; None where ``age_of`` is None."""
    if task.created_at is None or task.created_at > now:
        return None
    try:
        return task.created_at.astimezone(zone)
    except OverflowError:  # on the first and the last day of the calendar
        return None


def _created(condition: CreatedAt, task: Task, now: datetime) -> TriState:
    moment = local_time(task, condition.zone, now)
    if moment is None:
        return None
    weekdays, hours = condition.weekdays, condition.hours
    return (not weekdays or moment.weekday() in weekdays) and (
        hours is None or moment.time() in hours
    )


def _evaluate_test(  # noqa: C901, PLR0912 (one case for each test)
    test: MetadataTest, value: Json
) -> TriState:
    if is_unreadable(value):
        return None
    if isinstance(test, Missing):
        return (value is None) is test.expected
    if value is None:
        return None
    match test:
        case Equals(wanted):
            return json_equal(value, wanted)
        case In(file=ListFile(), texts=texts):
            # Lists from files are long and contain strings only, so a set lookup is
            # enough.
            if isinstance(value, str) and REPLACEMENT in value:
                return None
            return isinstance(value, str) and value in texts
        case In(values):
            return kleene_any(json_equal(value, wanted) for wanted in values)
        case Regex(patterns):
            if not isinstance(value, str):
                return None
            return any(pattern.search(value) for pattern in patterns)
        case Words(index=index):
            return index.find(value) is not None if isinstance(value, str) else None
        case Blank(expected):
            return is_blank(value) is expected if isinstance(value, str) else None
        case GreaterThan(bound):
            return value > bound if is_number(value) else None
        case LessThan(bound):
            return value < bound if is_number(value) else None
        case _:
            assert_never(test)


def is_blank(text: str) -> bool:
    """Return whether a text is empty or white space only."""
    return not text.strip()


def kleene_all(truths: Iterable[TriState]) -> TriState:
    """Return the conjunction: False if any is false, else None if any is unknown."""
    answer: TriState = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            answer = None
    return answer


def kleene_any(truths: Iterable[TriState]) -> TriState:
    """Return the disjunction: True if any is true, else None if any is unknown."""
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
