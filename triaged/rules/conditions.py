"""What a match may say of a task: the closed set of conditions, as values.

What a condition means is in ``evaluate``; what people read of it is in ``explain`` and
``sentence``, and its form in the rules file in ``canonical``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import time, timedelta, tzinfo
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from triaged.rules.task import Json
from triaged.rules.words import WordIndex


class Pattern(Protocol):
    """A compiled search that takes time linear in the text."""

    @property
    def source(self) -> str:
        """The pattern as written."""
        ...

    def search(self, text: str, /) -> bool:
        """Say whether the pattern occurs anywhere in the text."""
        ...


class ListFile(NamedTuple):
    """The file that a list was read from, and the line of each entry."""

    name: str
    sha256: str
    lines: tuple[int, ...] = ()


class Keep(StrEnum):
    """Which of several equal tasks stays."""

    OLDEST = "oldest"
    NEWEST = "newest"


class Ignore(StrEnum):
    """What of a description does not count when it is compared with another."""

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
    """A part of the day: its start included, its end not.

    Where the end is not later than the start, it runs across midnight.
    """

    start: time
    end: time

    def __contains__(self, moment: object) -> bool:
        """Say whether a time of day lies within."""
        if not isinstance(moment, time):
            return False
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end

    def __str__(self) -> str:
        """Write them as the rules file does."""
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True)
class TypeIn:
    """The task is of one of these types."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DescriptionMatches:
    """One of the patterns occurs in the description."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class AgeBetween:
    """The task is older than ``over`` and younger than ``under``, both strictly."""

    over: timedelta | None = None
    under: timedelta | None = None


@dataclass(frozen=True, slots=True)
class CreatedAt:
    """The task was created on such a day, at such a time, by a local clock.

    A moment belongs to the day on which that clock showed it: 02:00 on a Sunday is
    Sunday, though hours that began on Saturday evening may hold for it.
    """

    zone: tzinfo
    timezone: str
    weekdays: tuple[Weekday, ...] = ()
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Equals:
    """The value is this one, of the same JSON type."""

    value: Json


@dataclass(frozen=True, slots=True)
class In:
    """The value is one of these, written in the rules or read from a file."""

    values: tuple[Json, ...]
    file: ListFile | None = None
    texts: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        texts = (value for value in self.values if isinstance(value, str))
        object.__setattr__(self, "texts", frozenset(texts))


@dataclass(frozen=True, slots=True)
class Regex:
    """The value is a text in which one of the patterns occurs."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The value is a text in which one of these words or phrases stands as a whole."""

    phrases: tuple[str, ...]
    file: ListFile | None = None
    index: WordIndex = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", WordIndex(self.phrases))


@dataclass(frozen=True, slots=True)
class Blank:
    """The value is a text without a visible character (or, if not, with one)."""

    expected: bool


@dataclass(frozen=True, slots=True)
class GreaterThan:
    """The value is a number above this one."""

    bound: float


@dataclass(frozen=True, slots=True)
class LessThan:
    """The value is a number below this one."""

    bound: float


@dataclass(frozen=True, slots=True)
class Missing:
    """The value is absent or null (or, when not ``wanted``, is neither)."""

    expected: bool


TextTest: TypeAlias = Equals | Words | Blank
MetadataTest: TypeAlias = (
    Equals | In | Regex | Words | Blank | GreaterThan | LessThan | Missing
)


@dataclass(frozen=True, slots=True)
class DescriptionIs:
    """A test on the description; patterns have a condition of their own."""

    test: TextTest


@dataclass(frozen=True, slots=True)
class MetadataMatches:
    """A test on the metadata value at a dotted path."""

    path: str
    test: MetadataTest


@dataclass(frozen=True, slots=True)
class DuplicateOf:
    """Another pending task has the same texts here, and is the one to keep.

    ``ignore`` and ``similarity`` loosen how descriptions are compared, and those alone.
    """

    of: tuple[str, ...]
    keep: Keep = Keep.OLDEST
    ignore: tuple[Ignore, ...] = ()
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Condition"


Leaf: TypeAlias = (
    TypeIn
    | DescriptionMatches
    | DescriptionIs
    | AgeBetween
    | CreatedAt
    | MetadataMatches
    | DuplicateOf
)
Condition: TypeAlias = Leaf | AllOf | AnyOf | Not


def iter_leaves(condition: Condition) -> Iterator[Leaf]:
    """Give every condition without parts inside a condition, in order."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from iter_leaves(part)
        case Not(part):
            yield from iter_leaves(part)
        case _:
            yield condition


def map_leaves(condition: Condition, change: Callable[[Leaf], Condition]) -> Condition:
    """Return a condition with every condition without parts changed."""
    match condition:
        case AllOf(parts):
            return AllOf(tuple(map_leaves(part, change) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(map_leaves(part, change) for part in parts))
        case Not(part):
            return Not(map_leaves(part, change))
        case _:
            return change(condition)


def list_file(leaf: Leaf) -> ListFile | None:
    """Return the file that a condition takes a list from, if any."""
    if isinstance(leaf, DescriptionIs | MetadataMatches) and isinstance(
        leaf.test, Words | In
    ):
        return leaf.test.file
    return None


def with_list(leaf: Leaf, entries: tuple[str, ...]) -> Leaf:
    """Return a condition with other entries in place of those of its file."""
    match leaf:
        case DescriptionIs(Words(_, ListFile(name))):
            return DescriptionIs(Words(entries, _inline(name, entries)))
        case MetadataMatches(path, Words(_, ListFile(name))):
            return MetadataMatches(path, Words(entries, _inline(name, entries)))
        case MetadataMatches(path, In(_, ListFile(name))):
            return MetadataMatches(path, In(entries, _inline(name, entries)))
        case _:
            return leaf


def _inline(name: str, entries: tuple[str, ...]) -> ListFile:
    return ListFile(name, "", tuple(range(1, len(entries) + 1)))
