"""Decides on each task: a pure function of the rules, the tasks and the time.

Caps, holds and the other safety limits are applied afterwards, by the guard. This
module is the reference implementation; ``compiled`` makes the same decisions faster.
"""

from collections.abc import Sequence
from datetime import datetime

from triaged.rules.context import EvaluationContext, ambiguous_rows, build_context
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Decision, LeaveCause, ProposedDismissal, Task


def decide(ruleset: Ruleset, tasks: Sequence[Task], *, now: datetime) -> list[Decision]:
    """Return one decision for each task, in the order listed."""
    context = build_context(ruleset.conditions(), tasks, now=now)
    unclear = ambiguous_rows(tasks)
    return [
        Decision(task, LeaveCause.MALFORMED)
        if index in unclear
        else decide_one(ruleset, task, context)
        for index, task in enumerate(tasks)
    ]


def decide_one(ruleset: Ruleset, task: Task, context: EvaluationContext) -> Decision:
    """Decide on one task: first the protect matches, then the rules in order."""
    if (cause := ineligible_cause(task)) is not None:
        return Decision(task, cause)
    if is_protected(ruleset, task, context):
        return Decision(task, LeaveCause.PROTECTED)
    observed: list[ProposedDismissal] = []
    for rule in ruleset.rules:
        if rule.mode is Mode.OFF:
            continue
        truth = evaluate(rule.match, task, context)
        if rule.reason is None:
            if truth is not False and rule.mode is Mode.ENFORCE:
                return Decision(
                    task, LeaveCause.LEAVE_RULE, rule.name, None, tuple(observed)
                )
        elif truth is True:
            if rule.mode is Mode.ENFORCE:
                return Decision(task, None, rule.name, rule.reason, tuple(observed))
            observed.append(ProposedDismissal(rule.name, rule.reason))
    return Decision(task, LeaveCause.NO_RULE, observed=tuple(observed))


def is_protected(ruleset: Ruleset, task: Task, context: EvaluationContext) -> bool:
    """Return whether a protect condition is true for the task, or unknown."""
    return any(
        evaluate(protection, task, context) is not False
        for protection in ruleset.protect
    )


def ineligible_cause(task: Task) -> LeaveCause | None:
    """Return why a task cannot be evaluated at all; None if it can."""
    if task.id is None:
        return LeaveCause.MALFORMED
    return None if task.is_pending else LeaveCause.NOT_PENDING
