"""What the gate is asked to do and what it answers, as values."""

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
from triaged.rules.task import Task


class HaltReason(StrEnum):
    """Why the gate stopped before everything was done."""

    STOPPING = "stopping"
    PAUSED = "paused"
    QUOTA = "quota"
    KEY = "key"
    UNREACHABLE = "unreachable"
    FAULTS = "faults"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissRequest:
    """One dismissal to carry out, with everything that explains it."""

    task: Task
    rule: str | None
    reason: str
    rules_sha256: str
    trace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One dismissal that was asked for, and what became of it."""

    order: DismissRequest
    outcome: Outcome
    error: LexiError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchResult:
    """What became of a batch of orders."""

    attempts: tuple[Attempt, ...]
    remaining: int
    halt: HaltReason | None
    error: LexiError | None = None

    def count_outcome(self, outcome: Outcome) -> int:
        """Count the attempts that ended in one outcome."""
        return sum(attempt.outcome is outcome for attempt in self.attempts)


def outcome_of(error: LexiError) -> Outcome:
    """Say what an error means for the dismissal that met it."""
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
    """Add one attempt to the durable totals, in the transaction that settles it."""
    ledger.flags.increment("attempts", outcome)
    if outcome is Outcome.CONFIRMED and rule is not None:
        ledger.flags.increment("dismissals", rule, reason)
