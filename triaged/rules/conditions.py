"""What a match may say of a task: the closed set of conditions, as values.

What a condition means is in ``truth``; how it is shown to people is in ``explain``.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias

from triaged.rules.task import Json


class Pattern(Protocol):
    """A compiled search that takes time linear in the text."""

    @property
    def source(self) -> str:
        """The pattern as written."""
        ...

    def search(self, text: str, /) -> bool:
        """Say whether the pattern occurs anywhere in the text."""
        ...


class Keep(StrEnum):
    """Which of several equal tasks stays."""

    OLDEST = "oldest"
    NEWEST = "newest"


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
class Equals:
    """The value is this one, of the same JSON type."""

    value: Json


@dataclass(frozen=True, slots=True)
class In:
    """The value is one of these."""

    values: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Regex:
    """The value is a text in which one of the patterns occurs."""

    patterns: tuple[Pattern, ...]


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


MetadataTest: TypeAlias = Equals | In | Regex | GreaterThan | LessThan | Missing


@dataclass(frozen=True, slots=True)
class MetadataMatches:
    """A test on the metadata value at a dotted path."""

    path: str
    test: MetadataTest


@dataclass(frozen=True, slots=True)
class DuplicateOf:
    """Another pending task has the same texts here, and is the one to keep."""

    of: tuple[str, ...]
    keep: Keep = Keep.OLDEST


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


Condition: TypeAlias = (
    TypeIn
    | DescriptionMatches
    | AgeBetween
    | MetadataMatches
    | DuplicateOf
    | AllOf
    | AnyOf
    | Not
)
