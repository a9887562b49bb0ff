"""Finds rules that can never apply because an earlier rule is wider.

The comparison is syntactic: every finding is certain, but some unreachable rules are
not found.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from triaged.rules.conditions import (
    AgeBetween,
    AnyOf,
    Condition,
    DescriptionIs,
    Equals,
    GreaterThan,
    In,
    LessThan,
    MetadataMatches,
    MetadataTest,
    Regex,
    TypeIn,
    Words,
    conjuncts,
)
from triaged.rules.describe import canonical_json, condition_to_json
from triaged.rules.rule import Mode
from triaged.rules.task import Json, json_equal
from triaged.rules.words import fold
from triaged.rulesfile.document import LocatedRule

_Parts: TypeAlias = tuple[Condition, ...]


def find_unreachable(
    rules: Sequence[LocatedRule],
) -> Iterator[tuple[LocatedRule, LocatedRule]]:
    """Yield each rule that can never apply, with the first earlier, wider rule."""
    earlier: dict[str, list[tuple[int, LocatedRule, _Parts]]] = defaultdict(list)
    for index, placed in enumerate(rules):
        rule, parts = placed.rule, conjuncts(placed.rule.match)
        if rule.mode is Mode.OFF:
            continue
        candidates = [one for key in set(_keys(parts)) for one in earlier[key]]
        wider = (
            (number, other)
            for number, other, wanted in candidates
            # A leave rule also applies to unknown results, a dismiss rule does not.
            if (rule.reason is not None or other.rule.reason is None)
            and subsumes(parts, wanted)
        )
        found = min(wider, key=lambda pair: pair[0], default=None)
        if found is not None:
            yield placed, found[1]
        if rule.mode is Mode.ENFORCE:
            for key in _index_keys(parts):
                earlier[key].append((index, placed, parts))


def subsumes(parts: _Parts, wanted: _Parts) -> bool:
    """Return whether the conjunction ``parts`` provably implies ``wanted``.

    This also holds for "not false": ``wanted`` is false only if one of ``parts`` is.
    """
    return all(
        any(_subsumed_by(part, want) for part in parts)
        or (
            isinstance(want, AnyOf)
            and any(subsumes(parts, conjuncts(option)) for option in want.parts)
        )
        for want in wanted
    )


def _subsumed_by(part: Condition, want: Condition) -> bool:
    match part, want:
        case TypeIn(types), TypeIn(wanted):
            return set(types) <= set(wanted)
        case AgeBetween(over, under), AgeBetween(least, most):
            older = least is None or (over is not None and over >= least)
            return older and (most is None or (under is not None and under <= most))
        case MetadataMatches(path, test), MetadataMatches(wanted_path, wanted_test):
            return path == wanted_path and _narrower(test, wanted_test)
        case DescriptionIs(test), DescriptionIs(wanted_test):
            return _narrower(test, wanted_test)
        case _:
            return _form(part) == _form(want)


def _narrower(test: MetadataTest, want: MetadataTest) -> bool:
    match test, want:
        case GreaterThan(bound), GreaterThan(wanted):
            return bound >= wanted
        case LessThan(bound), LessThan(wanted):
            return bound <= wanted
        case Regex(patterns), Regex(wanted_patterns):
            return set(patterns) <= set(wanted_patterns)
        case ((Equals() | In()), (Equals() | In())):
            options = _options(want)
            return all(
                any(json_equal(value, option) for option in options)
                for value in _options(test)
            )
        case Words(phrases, None), Words(wanted_phrases, None):
            return set(map(fold, phrases)) <= set(map(fold, wanted_phrases))
        case _:
            return test == want


def _options(test: Equals | In) -> Sequence[Json]:
    return (test.value,) if isinstance(test, Equals) else test.values


# To avoid comparing every pair of a thousand rules, a rule is indexed under the keys of
# its most selective part; any rule that it subsumes has at least one of these keys.


def _index_keys(parts: _Parts) -> set[str]:
    best = min(parts, key=_selectivity)
    if isinstance(best, AnyOf):
        options = (_index_keys(conjuncts(option)) for option in best.parts)
        return set().union(*options)
    return set(_keys((best,)))


def _selectivity(part: Condition) -> int:
    match part:
        case DescriptionIs(Regex()) | MetadataMatches(_, Equals() | In()):
            return 0
        case MetadataMatches():
            return 1
        case TypeIn():
            return 3
        case AgeBetween():
            return 4
        case _:
            return 2


def _keys(parts: _Parts) -> Iterator[str]:
    for part in parts:
        match part:
            case TypeIn(types):
                yield from (f"type {name}" for name in types)
            case DescriptionIs(Regex(patterns)):
                yield from (f"description {pattern.source}" for pattern in patterns)
            case MetadataMatches(path, (Equals() | In()) as test):
                yield from (f"{path} is {_key(value)}" for value in _options(test))
            case MetadataMatches(path, test):
                yield f"{path} {type(test).__name__}"
            case DescriptionIs(test):
                yield f"description {type(test).__name__}"
            case AgeBetween():
                yield "age"
            case AnyOf(options):
                for option in options:
                    yield from _keys(conjuncts(option))
            case _:
                yield _form(part)


def _key(value: Json) -> str:
    return repr(float(value)) if isinstance(value, int) else repr(value)


def _form(condition: Condition) -> str:
    return canonical_json(condition_to_json(condition))
