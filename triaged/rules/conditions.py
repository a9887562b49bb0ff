"""The conditions that a match is made of: a closed set of value types.

``evaluate`` defines what a condition means, ``explain`` and ``describe`` present it to
people, and ``describe`` also gives its form in the rules file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta, tzinfo
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from triaged.rules.task import Json
from triaged.rules.words import WordIndex


class Pattern(Protocol):
    """A compiled pattern whose search time is linear in the length of the text."""

    @property
    def source(self) -> str:
        """The pattern as written."""

    def search(self, text: str, /) -> bool:
        """Return whether the pattern occurs anywhere in the text."""


# Rules files in different directories may name different lists alike.
ListId: TypeAlias = tuple[str, str]


class ListFile(NamedTuple):
    """The file that a list was read from, and the line number of each entry, from 1."""

    name: str
    sha256: str
    lines: tuple[int, ...] = ()

    @property
    def id(self) -> ListId:
        return self.name, self.sha256


class Keep(StrEnum):
    """Which of several duplicate tasks is kept."""

    OLDEST = "oldest"
    NEWEST = "newest"


class Ignore(StrEnum):
    """What is ignored when two descriptions are compared."""

    NUMBERS = "numbers"
    PUNCTUATION = "punctuation"


class Weekday(IntEnum):
    """A day of the week, numbered as ``datetime.weekday`` does."""

    MON = 0
    TUE = 1
    WED = 2
    THU = 3
    FRI = 4
    SAT = 5
    SUN = 6


class Hours(NamedTuple):
    """A part of the day without its end; it crosses midnight if that is not later."""

    start: time
    end: time

    def __contains__(self, moment: object) -> bool:
        if not isinstance(moment, time):
            return False
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end

    def __str__(self) -> str:
        """Format the range as in the rules file, for example ``18:00-08:00``."""
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True)
class TypeIn:
    """The task is of one of these types."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgeBetween:
    """The task is older than ``over`` and younger than ``under``, both strictly."""

    over: timedelta | None = None
    under: timedelta | None = None


@dataclass(frozen=True, slots=True)
class CreatedAt:
    """The task was created on one of these weekdays and in these hours, local time.

    The weekday is that of the creation time itself: 02:00 on a Sunday is Sunday, even
    within hours that began on Saturday evening.
    """

    zone: tzinfo
    timezone: str
    weekdays: tuple[Weekday, ...] = ()
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Equals:
    """The value equals this one and has the same JSON type."""

    value: Json


@dataclass(frozen=True, slots=True)
class In:
    """The value equals one of these, given in the rules or read from a file."""

    values: tuple[Json, ...]
    file: ListFile | None = None
    texts: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        texts = (value for value in self.values if isinstance(value, str))
        object.__setattr__(self, "texts", frozenset(texts))


@dataclass(frozen=True, slots=True)
class Regex:
    """The value is a string in which one of the patterns occurs."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The value is a string that contains one of these phrases as whole words."""

    phrases: tuple[str, ...]
    file: ListFile | None = None
    index: WordIndex = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", WordIndex(self.phrases))


@dataclass(frozen=True, slots=True)
class Blank:
    """The value is a blank string (or, if not ``expected``, one that is not blank)."""

    expected: bool


@dataclass(frozen=True, slots=True)
class GreaterThan:
    """The value is a number greater than this one."""

    bound: float


@dataclass(frozen=True, slots=True)
class LessThan:
    """The value is a number less than this one."""

    bound: float


@dataclass(frozen=True, slots=True)
class Missing:
    """The value is absent or null (or, if not ``expected``, neither)."""

    expected: bool


TextTest: TypeAlias = Equals | Regex | Words | Blank
MetadataTest: TypeAlias = (
    Equals | In | Regex | Words | Blank | GreaterThan | LessThan | Missing
)


@dataclass(frozen=True, slots=True)
class DescriptionIs:
    """A test of the description."""

    test: TextTest


@dataclass(frozen=True, slots=True)
class MetadataMatches:
    """A test of the metadata value at a dotted path."""

    path: str
    test: MetadataTest


@dataclass(frozen=True, slots=True)
class DuplicateOf:
    """Another pending task equals this one in these fields and is the one to keep.

    ``ignore`` and ``similarity`` apply to the comparison of descriptions only.
    """

    of: tuple[str, ...]
    keep: Keep = Keep.OLDEST
    ignore: tuple[Ignore, ...] = ()
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """All parts are true."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part is true."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part is false."""

    part: "Condition"


Leaf: TypeAlias = (
    TypeIn | DescriptionIs | AgeBetween | CreatedAt | MetadataMatches | DuplicateOf
)
Condition: TypeAlias = Leaf | AllOf | AnyOf | Not
T = TypeVar("T", bound=MetadataTest)


def iter_leaves(condition: Condition) -> Iterator[Leaf]:
    """Yield the leaves of a condition (the conditions without parts), in order."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from iter_leaves(part)
        case Not(part):
            yield from iter_leaves(part)
        case _:
            yield condition


def conjuncts(condition: Condition) -> tuple[Leaf | AnyOf | Not, ...]:
    """Return the conditions that must all be met for this one to be."""
    if not isinstance(condition, AllOf):
        return (condition,)
    return tuple(part for inner in condition.parts for part in conjuncts(inner))


def with_lists(
    condition: Condition, lists: Mapping[ListId, tuple[str, ...]]
) -> Condition:
    """Return a copy of the condition with these entries in place of the files."""
    match condition:
        case AllOf(parts):
            return AllOf(tuple(with_lists(part, lists) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(with_lists(part, lists) for part in parts))
        case Not(part):
            return Not(with_lists(part, lists))
        case DescriptionIs(test):
            return DescriptionIs(_with_list(test, lists))
        case MetadataMatches(path, test):
            return MetadataMatches(path, _with_list(test, lists))
        case _:
            return condition


def _with_list(test: T, lists: Mapping[ListId, tuple[str, ...]]) -> T:
    match test:
        case Words(file=ListFile() as file) | In(file=ListFile() as file) if (
            file.id in lists
        ):
            entries = lists[file.id]
            lines = tuple(range(1, len(entries) + 1))
            return type(test)(entries, ListFile(file.name, "", lines))
        case _:
            return test
