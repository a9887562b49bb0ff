"""The state that a daemon stores in the ledger for commands to show."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from triaged import __version__
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome
from triaged.ledger.state import StateName
from triaged.quota import QuotaSnapshot
from triaged.rules.describe import rule_fingerprint
from triaged.rules.rule import Ruleset
from triaged.rules.task import LeaveCause
from triaged.settings import Settings
from triaged.triage.report import CycleReport

# The breaker does not count these either.
_NOT_COUNTED: Final = frozenset({LeaveCause.VETOED, LeaveCause.NOT_PENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    """A daemon or a ``run --once``: the facts that do not change while it runs."""

    settings: Settings
    started_at: datetime
    dry_run: bool
    once: bool = False
    # By the hash of the rules, since they change seldom and are stored in each cycle.
    _fingerprints: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)

    def state(  # noqa: PLR0913 - all keyword-only facts
        self,
        ruleset: Ruleset,
        report: CycleReport | None,
        *,
        at: datetime,
        next_poll_at: datetime | None = None,
        poll_interval: timedelta | None = None,
        last_success_at: datetime | None = None,
        reasons_not_ready: Sequence[str] = (),
        key_accepted: bool | None = None,
        quota: QuotaSnapshot | None = None,
        waiting_until: datetime | None = None,
    ) -> dict[str, Any]:
        """Return the state of the process and of its last cycle, to be stored."""
        prints = self._fingerprints_of(ruleset)
        return {
            "version": __version__,
            "pid": os.getpid(),
            "host": os.uname().nodename,
            "once": self.once,
            "dry_run": self.dry_run,
            "started_at": _text(self.started_at),
            "saved_at": _text(at),
            "rules_file": ", ".join(map(str, self.settings.rules)),
            "rules_sha256": ruleset.sha256,
            "rules": [
                {
                    "name": rule.name,
                    "rule_sha256": prints[rule.name],
                    "mode": rule.mode,
                    "hold_seconds": rule.hold.total_seconds(),
                }
                for rule in ruleset.rules
            ],
            "quota": asdict(self.settings.quota),
            "poll_interval_seconds": (
                None if poll_interval is None else poll_interval.total_seconds()
            ),
            "next_poll_at": _text(next_poll_at),
            "last_ok_at": _text(last_success_at),
            "ready": not reasons_not_ready,
            "not_ready_reason": "; ".join(reasons_not_ready) or None,
            "key_accepted": key_accepted,
            "quota_left": None if quota is None else quota.remaining,
            "quota_limit": None if quota is None else quota.daily_limit,
            "waiting_until": _text(waiting_until),
            "last_cycle": None if report is None else _cycle(report),
        }

    def _fingerprints_of(self, ruleset: Ruleset) -> dict[str, str]:
        if ruleset.sha256 not in self._fingerprints:
            self._fingerprints.clear()
            self._fingerprints[ruleset.sha256] = {
                rule.name: rule_fingerprint(rule) for rule in ruleset.rules
            }
        return self._fingerprints[ruleset.sha256]


def save_problem(
    ledger: Ledger, problem: str, *, started_at: datetime, at: datetime
) -> None:
    """Store why a workspace of a fleet cannot be run; its last cycle is kept."""
    before: dict[str, Any] = ledger.state.load(StateName.DAEMON) or {}
    state = {
        "version": __version__,
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "once": False,
        "started_at": _text(started_at),
        "saved_at": _text(at),
        "ready": False,
        "not_ready_reason": problem,
        "problem": problem,
        "last_cycle": before.get("last_cycle"),
        "last_ok_at": before.get("last_ok_at"),
    }
    ledger.state.save(StateName.DAEMON, state, at=at)


def _cycle(report: CycleReport) -> dict[str, Any]:
    finished = report.started_at + timedelta(seconds=report.duration_seconds)
    wanted = {
        rule: {str(cause): number for cause, number in causes.items()}
        for rule, causes in report.wanted.items()
    }
    return {
        "id": report.id,
        "started_at": _text(report.started_at),
        "finished_at": _text(finished),
        "result": report.result,
        "listed": report.listed,
        "pending": sum(report.pending.values()),
        "dismissed": sum(a.outcome is Outcome.CONFIRMED for a in report.attempts),
        "observed": len(report.observed),
        "backlog": report.backlog,
        "left": {str(cause): n for cause, n in report.left_by_cause.items()},
        "wanted": wanted,
        "breaker": report.breaker,
        "breaker_wants": _breaker_wants(report),
        "halt": report.halt,
        "error": None if report.error is None else str(report.error),
    }


def _breaker_wants(report: CycleReport) -> dict[str, int]:
    """Count, by rule, the tasks that opened the breaker."""
    if report.breaker is None:
        return {}
    counted = {
        rule: sum(n for cause, n in causes.items() if cause not in _NOT_COUNTED)
        for rule, causes in report.wanted.items()
    }
    return {rule: number for rule, number in counted.items() if number}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
