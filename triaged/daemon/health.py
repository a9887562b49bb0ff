"""Liveness and readiness of the daemon."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from triaged.triage.report import CycleReport

# The heartbeat occurs every second; a loop without one for this long is stuck.
HEARTBEAT_TIMEOUT: Final = 30.0

# Listing may wait for the quota, and dismissing ends after a quarter of an hour.
CYCLE_TIMEOUT: Final = 30 * 60.0

# A due poll starts within milliseconds; a machine under load may take seconds.
POLL_GRACE: Final = 30.0

MAX_MISSED_INTERVALS: Final = 3


@dataclass(slots=True)
class Health:
    """The state from which liveness and readiness are derived.

    Liveness uses the monotonic clock (seconds), readiness the wall clock.
    """

    heartbeat_at: float
    interval: timedelta
    poll_due: float | None = None
    cycle_since: float | None = None
    last_success_at: datetime | None = None
    last_poll_at: datetime | None = None
    last_report: CycleReport | None = None
    last_list: CycleReport | None = None
    key_accepted: bool | None = None
    next_poll_at: datetime | None = None
    rules_rejected: str | None = None
    waiting_for_quota_until: datetime | None = None
    waiting_for_process: str | None = None
    ledger_problem: str | None = None
    # How long another daemon that shares the ledger may take to take over.
    takeover: timedelta = timedelta(0)

    def why_not_alive(self, monotonic: float) -> str | None:
        """Return why the main loop is not alive, or None; LeadLex does not matter here.

        It is alive if it runs and either a cycle is running that is not stuck, or a
        poll is planned that is not overdue.
        """
        if monotonic - self.heartbeat_at > HEARTBEAT_TIMEOUT:
            return "the event loop is stuck"
        if self.cycle_since is not None:
            is_stuck = monotonic - self.cycle_since > CYCLE_TIMEOUT
            return "a cycle is stuck" if is_stuck else None
        if self.poll_due is None:
            return "no poll is planned"
        if monotonic - self.poll_due > POLL_GRACE:
            return "the planned poll is overdue"
        return None

    def reasons_not_ready(self, now: datetime) -> list[str]:
        reasons = []
        if self.key_accepted is False:
            reasons.append("LeadLex refuses the API key")
        if self.ledger_problem is not None:
            reasons.append(f"the ledger cannot be used: {self.ledger_problem}")
        until = self.waiting_for_quota_until
        if until is not None and now < until:
            reasons.append(
                f"the day's quota is spent; next poll {until:%Y-%m-%d %H:%M:%SZ}"
            )
        if self.last_success_at is None:
            reasons.append("no cycle has succeeded yet")
        elif abs(now - self.last_success_at) > self._longest_silence:
            # A time in the future (the clock was set back) is treated like one long
            # ago.
            reasons.append(
                f"no cycle has succeeded since {self.last_success_at:%H:%M:%SZ}"
            )
        if reasons and self.waiting_for_process is not None:
            who = self.waiting_for_process
            reasons.append(f"waiting for {who}, which is dismissing or stopped")
        error = self.last_report.error if self.last_report else None
        if reasons and error is not None:
            reasons.append(f"last error: {error}")
        return reasons

    @property
    def _longest_silence(self) -> timedelta:
        return MAX_MISSED_INTERVALS * self.interval + self.takeover

    def to_dict(self, now: datetime) -> dict[str, Any]:
        reasons = self.reasons_not_ready(now)
        return {
            "ready": not reasons,
            "reasons": reasons,
            "last_success": _iso(self.last_success_at),
            "last_result": self.last_report.result if self.last_report else None,
            "next_poll": _iso(self.next_poll_at),
            "rules_rejected": self.rules_rejected,
        }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
