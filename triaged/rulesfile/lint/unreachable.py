"""Which rules can never act because an earlier one is plainly wider.

Plainly: seen from the conditions as written.  What this finds is certain; that there
is nothing else is not.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from triaged.rules.conditions import (
    Aged,
    All,
    AnyOf,
    Condition,
    Described,
    Equals,
    Matches,
    Metadata,
    Missing,
    OneOf,
    Over,
    Test,
    TypeIs,
    Under,
)
from triaged.rules.rule import Mode
from triaged.rules.task import Json, equal
from triaged.rulesfile.document import PlacedRule

_Parts: TypeAlias = tuple[Condition, ...]


def find_unreachable(
    rules: Sequence[PlacedRule],
) -> Iterator[tuple[PlacedRule, PlacedRule]]:
    """Give each rule that cannot act, with the first earlier one that is wider."""
    earlier: dict[str, list[tuple[int, PlacedRule, _Parts]]] = defaultdict(list)
    for index, placed in enumerate(rules):
        rule, parts = placed.rule, _conjuncts(placed.rule.match)
        if rule.mode is Mode.OFF:
            continue
        candidates = [one for key in set(_keys(parts)) for one in earlier[key]]
        wider = (
            (number, other)
            for number, other, wanted in candidates
            # A leave rule acts on unknown too, where a dismiss rule lets it pass.
            if (rule.reason is not None or other.rule.reason is None)
            and implies(parts, wanted)
        )
        found = min(wider, key=lambda pair: pair[0], default=None)
        if found is not None:
            yield placed, found[1]
        if rule.mode is Mode.ENFORCE:
            for key in _filing_keys(parts):
                earlier[key].append((index, placed, parts))


def implies(parts: _Parts, wanted: _Parts) -> bool:
    """Say whether tasks that meet all the parts plainly meet all that is wanted.

    It holds for "not false" as well: what is wanted is false only where a part is.
    """
    return all(
        any(_is_within(part, want) for part in parts)
        or (
            isinstance(want, AnyOf)
            and any(implies(parts, _conjuncts(option)) for option in want.parts)
        )
        for want in wanted
    )


def _conjuncts(condition: Condition) -> _Parts:
    if not isinstance(condition, All):
        return (condition,)
    return tuple(part for inner in condition.parts for part in _conjuncts(inner))


def _is_within(part: Condition, want: Condition) -> bool:
    match part, want:
        case TypeIs(types), TypeIs(wanted):
            return set(types) <= set(wanted)
        case Described(patterns), Described(wanted_patterns):
            return set(patterns) <= set(wanted_patterns)
        case Aged(over, under), Aged(least, most):
            older = least is None or (over is not None and over >= least)
            return older and (most is None or (under is not None and under <= most))
        case Metadata(path, test), Metadata(wanted_path, wanted_test):
            return path == wanted_path and _is_tighter(test, wanted_test)
        case _:
            # The texts tell true from 1, which are equal to Python.
            return part == want and repr(part) == repr(want)


def _is_tighter(test: Test, want: Test) -> bool:
    match test, want:
        case Over(bound), Over(wanted):
            return bound >= wanted
        case Under(bound), Under(wanted):
            return bound <= wanted
        case Matches(patterns), Matches(wanted_patterns):
            return set(patterns) <= set(wanted_patterns)
        case ((Equals() | OneOf()), (Equals() | OneOf())):
            options = _options(want)
            return all(
                any(equal(value, option) for option in options)
                for value in _options(test)
            )
        case Missing(one), Missing(other):
            return one == other
        case _:
            return False


def _options(test: Equals | OneOf) -> Sequence[Json]:
    return (test.value,) if isinstance(test, Equals) else test.values


# With a thousand rules not every pair is compared: a wider rule is filed under the keys
# of its choosiest part, and a rule within it has at least one of them.


def _filing_keys(parts: _Parts) -> set[str]:
    best = min(parts, key=_choosiness)
    if isinstance(best, AnyOf):
        options = (_filing_keys(_conjuncts(option)) for option in best.parts)
        return set().union(*options)
    return set(_keys((best,)))


def _choosiness(part: Condition) -> int:
    match part:
        case Described() | Metadata(_, Equals() | OneOf()):
            return 0
        case Metadata():
            return 1
        case TypeIs():
            return 3
        case Aged():
            return 4
        case _:
            return 2


def _keys(parts: _Parts) -> Iterator[str]:
    for part in parts:
        match part:
            case TypeIs(types):
                yield from (f"type {name}" for name in types)
            case Described(patterns):
                yield from (f"description {pattern.source}" for pattern in patterns)
            case Metadata(path, (Equals() | OneOf()) as test):
                yield from (f"{path} is {_key(value)}" for value in _options(test))
            case Metadata(path, test):
                yield f"{path} {type(test).__name__}"
            case Aged():
                yield "age"
            case AnyOf(options):
                for option in options:
                    yield from _keys(_conjuncts(option))
            case _:
                yield repr(part)


def _key(value: Json) -> str:
    return repr(float(value)) if isinstance(value, int) else repr(value)
