"""Everything the program raises on purpose.

TriagedError
├─ ConfigError        the rules file or the settings are wrong: all problems at once
├─ RulesTestsFailed   the rules load, but a test in their file fails
├─ LexiError          what was asked of LeadLex did not come about (leadlex.errors)
├─ QuotaSpent         the day's share of calls is gone until a certain moment
├─ LedgerError        cannot remember: therefore do not act
│  └─ LedgerBusy      another process is writing: may be tried again
├─ AlreadyRunning     another daemon holds the state directory
└─ PlanRefused        this plan must not be applied

An error takes facts; its ``__str__`` makes the sentence.  None of them ever holds the
API key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TriagedError(Exception):
    """Anything the program raises on purpose."""


class Severity(StrEnum):
    """Whether a problem keeps the rules from loading."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file: where, under which path, and what would do.

    ``line`` and ``column`` count from 1; 0 means that the place is unknown.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """Render as compilers do: ``file:line:column: path: message``."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        word = "warning: " if self.severity is Severity.WARNING else ""
        return f"{place}: {word}{self.path + ': ' if self.path else ''}{self.message}"


class ConfigError(TriagedError):
    """The rules file or the settings cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """List every problem, a line each."""
        return "\n".join(str(problem) for problem in self.problems)


class RuleTestsFailed(TriagedError):
    """The rules load, but not all of the tests in their file pass."""

    def __init__(self, failures: Iterable[str]) -> None:
        self.failures = tuple(failures)
        super().__init__(self.failures)

    def __str__(self) -> str:
        """List the tests that failed, a line each."""
        return "\n".join(self.failures)


class QuotaExhausted(TriagedError):
    """The day's share of calls is gone, or LeadLex asks for a long wait."""

    def __init__(self, until: datetime, *, of_day: bool = True) -> None:
        super().__init__(until)
        self.until = until
        self.of_day = of_day

    def __str__(self) -> str:
        """Say until when."""
        until = f"{self.until:%Y-%m-%d %H:%M:%SZ}"
        if not self.of_day:
            return f"LeadLex asks for no API calls until {until}"
        return f"the day's share of API calls is spent until {until}"


class LedgerError(TriagedError):
    """The ledger cannot be read or written, so nothing may be done."""

    def __init__(self, path: str, problem: str, remedy: str = "") -> None:
        super().__init__(path, problem, remedy)
        self.path = path
        self.problem = problem
        self.hint = remedy

    def __str__(self) -> str:
        """Return which file, what is wrong and the way out."""
        return f"{self.path}: {self.problem}" + (f"; {self.hint}" if self.hint else "")


class LedgerBusy(LedgerError):
    """Another process is writing, for longer than this one was to wait."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "is being written by another process", "try again")


class AlreadyRunning(TriagedError):
    """Another daemon, or a ``run --once``, holds the state directory."""

    def __init__(self, directory: str, holder: str) -> None:
        super().__init__(directory, holder)
        self.directory = directory
        self.holder = holder

    def __str__(self) -> str:
        """Say who holds which directory."""
        return (
            f"{self.directory} is held by {self.holder}; only one may dismiss at a time"
        )


class PlanRejected(TriagedError):
    """A plan that must not be applied."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.reason = why

    def __str__(self) -> str:
        """Say why."""
        return f"the plan is refused: {self.reason}"
