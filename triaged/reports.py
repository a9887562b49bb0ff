"""How a cycle's report is logged."""

import structlog

from triaged.cycle import CycleReport, Result

log = structlog.get_logger()


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
