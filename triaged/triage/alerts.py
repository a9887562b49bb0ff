"""Events that people are told of at once, and when a notification is tried again.

Pure functions. Each event has a name under which the ledger stores that it was sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from triaged.triage.digest import ChangedRule

# Older changes of rules are not news when notifications are first set up.
MAX_EVENT_AGE: Final = timedelta(days=1)

MAX_ATTEMPTS: Final = 5
_FIRST_RETRY: Final = timedelta(minutes=1)
_RETRY_FACTOR: Final = 5
_FINGERPRINT_LENGTH: Final = 16


class AlertKind(StrEnum):
    """The kinds of events."""

    BREAKER = "breaker"
    KEY = "key"
    DEMOTED = "demoted"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One event: its name in the ledger, when it occurred, and what it is about.

    ``rule`` is empty unless a rule was changed; ``detail`` is the reason for an open
    breaker, or who changed the rule.
    """

    name: str
    kind: AlertKind
    at: datetime
    rule: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FingerprintedChange:
    """A promotion or demotion of a rule, and the rule's fingerprint then."""

    change: ChangedRule
    fingerprint: str


def breaker_alert(since: datetime, reason: str) -> Alert:
    """Return the alert of an open breaker; it is the same until the breaker closes."""
    return Alert(
        name=f"{AlertKind.BREAKER} {since.isoformat()}",
        kind=AlertKind.BREAKER,
        at=since,
        detail=reason,
    )


def key_alert(since: datetime) -> Alert:
    """Return the alert of a refused key; it is the same until a key is accepted."""
    return Alert(
        name=f"{AlertKind.KEY} {since.isoformat()}", kind=AlertKind.KEY, at=since
    )


def rule_alerts(
    changes: Sequence[FingerprintedChange], *, now: datetime
) -> Sequence[Alert]:
    """Return the recent demotions and first promotions among all changes of rules.

    A rule that is promoted again is named in the digest only. A rule that was edited
    starts anew, so its next promotion is a first one.
    """
    alerts: list[Alert] = []
    promoted: set[tuple[str, str]] = set()
    for changed in sorted(changes, key=lambda each: each.change.at):
        key = (changed.change.rule, changed.fingerprint)
        is_repeated = changed.change.is_promotion and key in promoted
        if changed.change.is_promotion:
            promoted.add(key)
        if not is_repeated and now - changed.change.at <= MAX_EVENT_AGE:
            alerts.append(_rule_alert(changed))
    return alerts


def _rule_alert(changed: FingerprintedChange) -> Alert:
    change, fingerprint = changed.change, changed.fingerprint[:_FINGERPRINT_LENGTH]
    kind = AlertKind.PROMOTED if change.is_promotion else AlertKind.DEMOTED
    name = f"{kind} {change.rule} {fingerprint}"
    if not change.is_promotion:
        name += f" {change.at.isoformat()}"
    return Alert(name=name, kind=kind, at=change.at, rule=change.rule, detail=change.by)


def retry_at(attempts: int, failed_at: datetime) -> datetime | None:
    """Return when a failed notification is tried again; None after the last attempt."""
    if attempts >= MAX_ATTEMPTS:
        return None
    factor: int = _RETRY_FACTOR ** max(attempts - 1, 0)
    return failed_at + _FIRST_RETRY * factor
