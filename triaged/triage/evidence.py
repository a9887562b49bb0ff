"""Promotes and demotes rules by what people did with the tasks that they left.

Each change is recorded with its evidence, counted in the same transaction, and logged.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.ledger.rule_changes import RuleChange
from triaged.ledger.state import StateName
from triaged.rules.describe import rule_fingerprint
from triaged.rules.evidence import (
    EVIDENCE_LIFETIME,
    earns_promotion,
    mode_in_force,
)
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import Change
from triaged.triage.agreement import Agreement
from triaged.triage.guard import is_clock_wrong

MODE_AFTER: Final = {Change.PROMOTED: Mode.ENFORCE, Change.DEMOTED: Mode.OBSERVE}

log = structlog.get_logger()


def agreement_of(ledger: Ledger, rule: Rule, *, now: datetime) -> Agreement:
    """Return what people did with the rule's tasks, as far as that is evidence now.

    Decisions older than 90 days are not, nor are those on tasks first seen before the
    rule was last promoted or demoted, or before its match or reason changed.
    """
    fingerprint = rule_fingerprint(rule)
    last = ledger.rule_changes.latest().get(rule.name, {}).get(fingerprint)
    dismissed, approved = ledger.feedback.evidence(
        rule.name,
        fingerprint,
        since=now - EVIDENCE_LIFETIME,
        after=None if last is None else last.at,
    )
    return Agreement(dismissed, approved)


def promote_by_evidence(
    ledger: Ledger, ruleset: Ruleset, *, now: datetime, clock_skew: timedelta
) -> Sequence[RuleChange]:
    """Promote each observing rule whose evidence suffices; return the changes.

    ``ruleset`` is that of the file. While the breaker is open or the clock is wrong,
    none is promoted.
    """
    if is_clock_wrong(clock_skew) or ledger.flags.get(FlagName.BREAKER) is not None:
        return ()
    changes = ledger.rule_changes.changes()
    waiting = [
        (rule, rule.promote)
        for rule in ruleset.rules
        if rule.promote is not None
        and rule.reason is not None
        and mode_in_force(rule, changes) is Mode.OBSERVE
    ]
    if not waiting:
        return ()
    found = []
    with ledger.transaction():
        for rule, promote in waiting:
            agreement = agreement_of(ledger, rule, now=now)
            if agreement.interval is not None and earns_promotion(
                promote, agreement.total, agreement.interval[0]
            ):
                evidence = evidence_json(agreement)
                found.append(change_mode(ledger, rule, Change.PROMOTED, evidence, now))
    log_changes(found)
    return tuple(found)


def change_mode(
    ledger: Ledger,
    rule: Rule,
    change: Change,
    evidence: dict[str, Any],
    at: datetime,
    *,
    by: str = "",
    fingerprint: str = "",
) -> RuleChange:
    """Record that a rule was promoted or demoted, and return the change.

    ``fingerprint`` is of another version of the rule than this one.
    """
    made = RuleChange(
        rule=rule.name,
        fingerprint=fingerprint or rule_fingerprint(rule),
        change=change,
        at=at,
        by=by,
        evidence=evidence,
    )
    ledger.rule_changes.record(made)
    return made


def daemon_version(ledger: Ledger, rule: Rule) -> tuple[str, Mode] | None:
    """Return fingerprint and mode of the rule of this name in the daemon's last cycle.

    It differs from ``rule`` if the daemon has another rules file, or has not loaded
    this one yet. None if no cycle of a daemon had such a rule.
    """
    state = ledger.state.load(StateName.DAEMON) or {}
    changes = ledger.rule_changes.changes().get(rule.name, {})
    for known in state.get("rules", ()):
        fingerprint = known.get("rule_sha256")
        if known.get("name") == rule.name and fingerprint is not None:
            change = changes.get(fingerprint)
            mode = Mode(known["mode"]) if change is None else MODE_AFTER[change]
            return fingerprint, mode
    return None


def demote_disproved(
    ledger: Ledger, task_ids: Collection[str], *, at: datetime
) -> Sequence[RuleChange]:
    """Demote each rule that audited one of these tasks and people approved it.

    To be called in the transaction that records what people decided on the tasks. A
    rule that was demoted already stays as it is.
    """
    latest = ledger.rule_changes.changes()
    found: dict[tuple[str, str], RuleChange] = {}
    for task_id, rule, fingerprint, seen_at in ledger.feedback.approved_audits(
        task_ids
    ):
        key = rule, fingerprint
        is_demoted = latest.get(rule, {}).get(fingerprint) is Change.DEMOTED
        if is_demoted or key in found:
            continue
        found[key] = RuleChange(
            rule=rule,
            fingerprint=fingerprint,
            change=Change.DEMOTED,
            at=at,
            by="",
            evidence={"task_id": task_id, "audited_at": seen_at.isoformat()},
        )
        ledger.rule_changes.record(found[key])
    return tuple(found.values())


def evidence_json(agreement: Agreement) -> dict[str, Any]:
    """Return an agreement as the evidence of a change."""
    return {
        "dismissed": agreement.dismissed,
        "approved": agreement.approved,
        "interval": agreement.interval,
    }


def log_changes(changes: Sequence[RuleChange]) -> None:
    """Log changes, once they are recorded."""
    for change in changes:
        if change.change is Change.PROMOTED:
            log.info("rule.promoted", rule=change.rule, **change.evidence)
        else:
            log.warning("rule.demoted", rule=change.rule, **change.evidence)
