"""The requests and results of the dispatcher, as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from triaged.leadlex.errors import (
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RequestRejected,
    TaskNotFound,
)
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Intent, Outcome, Source
from triaged.rules.context import EvaluationContext
from triaged.rules.task import LeaveCause, Task

log = structlog.get_logger()


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
class DispatchOrigin:
    """The origin of requests: source, cycle, and the list that they are based on.

    ``listed_at`` is when that list was requested. ``while_paused`` permits manual
    dismissals although dismissing is paused.
    """

    source: Source
    cycle: str
    listed_at: datetime
    context: EvaluationContext
    while_paused: bool = False


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

    def intent(self, origin: DispatchOrigin, *, at: datetime) -> Intent:
        """Return what the ledger records before the call."""
        return Intent(
            task=self.task,
            rule=self.rule,
            reason=self.reason,
            source=origin.source,
            cycle=origin.cycle,
            decided_at=at,
            rules_sha256=self.rules_sha256,
            trace=self.trace,
        )


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


def log_attempt(attempt: Attempt, request_id: str | None) -> None:
    """Log one attempt, once its outcome is recorded."""
    request, error = attempt.request, attempt.error
    write = log.info if attempt.outcome is Outcome.CONFIRMED else log.warning
    write(
        "task.dismissed" if error is None else f"dismissal.{attempt.outcome}",
        task=request.task.id,
        rule=request.rule,
        reason=request.reason,
        request_id=request_id,
        **({} if error is None else {"error": str(error)}),
    )
