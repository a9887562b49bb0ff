"""Source locations, and the collector that reports all problems together."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NoReturn, TypeAlias

from triaged.errors import ConfigError, Problem, Severity
from triaged.rules.conditions import In, ListId, Words
from triaged.rulesfile.lists import ListContent, ListFileError

# A file with more problems is probably not a rules file, and no reader needs more.
MAX_PROBLEMS: Final = 100
_SHOWN: Final = 60
_PLAIN_KEY: Final = re.compile(r"[\w.-]{1,60}")


class Invalid(Enum):
    """The sentinel that parsing returns after it reported a problem."""

    INVALID = "bad"


INVALID: Final = Invalid.INVALID


# The keys and list indices that lead from the root of the file to a value.
Trail: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Location:
    """The location of a value: line and column, both from 1, path, and file."""

    line: int
    column: int
    trail: Trail = ()
    file: str = ""

    @property
    def path(self) -> str:
        """The path as in ``rules[0].match.metadata.limit``; empty for the root."""
        return "".join(map(_step, self.trail)).removeprefix(".")

    def seen_from(self, other: "Location") -> str:
        """Name this location in a message about another: the line, or file and line."""
        same = self.file == other.file
        return f"line {self.line}" if same else f"{self.file}:{self.line}"


@dataclass(slots=True)
class ProblemCollector:
    """Collects the problems, warnings and declared names of files read as one.

    ``file`` is the one being read; problems whose place names no file belong to it.
    ``declared_names`` maps each kind of name to the known names, or to None if the
    declarations could not be read: then any name is accepted, so that one mistake is
    reported once. ``lists`` maps each rules file to its list files, and those to their
    content or error; rules that use the same content share it.
    """

    file: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    declared_names: dict[str, dict[str, Location | None] | None] = field(
        default_factory=dict
    )
    lists: Mapping[str, Mapping[str, ListContent | ListFileError]] = field(
        default_factory=dict
    )
    shared_words: dict[ListId, Words] = field(default_factory=dict)
    shared_lists: dict[ListId, In] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def error(self, place: Location, message: str) -> Invalid:
        """Report a problem that prevents loading, and return the sentinel."""
        self.problems.append(self._problem(place, message, Severity.ERROR))
        if len(self.problems) >= MAX_PROBLEMS:
            more = f"{MAX_PROBLEMS} problems; the rest of the file was not read"
            file = place.file or self.file
            self.problems.append(Problem(file, place.line, 0, "", more))
            self.abort()
        return INVALID

    @property
    def is_full(self) -> bool:
        """Whether no further problem is collected, so that reading on is useless."""
        return len(self.problems) > MAX_PROBLEMS

    def begin(self, file: str) -> None:
        """Begin to read a file; test names are unique in their file only."""
        self.file = file
        self.declared_names["tests"] = {}

    def warn(self, place: Location, message: str) -> None:
        self.warnings.append(self._problem(place, message, Severity.WARNING))

    def abort(self) -> NoReturn:
        """Raise ConfigError with all problems so far, in the order of the files."""
        raise ConfigError(self.in_order(self.problems))

    def in_order(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return problems in the order of the files, each file's by location."""
        order = {file: number for number, file in enumerate(self.files)}

        def place(problem: Problem) -> tuple[int, int, int, str]:
            number = order.get(problem.file, -1)
            return number, problem.line, problem.column, problem.path

        return tuple(sorted(problems, key=place))

    def _problem(self, place: Location, message: str, severity: Severity) -> Problem:
        file = place.file or self.file
        return Problem(file, place.line, place.column, place.path, message, severity)


def quote_for_message(text: str) -> str:
    """Quote text from the file for a message: one line, shortened, escaped."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return yaml_quote(cut) if cut.isprintable() else repr(cut)


def yaml_quote(text: str) -> str:
    """Format a string as a single-quoted YAML scalar."""
    return "'" + text.replace("'", "''") + "'"


def closest_match(word: str, known: Collection[str]) -> str:
    """Return the known name that was probably meant; empty if none is similar."""
    return next(iter(difflib.get_close_matches(word[:_SHOWN], known, n=1)), "")


def suggest(word: str, known: Collection[str]) -> str:
    """Return a hint with the known name that was probably meant, or all known names."""
    close = closest_match(word, known)
    offer = f"; did you mean {quote_for_message(close)}?" if close else ""
    names = list(known)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")  # noqa: PLR2004
    return f"{offer}{' Known' if offer else '; known'}: {listed or 'none'}"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{quote_for_message(step)}]"
