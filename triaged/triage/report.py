"""What is logged of a cycle, and of what people said to the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import structlog

from triaged.errors import QuotaSpent
from triaged.leadlex.errors import LexiError
from triaged.ledger.dismissals import Entry, Outcome
from triaged.ledger.flags import Marks
from triaged.rules.task import Cause, Dismissal
from triaged.triage.requests import Attempt, Halt

log = structlog.get_logger()


class Result(StrEnum):
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
    seconds: float
    result: Result
    listed: bool = False
    pending: Mapping[str, int] = field(default_factory=dict)
    oldest_at: datetime | None = None
    left: Mapping[Cause, int] = field(default_factory=dict)
    matched: frozenset[str] = frozenset()
    attempts: tuple[Attempt, ...] = ()
    settled: tuple[tuple[Entry, Outcome], ...] = ()
    observed: tuple[Dismissal, ...] = ()
    backlog: int = 0
    breaker: str | None = None
    halt: Halt | None = None
    error: LexiError | QuotaSpent | None = None


class CounterexampleLog:
    """Logs each counter-example once, whichever process found it."""

    def __init__(self, marks: Marks) -> None:
        self._known = set(marks.totals("counterexamples"))

    def look(self, marks: Marks) -> None:
        """Log those that came since the last look."""
        for rule, task in sorted(marks.totals("counterexamples").keys() - self._known):
            log.warning("rule.contradicted", rule=rule, task=task, by="approved")
            self._known.add((rule, task))


def log_cycle(report: CycleReport) -> None:
    """Log how a cycle ended, once."""
    write = log.info if report.result is Result.OK else log.warning
    facts = {
        "result": report.result,
        "seconds": round(report.seconds, 3),
        "pending": sum(report.pending.values()),
        "dismissed": sum(a.outcome == "confirmed" for a in report.attempts),
        "attempts": len(report.attempts),
        "backlog": report.backlog,
        "left": {str(cause): number for cause, number in report.left.items()},
    }
    if report.observed:
        facts["observed"] = len(report.observed)
    if report.settled:
        facts["settled"] = len(report.settled)
    if report.breaker is not None:
        facts["breaker"] = report.breaker
    if report.halt is not None:
        facts["halt"] = report.halt
    if report.error is not None:
        facts["error"] = str(report.error)
    write("cycle.finished", cycle=report.id, **facts)
