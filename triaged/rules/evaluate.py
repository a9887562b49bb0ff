"""Whether a condition holds, in three values.

``True``, ``False`` or ``None`` for unknown, combined by Kleene's strong logic.  This is
the meaning of the rules language; everything faster must agree with it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from triaged.rules.conditions import (
    Aged,
    All,
    AnyOf,
    Condition,
    Described,
    Duplicate,
    Equals,
    Matches,
    Metadata,
    Missing,
    Not,
    OneOf,
    Over,
    Pattern,
    Test,
    TypeIs,
    Under,
)
from triaged.rules.context import Listing
from triaged.rules.task import Json, Task, equal, is_number

Truth: TypeAlias = bool | None


def holds(condition: Condition, task: Task, listing: Listing) -> Truth:
    """Say whether the condition holds for the task; None when that is unknown."""
    match condition:
        case TypeIs(types):
            return None if task.type is None else task.type in types
        case Described(patterns):
            return _found(patterns, task.description)
        case Aged(over, under):
            return _aged(task, listing.now, over, under)
        case Metadata(path, test):
            return _passes(test, look_up(task.metadata, path))
        case Duplicate():
            return None if task.id is None else listing.spare[condition].get(task.id)
        case All(parts):
            return kleene_all(holds(part, task, listing) for part in parts)
        case AnyOf(parts):
            return kleene_any(holds(part, task, listing) for part in parts)
        case Not(part):
            return kleene_not(holds(part, task, listing))
        case _:
            assert_never(condition)


def age_of(task: Task, now: datetime) -> timedelta | None:
    """Return how old the task is; None when absent or in the future."""
    if task.created_at is None or task.created_at > now:
        return None
    return now - task.created_at


def look_up(metadata: Mapping[str, Json] | None, path: str) -> Json:
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


def _found(patterns: tuple[Pattern, ...], text: str | None) -> Truth:
    if text is None:
        return None
    return any(pattern.search(text) for pattern in patterns)


def _aged(
    task: Task, now: datetime, over: timedelta | None, under: timedelta | None
) -> Truth:
    age = age_of(task, now)
    if age is None:
        return None
    return (over is None or age > over) and (under is None or age < under)


def _passes(test: Test, value: Json) -> Truth:
    if isinstance(test, Missing):
        return (value is None) is test.wanted
    if value is None:
        return None
    match test:
        case Equals(wanted):
            return equal(value, wanted)
        case OneOf(values):
            return any(equal(value, wanted) for wanted in values)
        case Matches(patterns):
            return _found(patterns, value if isinstance(value, str) else None)
        case Over(bound):
            return value > bound if is_number(value) else None
        case Under(bound):
            return value < bound if is_number(value) else None
        case _:
            assert_never(test)


def kleene_all(truths: Iterable[Truth]) -> Truth:
    """Return the conjunction: one false decides, else one unknown clouds."""
    answer: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            answer = None
    return answer


def kleene_any(truths: Iterable[Truth]) -> Truth:
    """Return the disjunction: one true decides, else one unknown clouds."""
    answer: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if truth is None:
            answer = None
    return answer


def kleene_not(truth: Truth) -> Truth:
    """Return the negation; unknown stays unknown."""
    return None if truth is None else not truth
