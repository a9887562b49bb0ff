"""The requests and results of the dispatcher, as values."""

from dataclasses import dataclass
from enum import StrEnum

from triaged.leadlex.errors import (
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RequestRejected,
    TaskNotFound,
)
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome
from triaged.rules.task import LeaveCause, Task


class HaltReason(StrEnum):
    """Why the dispatcher stopped before all requests were done."""

    STOPPING = "stopping"
    PAUSED = "paused"
    QUOTA = "quota"
    KEY = "key"
    UNREACHABLE = "unreachable"
    FAULTS = "faults"
    STALE = "stale"
    CLOCK = "clock"
    RULES_CHANGED = "rules_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissRequest:
    """One dismissal to send, with its explanation.

    ``rule`` is None for a dismissal that a person asked for.

    """

    task: Task
    rule: str | None
    reason: str
    rules_sha256: str
    trace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One dismissal that was sent, and its outcome."""

    request: DismissRequest
    outcome: Outcome
    error: LexiError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchResult:
    """The result of a list of requests.

    ``skipped`` are the requests refused by the last check before sending, and the
    causes; ``remaining`` counts the requests that were not processed.
    """

    attempts: tuple[Attempt, ...]
    remaining: int
    skipped: tuple[tuple[DismissRequest, LeaveCause], ...] = ()
    halt: HaltReason | None = None
    error: LexiError | None = None

    def count_outcome(self, outcome: Outcome) -> int:
        """Return the number of attempts with this outcome."""
        return sum(attempt.outcome is outcome for attempt in self.attempts)


def outcome_of(error: LexiError) -> Outcome:
    """Return the outcome of a dismissal that ended in this error."""
    match error:
        case NotPending():
            return Outcome.ALREADY_HANDLED
        case TaskNotFound():
            return Outcome.GONE
        case RequestRejected():
            return Outcome.REJECTED
        case NoResponse() | MalformedResponse():
            return Outcome.UNKNOWN
        case _:
            return Outcome.FAILED


def record_attempt(
    ledger: Ledger, rule: str | None, reason: str, outcome: Outcome
) -> None:
    """Count one attempt, in the transaction that records its outcome."""
    ledger.counters.increment("attempts", outcome)
    if outcome is Outcome.CONFIRMED and rule is not None:
        ledger.counters.increment("dismissals", rule, reason)
