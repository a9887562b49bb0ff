"""Values for one field of a task that conditions about it might want, or might not.

The values at the edge come first: where one just fails, or just does, tests are worth
most.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice, product
from typing import Final, TypeAlias

from triaged.rules.conditions import (
    AgeBetween,
    Condition,
    DescriptionMatches,
    Equals,
    GreaterThan,
    In,
    LessThan,
    MetadataMatches,
    Missing,
    Pattern,
    Regex,
    TypeIn,
)
from triaged.rules.patterns.samples import near_misses, samples
from triaged.rules.task import Json, is_number

Value: TypeAlias = "Json | timedelta"
Goal: TypeAlias = tuple[Condition, bool]

ORDINARY_TEXT: Final = "Find 20 lawyers in Munich"
_TEXTS: Final = (ORDINARY_TEXT, "Update the Miller contact", "42", "x")
_STEPS: Final = tuple(
    timedelta(**{unit: sign})
    for unit in ("days", "hours", "minutes", "seconds")
    for sign in (1, -1)
)
_AGES: Final = tuple(map(timedelta, (30, 1, 400)))
# Conditions may name greater ages, but nobody's tasks have them.
_OLDEST: Final = timedelta(days=365 * 100)
_PER_PATTERN: Final = 6
_MOST_JOINED: Final = 24


def propose(field: str, goals: Sequence[Goal], types: Sequence[str]) -> Iterator[Value]:
    """Propose values for the field that all of these goals are about."""
    match field:
        case "type":
            named = (what.types for what, _ in goals if isinstance(what, TypeIn))
            yield from (name for names in named for name in names)
            yield from types
        case "age":
            yield from _ages(what for what, _ in goals if isinstance(what, AgeBetween))
        case "description":
            yield from _texts(
                [
                    (what.patterns, wanted)
                    for what, wanted in goals
                    if isinstance(what, DescriptionMatches)
                ]
            )
        case _:
            yield from _metadata(goals)


def _ages(conditions: Iterable[AgeBetween]) -> Iterator[timedelta]:
    bounds = [
        bound for c in conditions for bound in (c.over, c.under) if bound is not None
    ]
    proposed = [*bounds, *(b + step for b in bounds for step in _STEPS), *_AGES]
    yield from (age for age in proposed if timedelta(0) <= age <= _OLDEST)


def _texts(wanted: Sequence[tuple[tuple[Pattern, ...], bool]]) -> Iterator[str]:
    """Propose texts with one of each wanted list of patterns, and none of the others.

    ``wanted`` says of each list whether one of its patterns must occur, or none may.
    """
    options = [list(_sampled(patterns)) for patterns, yes in wanted if yes]
    for texts in options:
        yield from texts
    if len(options) > 1:
        for parts in islice(product(*options), _MOST_JOINED):
            yield " ".join(parts)
    yield from _TEXTS
    for texts in options:
        for text in texts[:_PER_PATTERN]:
            yield f"{ORDINARY_TEXT} {text}"
            yield from near_misses(text)
    for patterns, yes in wanted:
        if not yes:
            for text in islice(_sampled(patterns), 1):
                yield from near_misses(text)


def _sampled(patterns: Sequence[Pattern]) -> Iterator[str]:
    for pattern in patterns:
        found = (text for text in samples(pattern.source) if pattern.search(text))
        yield from islice(found, _PER_PATTERN)


def _metadata(goals: Sequence[Goal]) -> Iterator[Json]:
    tests = [(c.test, wanted) for c, wanted in goals if isinstance(c, MetadataMatches)]
    searches = [(t.patterns, yes) for t, yes in tests if isinstance(t, Regex)]
    if searches:
        yield from _texts(searches)
    for test, _ in tests:
        match test:
            case Equals(value):
                yield value
                yield from _others(value)
            case In(values):
                yield from values
                yield from _others(values[0])
            case GreaterThan(bound) | LessThan(bound):
                yield from _around(bound)
            case Missing() | Regex():
                pass
    yield None
    yield from ("something", 1, True)


def _others(value: Json) -> Iterator[Json]:
    """Propose values of the same type that are not this one."""
    if isinstance(value, bool):
        yield not value
    elif is_number(value):
        yield from _around(value)
    yield from ("other", "another")


def _around(bound: float) -> Iterator[float]:
    number = int(bound) if bound == int(bound) else bound
    yield from (number, number + 1, number - 1, number * 2, number + 0.5, number - 0.5)
