"""All exceptions that the program raises deliberately.

TriagedError
├─ ConfigError        invalid rules file or settings: all problems together
├─ RuleTestsFailed    the rules load, but a test in their file fails
├─ LexiError          a call to LeadLex failed (leadlex.errors)
├─ QuotaExhausted     no calls are left until a certain time
├─ LedgerError        the ledger cannot be used: nothing may be done
│  └─ LedgerUnavailable  not for now: nothing is done, and it is tried again
│     ├─ LedgerBusy   another process is writing
│     └─ LeaseLost    another process may serve the workspace now
├─ AlreadyRunning     another process has locked the state directory
└─ PlanRejected       this plan must not be applied

An error takes facts, and its ``__str__`` formats the message. No error contains the API
key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TriagedError(Exception):
    """The base of all exceptions that the program raises deliberately."""


def os_reason(error: OSError) -> str:
    """Return the operating system's message for an error, or the error's type."""
    return error.strerror or type(error).__name__


class Severity(StrEnum):
    """Whether a problem prevents the rules from loading."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem in a file: its location, its path and a message.

    ``line`` and ``column`` count from 1; 0 means that the location is unknown.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """Format like a compiler message: ``file:line:column: path: message``."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        word = "warning: " if self.severity is Severity.WARNING else ""
        return f"{place}: {word}{self.path + ': ' if self.path else ''}{self.message}"


class ConfigError(TriagedError):
    """The rules file or the settings are invalid."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    @classmethod
    def of_setting(cls, variable: str, message: str) -> "ConfigError":
        """Build the error for one environment variable."""
        return cls([Problem("settings", 0, 0, variable, message)])

    def __str__(self) -> str:
        """List all problems, one per line."""
        return "\n".join(str(problem) for problem in self.problems)


class RuleTestsFailed(TriagedError):
    """The rules load, but not all of the tests in their file pass."""

    def __init__(self, failures: Iterable[str]) -> None:
        self.failures = tuple(failures)
        super().__init__(self.failures)

    def __str__(self) -> str:
        """List the failed tests, one per line."""
        return "\n".join(self.failures)


class QuotaExhausted(TriagedError):
    """No calls are left for the day, or LeadLex requests a long wait."""

    def __init__(self, until: datetime, *, of_day: bool = True) -> None:
        super().__init__(until)
        self.until = until
        self.of_day = of_day

    def __str__(self) -> str:
        """State until when no call may be sent."""
        until = f"{self.until:%Y-%m-%d %H:%M:%SZ}"
        if not self.of_day:
            return f"LeadLex asks for no API calls until {until}"
        return f"the day's share of API calls is spent until {until}"


class LedgerError(TriagedError):
    """The ledger cannot be read or written, so nothing may be dismissed."""

    def __init__(self, path: str, problem: str, remedy: str = "") -> None:
        super().__init__(path, problem, remedy)
        self.path = path
        self.problem = problem
        self.hint = remedy

    def __str__(self) -> str:
        """State the file, what is wrong and what to do."""
        return f"{self.path}: {self.problem}" + (f"; {self.hint}" if self.hint else "")


class LedgerUnavailable(LedgerError):
    """The ledger cannot be used for now; a later attempt may succeed."""


class LeaseLost(LedgerUnavailable):
    """The lease of a workspace has ended, so another process may dismiss for it."""

    def __init__(self, path: str, workspace: str) -> None:
        super().__init__(
            path,
            f"the lease of workspace {workspace} has ended",
            "nothing more is sent; the next cycle takes a new lease",
        )
        self.workspace = workspace


class LedgerBusy(LedgerUnavailable):
    """Another process holds the write lock for longer than the timeout."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "is being written by another process", "try again")


class AlreadyRunning(TriagedError):
    """Another daemon, or a ``run --once``, holds the state directory."""

    def __init__(self, directory: str, holder: str) -> None:
        super().__init__(directory, holder)
        self.directory = directory
        self.holder = holder

    def __str__(self) -> str:
        """Name the process and the directory."""
        return (
            f"{self.directory} is held by {self.holder}; only one may dismiss at a time"
        )


class PlanRejected(TriagedError):
    """The plan must not be applied."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.reason = why

    def __str__(self) -> str:
        """State why the plan must not be applied."""
        return f"the plan is refused: {self.reason}"
