"""Everything the program raises on purpose.

TriagedError
├─ ConfigError        the rules file or the settings are wrong: all problems at once
├─ RulesTestsFailed   the rules load, but a test in their file fails
├─ LexiError          what was asked of LeadLex did not come about
│  ├─ Unreachable     nothing was sent: may be tried again
│  ├─ Unanswered      sent, no usable answer: a write is now unknown
│  ├─ Garbled         an answer, but not what the protocol says: a write is now unknown
│  ├─ RateLimited     429: nobody asks before the quota says so
│  ├─ KeyRefused      401, 403: the key or its permissions
│  ├─ TaskGone        404: an outcome of a dismissal
│  ├─ NotPending      400 validation_error: an outcome of a dismissal
│  └─ Rejected        any other refusal
├─ QuotaSpent         the day's share of calls is gone until a certain moment
├─ LedgerError        cannot remember: therefore do not act
├─ AlreadyRunning     another daemon holds the state directory
└─ PlanRefused        this plan must not be applied

An error takes facts; its ``__str__`` makes the sentence.  None of them ever holds the
API key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus

from triaged.quota import ServerWord


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


class RulesTestsFailed(TriagedError):
    """The rules load, but not all of the tests in their file pass."""

    def __init__(self, failures: Iterable[str]) -> None:
        self.failures = tuple(failures)
        super().__init__(self.failures)

    def __str__(self) -> str:
        """List the tests that failed, a line each."""
        return "\n".join(self.failures)


class LexiError(TriagedError):
    """What was asked of LeadLex did not come about.

    ``operation`` is ``list``, ``dismiss`` or ``approve``; ``status`` is the HTTP
    status where there was one; ``message`` is the server's text, untrusted; ``word``
    is what the answer's headers said of the quota.
    """

    sentence = "LeadLex did not do it"

    def __init__(
        self,
        operation: str,
        *,
        status: int | None = None,
        code: str = "",
        message: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(operation, status, code, message, request_id)
        self.operation = operation
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.word = ServerWord()

    def __str__(self) -> str:
        """Say what was asked, what came back and under which request id."""
        status = f" (HTTP {self.status})" if self.status is not None else ""
        detail = ": ".join(part for part in (self.code, self.message) if part)
        tail = f" [request {self.request_id}]" if self.request_id else ""
        said = f": {detail}" if detail else ""
        return f"{self.operation}: {self.sentence}{status}{said}{tail}"


class Unreachable(LexiError):
    """Nothing was sent: no connection came about."""

    sentence = "LeadLex cannot be reached"


class Unanswered(LexiError):
    """Sent, but no usable answer came: a time-out, a cut connection, a 5xx."""

    sentence = "LeadLex gave no usable answer"


class Garbled(LexiError):
    """An answer came that is not what the protocol says."""

    sentence = "LeadLex answered something that the protocol does not know"


class RateLimited(LexiError):
    """The server refused because of its rate limit (429)."""

    sentence = "LeadLex refused: rate limit"


class KeyRefused(LexiError):
    """The server does not accept the key, or not for this operation (401, 403)."""

    sentence = "LeadLex refused the API key"

    def __str__(self) -> str:
        """Add which permissions to grant; two vocabularies are documented."""
        hint = (
            "; the key needs the 'Lexi' permission (newer keys: read:ai to list,"
            " write:ai to dismiss)"
            if self.status == HTTPStatus.FORBIDDEN
            else "; it is wrong, expired or revoked"
        )
        return super().__str__() + hint


class TaskGone(LexiError):
    """There is no such task (any more)."""

    sentence = "LeadLex does not know the task"


class NotPending(LexiError):
    """The task is no longer pending."""

    sentence = "the task is not pending any more"


class Rejected(LexiError):
    """The server refused for a reason of its own."""

    sentence = "LeadLex refused the request"


class QuotaSpent(TriagedError):
    """The day's share of calls is gone."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until)
        self.until = until

    def __str__(self) -> str:
        """Say until when."""
        until = f"{self.until:%Y-%m-%d %H:%M:%SZ}"
        return f"the day's share of API calls is spent until {until}"


class LedgerError(TriagedError):
    """The ledger cannot be read or written, so nothing may be done."""

    def __init__(self, path: str, problem: str, remedy: str = "") -> None:
        super().__init__(path, problem, remedy)
        self.path = path
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        """Say which file, what is wrong and the way out."""
        return f"{self.path}: {self.problem}" + (
            f"; {self.remedy}" if self.remedy else ""
        )


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


class PlanRefused(TriagedError):
    """A plan that must not be applied."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        """Say why."""
        return f"the plan is refused: {self.why}"
