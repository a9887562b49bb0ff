"""Explanations as JSON, the form in which they are stored and printed.

Text from tasks is stored unchanged; code that writes to a terminal escapes it.
"""

import json
from typing import Any

from triaged.rules.explain import ConditionResult, Explanation, RuleResult
from triaged.rules.task import Decision


def decision_to_dict(decision: Decision) -> dict[str, Any]:
    """Return the row that ``plan`` prints for one task."""
    return {
        "task_id": decision.task.id,
        "decision": "dismiss" if decision.is_dismissal else "leave",
        "rule": decision.rule,
        "reason": decision.reason,
        "cause": decision.cause,
        "observed": [dismissal.rule for dismissal in decision.observed],
    }


def explanation_to_dict(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation of one decision as a JSON object."""
    closest = explanation.closest_rule()
    return {
        "decision": decision_to_dict(explanation.decision),
        "now": explanation.now.isoformat(),
        "protect": [result_to_dict(match) for match in explanation.protect],
        "rules": [_rule_to_dict(rule) for rule in explanation.rules],
        "closest_rule": closest.rule if closest else None,
    }


def result_to_dict(result: ConditionResult) -> dict[str, Any]:
    """Return the result of one condition as a JSON object; ``null`` means unknown."""
    document: dict[str, Any] = {
        "condition": result.condition,
        "result": result.result,
        "expected": result.expected,
        "actual": result.actual,
    }
    if result.children:
        document["children"] = [result_to_dict(child) for child in result.children]
    return document


def dump_trace(explanation: Explanation) -> str:
    """Return the explanation as the JSON text that the ledger stores."""
    full = explanation_to_dict(explanation)
    return json.dumps(full, ensure_ascii=False, separators=(",", ":"))


def _rule_to_dict(rule: RuleResult) -> dict[str, Any]:
    return {
        "rule": rule.rule,
        "mode": rule.mode,
        "action": rule.action,
        "evaluated": rule.evaluated,
        "applied": rule.applied,
        "match": result_to_dict(rule.match),
    }
