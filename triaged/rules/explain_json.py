"""Explanations as JSON: how a decision's trace is stored and printed.

Texts from tasks stay as they are; whoever shows them to a terminal cleans them.
"""

import json
from typing import Any

from triaged.rules.explain import Explanation, RuleVerdict, Verdict
from triaged.rules.task import Decision


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return the row that ``plan`` prints for one task."""
    return {
        "task_id": decision.task.id,
        "decision": "dismiss" if decision.dismisses else "leave",
        "rule": decision.rule,
        "reason": decision.reason,
        "cause": decision.cause,
        "observed": [dismissal.rule for dismissal in decision.observed],
    }


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """Return everything that bears on one decision."""
    nearest = explanation.nearest()
    return {
        "decision": decision_json(explanation.decision),
        "now": explanation.now.isoformat(),
        "protect": [verdict_json(verdict) for verdict in explanation.protect],
        "rules": [_rule_json(rule) for rule in explanation.rules],
        "nearest": nearest.rule if nearest else None,
    }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return one condition's verdict; truth is true, false or null for unknown."""
    shown: dict[str, Any] = {
        "what": verdict.what,
        "truth": verdict.truth,
        "wanted": verdict.wanted,
        "seen": verdict.seen,
    }
    if verdict.parts:
        shown["parts"] = [verdict_json(part) for part in verdict.parts]
    return shown


def trace_text(explanation: Explanation) -> str:
    """Return the trace as the ledger keeps it."""
    full = explanation_json(explanation)
    return json.dumps(full, ensure_ascii=False, separators=(",", ":"))


def _rule_json(verdict: RuleVerdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "mode": verdict.mode,
        "wants": verdict.wants,
        "reached": verdict.reached,
        "acted": verdict.acted,
        "match": verdict_json(verdict.match),
    }
