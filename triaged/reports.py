"""What is logged of a cycle, and of what people said to the rules."""

import structlog

from triaged.cycle import CycleReport, Result
from triaged.ledger.marks import Marks

log = structlog.get_logger()


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
