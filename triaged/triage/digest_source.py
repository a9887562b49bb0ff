"""Reads from the ledger what digest and alerts are made from; costs no API call."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.ledger.notifications import NotificationOutcome
from triaged.ledger.rule_changes import RuleChange
from triaged.ledger.state import StateName
from triaged.rules.rule import Mode
from triaged.triage.alerts import (
    MAX_EVENT_AGE,
    Alert,
    FingerprintedChange,
    breaker_alert,
    rule_alerts,
)
from triaged.triage.digest import (
    MAX_EXAMPLES,
    MAX_PLANNED,
    ChangedRule,
    Digest,
    DigestFacts,
    Hold,
    TaskLine,
    build_digest,
    held_within,
)

# The digests of all dates have names with this prefix.
DIGEST: Final = "digest "

# What the first digest covers.
_FIRST_PERIOD: Final = timedelta(days=1)

# Until then a dismissal may still be in flight, or wait for the next list.
_UNRESOLVED_AFTER: Final = timedelta(minutes=30)

# After these, the next digest begins where this one ended. After the others the next
# one covers the period again, since people may not have read it.
_READ: Final = (
    NotificationOutcome.SENT,
    NotificationOutcome.PARTIAL,
    NotificationOutcome.QUIET,
)


def digest_begins(ledger: Ledger, now: datetime, name: str | None = None) -> datetime:
    """Return the time up to which earlier digests have told what happened.

    ``name`` is that of the digest itself, which is sent again to whoever lacks it.
    """
    last = ledger.notifications.latest(DIGEST, _READ, below=name)
    if last is None or last.created_at > now:
        # A time in the future means that the clock was set back since.
        return now - _FIRST_PERIOD
    return last.created_at


def read_digest(
    ledger: Ledger, *, since: datetime, now: datetime, problems: Sequence[str]
) -> Digest:
    """Return the digest of a period; ``problems`` are those that the ledger lacks."""
    activity = ledger.activity
    state: Mapping[str, Any] = ledger.state.load(StateName.DAEMON) or {}
    holds = _holds(ledger, state)
    decided = activity.count_decided(since, now)
    soon = held_within(holds, now)[:MAX_PLANNED]
    examples: dict[tuple[str | None, str], list[TaskLine]] = {}
    for task in activity.dismissed(since, now, per_rule=MAX_EXAMPLES):
        line = TaskLine(task.task_id, task.description)
        examples.setdefault((task.rule, task.reason), []).append(line)
    return build_digest(
        DigestFacts(
            workspace=ledger.workspace,
            since=since,
            until=now,
            dry_run=bool(state.get("dry_run")),
            dismissed=activity.count_dismissed(since, now),
            examples=examples,
            holds=holds,
            descriptions=activity.descriptions([hold.task_id for hold in soon]),
            observed=activity.count_observed(since, now),
            decided={
                rule: (each.dismissed, each.approved)
                for rule, each in decided.items()
                if each.dismissed or each.approved
            },
            decided_ever={
                rule: (each.dismissed_ever, each.approved_ever)
                for rule, each in decided.items()
            },
            changes=[
                _changed(change)
                for change in ledger.rule_changes.since(since)
                if change.at <= now
            ],
            problems=[*_ledger_problems(ledger, now), *problems],
        )
    )


def read_alerts(ledger: Ledger, now: datetime) -> list[Alert]:
    """Return the events of the ledger that people are told of at once."""
    alerts: list[Alert] = []
    breaker = ledger.flags.get(FlagName.BREAKER)
    if breaker is not None:
        alerts.append(breaker_alert(breaker.since, breaker.reason))
    if ledger.rule_changes.since(now - MAX_EVENT_AGE):
        changes = [
            FingerprintedChange(_changed(change), change.fingerprint)
            for change in ledger.rule_changes.since(None)
        ]
        alerts += rule_alerts(changes, now=now)
    return alerts


def _changed(change: RuleChange) -> ChangedRule:
    return ChangedRule(
        rule=change.rule,
        is_promotion=change.change.value == "promoted",
        at=change.at,
        by=change.by,
    )


def _holds(ledger: Ledger, state: Mapping[str, Any]) -> list[Hold]:
    """Return the holds of enforced rules: those of observing rules dismiss nothing."""
    durations = {
        rule["name"]: timedelta(seconds=rule.get("hold_seconds", 0))
        for rule in state.get("rules") or ()
        if rule.get("mode") == Mode.ENFORCE
    }
    return [
        Hold(hold.task_id, hold.rule, since + durations[hold.rule])
        for hold, since in ledger.holds.all().items()
        if hold.rule in durations
    ]


def _ledger_problems(ledger: Ledger, now: datetime) -> Iterator[str]:
    breaker = ledger.flags.get(FlagName.BREAKER)
    if breaker is not None:
        yield (
            f"The breaker has been open since {breaker.since:%Y-%m-%d %H:%M} UTC, so"
            f" nothing is dismissed: {breaker.reason}."
        )
    paused = ledger.flags.get(FlagName.PAUSED)
    if paused is not None:
        by = f" by {paused.set_by}" if paused.set_by else ""
        note = f" ({paused.reason})" if paused.reason else ""
        yield (
            f"Dismissing has been paused{by} since {paused.since:%Y-%m-%d %H:%M}"
            f" UTC{note}; triaged resume ends the pause."
        )
    late = [
        record
        for record in ledger.dismissals.unresolved()
        if now - record.decided_at > _UNRESOLVED_AFTER
    ]
    if late:
        number = "1 dismissal was" if len(late) == 1 else f"{len(late)} dismissals were"
        yield (
            f"{number} sent without a usable answer, and no list has shown the outcome"
            " since."
        )
