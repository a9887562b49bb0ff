"""The single conditions that a proposed rule may be made of, each with its rows."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Final, TypeAlias, TypeVar

from triaged.rules.conditions import (
    AgeBetween,
    Blank,
    Condition,
    DescriptionIs,
    Equals,
    GreaterThan,
    LessThan,
    MetadataMatches,
    Missing,
    Regex,
    TypeIn,
    Words,
)
from triaged.rules.evaluate import age_of, is_blank
from triaged.rules.patterns.re2_pattern import InvalidPatternError, compile_pattern
from triaged.rules.task import Json, Task, is_number, is_unreadable
from triaged.rules.words import fold
from triaged.triage.suggest.history import DUPLICATE, History, rows_where

# A condition that holds for fewer dismissed tasks is not worth a look; of those that
# hold for more, the most frequent are tried.
MIN_DISMISSED: Final = 8
MAX_CANDIDATES: Final = 2_000

# Texts are read as far as this, and values as long as this are compared as a whole.
_READ: Final = 2_000
_LONGEST_VALUE: Final = 80
_PREFIX_WORDS: Final = 3
_MAX_DEPTH: Final = 3
# Beyond this a number is no longer exact everywhere, and no bound that people think of.
LARGEST: Final = 1e15
# How many bounds are tried for a number, at most.
_CUTS: Final = 48

_WORD: Final = re.compile(r"\w+")
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_TYPE: Final = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")

_Value = TypeVar("_Value", int | float, timedelta)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A condition, and the rows that it holds for."""

    condition: Condition
    rows: int


def find_candidates(history: History) -> list[Candidate]:
    """Return the conditions that hold for enough dismissed tasks, without repetitions.

    Of conditions that hold for the very same tasks, the narrower in words stays.
    """
    wanted = history.searched & history.unexplained
    size = len(history.rows)
    found: dict[int, tuple[Candidate, int]] = {}
    for condition, rows in _all(history):
        chosen = rows if isinstance(rows, int) else rows_where(size, rows)
        count = (chosen & wanted).bit_count()
        if count < MIN_DISMISSED or chosen.bit_count() == size:
            continue
        candidate = condition() if callable(condition) else condition
        if candidate is not None:
            found.setdefault(chosen, (Candidate(candidate, chosen), count))
    kept = sorted(found.values(), key=lambda pair: -pair[1])[:MAX_CANDIDATES]
    return [candidate for candidate, _ in kept]


def _all(
    history: History,
) -> "Iterator[tuple[Condition | _Later, int | Sequence[int]]]":
    copies = list(history.earlier_copies)
    index, numbers = _index(history)
    for kind in ("type", "prefix", "phrase", "blank", "word", "equals", "present"):
        for key, rows in index[kind].items():
            if len(rows) >= MIN_DISMISSED:
                yield _Later(kind, key), rows
    for path, rows in index["present"].items():
        present = rows_where(len(history.rows), rows)
        everything = history.searched | history.verified
        yield MetadataMatches(str(path), Missing(expected=True)), everything & ~present
    for path, values in numbers.items():
        yield from _bounds(path, values)
    ages = [
        (age, row)
        for row, one in enumerate(history.rows)
        if one.seen_at and (age := age_of(one.task, one.seen_at)) is not None
    ]
    yield from _age_bounds(ages)
    yield DUPLICATE, copies


@dataclass(frozen=True, slots=True)
class _Later:
    """A condition that is built once it is known to hold for enough tasks."""

    kind: str
    key: Hashable

    def __call__(self) -> Condition | None:
        match self.kind, self.key:
            case "type", str(name):
                return TypeIn((name,)) if _TYPE.fullmatch(name) else None
            case "prefix", str(text):
                return _prefix(text)
            case (("phrase" | "word"), str(text)):
                return DescriptionIs(Words((text,)))
            case "blank", "":
                return DescriptionIs(Blank(expected=True))
            case "blank", str(path):
                return MetadataMatches(path, Blank(expected=True))
            case "equals", (str(path), _, (str() | int()) as value):
                return MetadataMatches(path, Equals(value))
            case "present", str(path):
                return MetadataMatches(path, Missing(expected=False))
            case _:
                return None


def _prefix(pattern: str) -> Condition | None:
    try:
        return DescriptionIs(Regex((compile_pattern(pattern),)))
    except InvalidPatternError:
        return None  # a rules file would refuse it too, so it cannot be proposed


_Index: TypeAlias = dict[str, dict[Hashable, list[int]]]
_Numbers: TypeAlias = dict[str, list[tuple[int | float, int]]]


def _index(history: History) -> tuple[_Index, _Numbers]:
    index: _Index = defaultdict(lambda: defaultdict(list))
    numbers: _Numbers = defaultdict(list)
    for row, one in enumerate(history.rows):
        for kind, key in set(_facts(one.task)):
            index[kind][key].append(row)
        for path, value in _values(one.task.metadata or {}):
            if is_number(value) and abs(value) < LARGEST:
                numbers[path].append((value, row))
    return index, numbers


def _facts(task: Task) -> Iterator[tuple[str, Hashable]]:
    if task.type is not None:
        yield "type", task.type
    if task.description is not None:
        yield from _text_facts(task.description[:_READ])
    for path, value in _values(task.metadata or {}):
        yield "present", path
        match value:
            case str() if is_blank(value):
                yield "blank", path
            case str() if len(value) <= _LONGEST_VALUE and value.isprintable():
                yield "equals", (path, "text", value)
            case bool():
                yield "equals", (path, "boolean", value)
            case int() if abs(value) < LARGEST:
                yield "equals", (path, "number", value)
            case _:
                pass


def _text_facts(text: str) -> Iterator[tuple[str, Hashable]]:
    if is_blank(text):
        yield "blank", ""
        return
    folded = fold(text)
    before: re.Match[str] | None = None
    for found in _WORD.finditer(folded):
        if _is_word(found[0]):
            yield "word", found[0]
            adjacent = before is not None and before.end() == found.start() - 1
            if before is not None and adjacent and folded[before.end()] == " ":
                yield "phrase", f"{before[0]} {found[0]}"
            before = found
        else:
            before = None
    pattern = r"^\s*"
    for chunk in text.split(None, _PREFIX_WORDS)[:_PREFIX_WORDS]:
        if not chunk.isprintable() or any(map(str.isdigit, chunk)):
            break
        pattern += _SPECIAL.sub(r"\\\g<0>", chunk)
        yield "prefix", pattern + r"(?:\s|$)"
        pattern += r"\s+"


def _is_word(text: str) -> bool:
    return not any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _values(
    metadata: Mapping[str, Json], path: str = "", depth: int = 1
) -> Iterator[tuple[str, Json]]:
    """Give the values that are there, by the paths at which the rules look for them."""
    for key, value in metadata.items():
        if value is None or is_unreadable(value) or not _PATH.fullmatch(key):
            continue
        whole = f"{path}{key}"
        yield whole, value
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _values(value, f"{whole}.", depth + 1)


def _bounds(
    path: str, values: list[tuple[int | float, int]]
) -> Iterator[tuple[Condition, int]]:
    for below, above, under, over in _cuts(values):
        bound = _round_number(Fraction(below), Fraction(above))
        if bound is not None:
            yield MetadataMatches(path, GreaterThan(bound)), over
        bound = _round_number(Fraction(below), Fraction(above), open_below=True)
        if bound is not None:
            yield MetadataMatches(path, LessThan(bound)), under


def _age_bounds(
    ages: list[tuple[timedelta, int]],
) -> Iterator[tuple[Condition, int]]:
    for below, above, under, over in _cuts(ages):
        for unit in (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)):
            bound = -(-below // unit) * unit
            if timedelta(0) < bound < above:
                yield AgeBetween(over=bound), over
                if bound > below:
                    yield AgeBetween(under=bound), under
                break


def _cuts(
    values: list[tuple[_Value, int]],
) -> Iterator[tuple[_Value, _Value, int, int]]:
    """Give neighbouring values with the rows up to the one and from the other on."""
    if not values:
        return
    values.sort(key=lambda pair: pair[0])
    size = max(row for _, row in values) + 1
    ordered = [value for value, _ in values]
    distinct = sorted(set(ordered))
    step = max(1, len(ordered) // _CUTS)
    wanted = distinct
    if len(distinct) > _CUTS:
        wanted = sorted({ordered[at] for at in range(0, len(ordered), step)})
    for below in wanted:
        at = bisect_right(ordered, below)
        if at < len(ordered):
            under = rows_where(size, (row for _, row in values[:at]))
            over = rows_where(size, (row for _, row in values[at:]))
            yield below, ordered[at], under, over


def _round_number(
    below: Fraction, above: Fraction, *, open_below: bool = False
) -> int | float | None:
    """Return the roundest number from one to below another."""
    for power in range(12, -7, -1):
        step = Fraction(10) ** power
        bound = -(-below // step) * step
        if open_below and bound == below:
            bound += step
        if bound < above or (open_below and bound == above):
            # "over" leaves its bound out, and so does "under".
            return int(bound) if bound.denominator == 1 else float(bound)
    return None
