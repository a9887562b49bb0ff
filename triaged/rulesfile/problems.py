"""Where things are in a rules file, and what is wrong with it: all problems at once."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NoReturn

from triaged.errors import ConfigError, Problem, Severity
from triaged.rules.conditions import In, Words
from triaged.rulesfile.lists import ListContent, ListFileError

# Beyond this many the file is no rules file, and no reader reads on.
MAX_PROBLEMS: Final = 100
_SHOWN: Final = 60
_PLAIN_KEY: Final = re.compile(r"[\w.-]{1,60}")


class Invalid(Enum):
    """What reading gives when it reported a problem instead of a value."""

    INVALID = "bad"


INVALID: Final = Invalid.INVALID


@dataclass(frozen=True, slots=True)
class Path:
    """The way from the root of the file to a value: keys and list indices."""

    parent: "Path | None"
    segment: str | int

    def __str__(self) -> str:
        """Write it as ``rules[0].match.metadata.limit``."""
        steps: list[str] = []
        trail: Path | None = self
        while trail is not None:
            steps.append(_step(trail.segment))
            trail = trail.parent
        return "".join(reversed(steps)).removeprefix(".")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value stands: line and column from 1, and the way to it."""

    line: int
    column: int
    trail: Path | None = None

    @property
    def path(self) -> str:
        """The way to it as text; empty for the root."""
        return "" if self.trail is None else str(self.trail)


@dataclass(slots=True)
class ProblemCollector:
    """What is being found out about one file: problems, warnings and names.

    ``declared_names`` says for each kind of name which are known, and None when that
    itself could not be read: then any will do, so that one mistake is reported once.
    ``lists`` has the list files that the file names, or why one cannot be used;
    rules that ask for one file share what was read of it.
    """

    file: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    declared_names: dict[str, dict[str, Location | None] | None] = field(
        default_factory=dict
    )
    lists: Mapping[str, ListContent | ListFileError] = field(default_factory=dict)
    shared_words: dict[str, Words] = field(default_factory=dict)
    shared_lists: dict[str, In] = field(default_factory=dict)

    def error(self, place: Location, message: str) -> Invalid:
        """Note what keeps the file from loading, and return the sentinel."""
        self.problems.append(self._problem(place, message, Severity.ERROR))
        if len(self.problems) >= MAX_PROBLEMS:
            more = f"{MAX_PROBLEMS} problems; the rest of the file was not read"
            self.problems.append(Problem(self.file, place.line, 0, "", more))
            self.abort()
        return INVALID

    def warn(self, place: Location, message: str) -> None:
        """Report what should be fixed but does not keep the file from loading."""
        self.warnings.append(self._problem(place, message, Severity.WARNING))

    def raise_if_wrong(self) -> None:
        """Raise all problems, in the order of the file, if there are any.

        Raises:
            ConfigError: there are.
        """
        if self.problems:
            self.abort()

    def abort(self) -> NoReturn:
        """Return up on the file: what was reported makes the rest meaningless.

        Raises:
            ConfigError: always, with all problems so far.
        """
        raise ConfigError(sorted_by_location(self.problems))

    def _problem(self, place: Location, message: str, severity: Severity) -> Problem:
        return Problem(
            self.file, place.line, place.column, place.path, message, severity
        )


def sorted_by_location(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort problems by where they are."""
    return tuple(sorted(problems, key=lambda p: (p.line, p.column, p.path)))


def quote_for_message(text: str) -> str:
    """Quote a text from the file for a message: one line, not too long, no tricks."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return yaml_quote(cut) if cut.isprintable() else repr(cut)


def yaml_quote(text: str) -> str:
    """Write a text as YAML does between single quotes."""
    return "'" + text.replace("'", "''") + "'"


def closest_match(word: str, known: Collection[str]) -> str:
    """Return the known name that was probably meant; empty when none is like it."""
    return next(iter(difflib.get_close_matches(word[:_SHOWN], known, n=1)), "")


def suggest(word: str, known: Collection[str]) -> str:
    """Return which known name was probably meant, and which others there are."""
    close = closest_match(word, known)
    offer = f"; did you mean {quote_for_message(close)}?" if close else ""
    names = list(known)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")  # noqa: PLR2004
    return f"{offer}{' Known' if offer else '; known'}: {listed or 'none'}"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{quote_for_message(step)}]"
