"""What is logged of a cycle, and of what people said to the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import structlog

from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import LexiError
from triaged.ledger.dismissals import DismissalRecord, Outcome
from triaged.ledger.flags import Flags
from triaged.rules.task import LeaveCause, ProposedDismissal
from triaged.triage.requests import Attempt, HaltReason

log = structlog.get_logger()


class CycleResult(StrEnum):
    """How a cycle ended; a closed set, used as a metric label."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """What one cycle saw and did.

    ``listed`` says whether a list was had at all; ``error`` what cut the cycle short.
    """

    id: str
    started_at: datetime
    duration_seconds: float
    result: CycleResult
    listed: bool = False
    pending: Mapping[str, int] = field(default_factory=dict)
    oldest_at: datetime | None = None
    left_by_cause: Mapping[LeaveCause, int] = field(default_factory=dict)
    matched_rules: frozenset[str] = frozenset()
    attempts: tuple[Attempt, ...] = ()
    resolved: tuple[tuple[DismissalRecord, Outcome], ...] = ()
    observed: tuple[ProposedDismissal, ...] = ()
    backlog: int = 0
    breaker: str | None = None
    halt: HaltReason | None = None
    error: LexiError | QuotaExhausted | None = None


class FalsePositiveLog:
    """Logs each false positive once, whichever process found it."""

    def __init__(self, flags: Flags) -> None:
        self._known = set(flags.counters("false_positives"))

    def log_new(self, flags: Flags) -> None:
        """Log those that came since the last look."""
        for rule, task in sorted(
            flags.counters("false_positives").keys() - self._known
        ):
            log.warning("rule.false_positive", rule=rule, task=task)
            self._known.add((rule, task))


def log_cycle(report: CycleReport) -> None:
    """Log how a cycle ended, once."""
    write = log.info if report.result is CycleResult.OK else log.warning
    facts = {
        "result": report.result,
        "seconds": round(report.duration_seconds, 3),
        "pending": sum(report.pending.values()),
        "dismissed": sum(a.outcome == "confirmed" for a in report.attempts),
        "attempts": len(report.attempts),
        "backlog": report.backlog,
        "left": {str(cause): number for cause, number in report.left_by_cause.items()},
    }
    if report.observed:
        facts["observed"] = len(report.observed)
    if report.resolved:
        facts["settled"] = len(report.resolved)
    if report.breaker is not None:
        facts["breaker"] = report.breaker
    if report.halt is not None:
        facts["halt"] = report.halt
    if report.error is not None:
        facts["error"] = str(report.error)
    write("cycle.finished", cycle=report.id, **facts)
