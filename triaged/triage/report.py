"""The report of one cycle as a value, and its log event."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import structlog

from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import LexiError, RateLimited
from triaged.ledger.dismissals import DismissalRecord, Outcome
from triaged.ledger.feedback import FeedbackStore
from triaged.rules.task import LeaveCause, ProposedDismissal, Task
from triaged.triage.guard import GuardResult
from triaged.triage.requests import Attempt, DispatchResult, HaltReason

log = structlog.get_logger()


class CycleResult(StrEnum):
    """How a cycle ended; a closed set, used as a metric label."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """What one cycle listed, decided and did.

    ``listed`` tells whether the cycle got a list; ``incomplete_list`` why tasks may be
    missing from it; ``error`` what ended the cycle early. ``wanted`` counts, by rule
    and cause, the tasks that rules would dismiss but the guard keeps.
    """

    id: str
    started_at: datetime
    duration_seconds: float
    result: CycleResult
    listed: bool = False
    incomplete_list: str | None = None
    pending: Mapping[str, int] = field(default_factory=dict)
    oldest_at: datetime | None = None
    left_by_cause: Mapping[LeaveCause, int] = field(default_factory=dict)
    wanted: Mapping[str, Mapping[LeaveCause, int]] = field(default_factory=dict)
    matched_rules: frozenset[str] = frozenset()
    attempts: tuple[Attempt, ...] = ()
    resolved: tuple[tuple[DismissalRecord, Outcome], ...] = ()
    observed: tuple[ProposedDismissal, ...] = ()
    backlog: int = 0
    breaker: str | None = None
    halt: HaltReason | None = None
    error: LexiError | QuotaExhausted | None = None


class CycleState:
    """The results of a cycle so far, from which its report is made."""

    def __init__(self, cycle_id: str, started_at: datetime) -> None:
        self.id = cycle_id
        self._started_at = started_at
        self._pending: Counter[str] | None = None
        self._oldest_at: datetime | None = None
        self.incomplete_list: str | None = None
        self.resolved: list[tuple[DismissalRecord, Outcome]] = []
        self.observed: list[ProposedDismissal] = []
        self.guarded: GuardResult | None = None
        self.dispatched: DispatchResult | None = None
        self.error: LexiError | QuotaExhausted | None = None

    def record_list(self, tasks: Sequence[Task], incomplete: str | None) -> None:
        """Count the listed tasks, and store why others may be missing."""
        pending = [task for task in tasks if task.is_pending]
        self._pending = Counter(task.type or "" for task in pending)
        created = [t.created_at for t in pending if t.created_at is not None]
        self._oldest_at = min(created, default=None)
        self.incomplete_list = incomplete

    def is_idle(self) -> bool:
        """Return whether no work is left, so that a call may be used for feedback."""
        return self._result() is CycleResult.OK

    def report(self, duration_seconds: float) -> CycleReport:
        """Return the report at the end of the cycle."""
        guarded, dispatched = self.guarded, self.dispatched
        return CycleReport(
            id=self.id,
            started_at=self._started_at,
            duration_seconds=duration_seconds,
            result=self._result(),
            listed=self._pending is not None,
            incomplete_list=self.incomplete_list,
            pending=self._pending or {},
            oldest_at=self._oldest_at,
            left_by_cause=guarded.left if guarded else {},
            wanted=guarded.wanted if guarded else {},
            matched_rules=guarded.matched_rules if guarded else frozenset(),
            attempts=dispatched.attempts if dispatched else (),
            resolved=tuple(self.resolved),
            observed=tuple(self.observed),
            backlog=self._backlog(),
            breaker=guarded.breaker if guarded else None,
            halt=dispatched.halt if dispatched else None,
            error=self.error or (dispatched.error if dispatched else None),
        )

    def _backlog(self) -> int:
        """Return the number of dismissals that are due but wait for a later cycle."""
        if self.guarded is None:
            return 0
        remaining = self.dispatched.remaining if self.dispatched else 0
        return remaining + self.guarded.left[LeaveCause.OVER_CAP]

    def _result(self) -> CycleResult:
        if self.guarded is None:
            is_scarce = isinstance(self.error, QuotaExhausted | RateLimited)
            if is_scarce or (self.incomplete_list and self.error is None):
                return CycleResult.INCOMPLETE
            return CycleResult.FAILED
        dispatched = self.dispatched
        unknown = dispatched.count_outcome(Outcome.UNKNOWN) if dispatched else 0
        is_cut_short = self.error is not None or self.guarded.breaker is not None
        if is_cut_short or unknown or self._backlog() or self.incomplete_list:
            return CycleResult.INCOMPLETE
        return CycleResult.OK


class FalsePositiveLog:
    """Logs each false positive once, including those that other processes found."""

    def __init__(self, feedback: FeedbackStore) -> None:
        self._feedback = feedback
        self._known = set(feedback.false_positives())

    def log_new(self) -> None:
        """Log the false positives found since the last call."""
        for rule, task in sorted(self._feedback.false_positives() - self._known):
            log.warning("rule.false_positive", rule=rule, task=task)
            self._known.add((rule, task))


def log_lock_wait(owner: str) -> None:
    """Log which process a cycle waits for; a suspended one never releases the lock."""
    log.warning("dispatch_lock.awaited", owner=owner)


def log_ledger(problem: str | None, *, was_away: bool) -> None:
    """Log once that the ledger is away for now, and once that it is back."""
    if problem is not None and not was_away:
        log.error(
            "ledger.unavailable",
            error=problem,
            effect="nothing is dismissed until it can be used",
        )
    elif problem is None and was_away:
        log.info("ledger.available")


def log_cycle(report: CycleReport) -> None:
    """Log how a cycle ended, once."""
    write = log.info if report.result is CycleResult.OK else log.warning
    facts: dict[str, object] = {
        "result": report.result,
        "seconds": round(report.duration_seconds, 3),
        "pending": sum(report.pending.values()),
        "dismissed": sum(a.outcome == "confirmed" for a in report.attempts),
        "attempts": len(report.attempts),
        "backlog": report.backlog,
        "left_by_cause": {str(cause): n for cause, n in report.left_by_cause.items()},
        "observed": len(report.observed),
        "resolved": len(report.resolved),
        "breaker": report.breaker,
        "halt_reason": report.halt,
        "incomplete_list": report.incomplete_list,
        "error": None if report.error is None else str(report.error),
    }
    optional = (
        "observed",
        "resolved",
        "breaker",
        "halt_reason",
        "incomplete_list",
        "error",
    )
    shown = {k: v for k, v in facts.items() if v or k not in optional}
    write("cycle.finished", cycle=report.id, **shown)
