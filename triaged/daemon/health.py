"""Whether the daemon lives, and whether it does its work."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from triaged.triage.report import CycleReport

# The beat comes each second; a loop that has not beaten for this long hangs.
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=30)

# Listing may wait a minute for the quota, dismissing ends after a quarter of an hour.
CYCLE_TIMEOUT: Final = timedelta(minutes=30)

MAX_MISSED_INTERVALS: Final = 3


@dataclass(slots=True)
class Health:
    """What is known of the daemon's own well-being."""

    heartbeat_at: datetime
    interval: timedelta
    cycle_since: datetime | None = None
    last_success_at: datetime | None = None
    last_report: CycleReport | None = None
    key_accepted: bool | None = None
    next_poll_at: datetime | None = None
    rules_rejected: str | None = None
    waiting_for_quota_until: datetime | None = None

    def heartbeat(self, now: datetime) -> None:
        """Note that the loop came round."""
        self.heartbeat_at = now

    def is_alive(self, now: datetime) -> bool:
        """Say whether the loop beats and no cycle hangs; never about LeadLex."""
        if now - self.heartbeat_at > HEARTBEAT_TIMEOUT:
            return False
        return self.cycle_since is None or now - self.cycle_since <= CYCLE_TIMEOUT

    def reasons_not_ready(self, now: datetime) -> list[str]:
        """Say everything that keeps the daemon from being ready; empty when ready."""
        reasons = []
        if self.key_accepted is False:
            reasons.append("LeadLex refuses the API key")
        if self.waiting_for_quota_until is not None:
            until = self.waiting_for_quota_until
            if now < until:
                reasons.append(
                    f"the day's quota is spent; next poll {until:%Y-%m-%d %H:%M:%SZ}"
                )
        if self.last_success_at is None:
            reasons.append("no cycle has succeeded yet")
        elif abs(now - self.last_success_at) > MAX_MISSED_INTERVALS * self.interval:
            # In the future, by a clock set back since, is no better than long ago.
            reasons.append(
                f"no cycle has succeeded since {self.last_success_at:%H:%M:%SZ}"
            )
        if (
            reasons
            and self.last_report is not None
            and self.last_report.error is not None
        ):
            reasons.append(f"last error: {self.last_report.error}")
        return reasons

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """Return the readiness as JSON for ``/readyz``."""
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
