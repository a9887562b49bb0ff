"""Explains a task by the facts stored with its decision, not by the current rules."""

from typing import Any

from triaged.ledger import Ledger
from triaged.ledger.decisions import DecisionRecord
from triaged.ledger.dismissals import DismissalFilter
from triaged.ledger.views import LedgerViews
from triaged.rules.context import EvaluationContext, duplicate_conditions
from triaged.rules.evidence import rules_in_force
from triaged.rules.explain import explain
from triaged.rules.explain_json import decision_to_dict, explanation_to_dict
from triaged.rules.task import Decision, parse_task
from triaged.rulesfile.loader import parse_bundle


def stored_explanation(
    ledger: Ledger | LedgerViews, task_id: str
) -> dict[str, Any] | None:
    """Return the explanation of the last dismissal or decision; None without one."""
    found = ledger.dismissals.query(DismissalFilter(task_id=task_id, last=1))
    if not found:
        record = ledger.decisions.latest(task_id)
        return None if record is None else _evaluated_again(ledger, record)
    entry = found[0]
    # A manual dismissal has no decision of the rules.
    by_hand = Decision(parse_task(entry.task), None, reason=entry.reason)
    about_dismissal = {
        "source": "ledger",
        "task_id": task_id,
        "task": entry.task,
        "decided_at": entry.decided_at.isoformat(),
        "rules_sha256": entry.rules_sha256,
        "dismissal": {
            "rule": entry.rule,
            "reason": entry.reason,
            "outcome": entry.outcome or "unknown",
            "source": entry.source,
            "detail": entry.detail,
        },
        "decision": decision_to_dict(by_hand),
    }
    return {**about_dismissal, **entry.trace}


def _evaluated_again(
    ledger: Ledger | LedgerViews, record: DecisionRecord
) -> dict[str, Any] | None:
    """Evaluate the stored task by the stored rules, which gives the same tree again."""
    text = ledger.rulesets.source(record.rules_sha256)
    if text is None:
        return None
    changes = ledger.rule_changes.changes(at=record.decided_at)
    ruleset = rules_in_force(parse_bundle(text, "rules in the ledger").ruleset, changes)
    task = parse_task(record.task)
    duplicates = duplicate_conditions(ruleset.conditions())
    copies = zip(duplicates, record.duplicate_flags, strict=True)
    context = EvaluationContext(
        record.decided_at,
        {
            duplicate: {} if copy is None else {record.task_id: copy}
            for duplicate, copy in copies
        },
    )
    explanation = explain(ruleset, task, context)
    decision = explanation.decision._replace(
        cause=record.cause, rule=record.rule, reason=record.reason
    )
    return {
        "source": "ledger",
        "task_id": record.task_id,
        "task": record.task,
        "decided_at": record.decided_at.isoformat(),
        "rules_sha256": record.rules_sha256,
        **explanation_to_dict(explanation),
        "decision": decision_to_dict(decision),
    }
