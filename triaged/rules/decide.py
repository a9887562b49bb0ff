"""What the rules say of each task: a pure function of rules, tasks and the moment.

Caps, holds and the other belts are the guard's, which sees these decisions next.
``decide`` is the plain reading; ``index`` answers the same faster.
"""

from collections.abc import Sequence
from datetime import datetime

from triaged.rules.context import Listing, survey, unclear_ids
from triaged.rules.evaluate import holds
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Cause, Decision, Dismissal, Task


def decide(ruleset: Ruleset, tasks: Sequence[Task], *, now: datetime) -> list[Decision]:
    """Decide on each task, in the order listed."""
    listing = survey(ruleset.conditions(), tasks, now=now)
    unclear = unclear_ids(tasks)
    return [
        Decision(task, Cause.MALFORMED)
        if index in unclear
        else decide_one(ruleset, task, listing)
        for index, task in enumerate(tasks)
    ]


def decide_one(ruleset: Ruleset, task: Task, listing: Listing) -> Decision:
    """Decide on one task: protection first, then the rules in order."""
    if (cause := unfit(task)) is not None:
        return Decision(task, cause)
    if any(holds(shield, task, listing) is not False for shield in ruleset.protect):
        return Decision(task, Cause.PROTECTED)
    observed: list[Dismissal] = []
    for rule in ruleset.rules:
        if rule.mode is Mode.OFF:
            continue
        truth = holds(rule.match, task, listing)
        if rule.reason is None:
            if truth is not False and rule.mode is Mode.ENFORCE:
                return Decision(
                    task, Cause.LEAVE_RULE, rule.name, None, tuple(observed)
                )
        elif truth is True:
            if rule.mode is Mode.ENFORCE:
                return Decision(task, None, rule.name, rule.reason, tuple(observed))
            observed.append(Dismissal(rule.name, rule.reason))
    return Decision(task, Cause.NO_RULE, observed=tuple(observed))


def unfit(task: Task) -> Cause | None:
    """Say why a task cannot be judged at all; None when it can."""
    if task.id is None:
        return Cause.MALFORMED
    return None if task.is_pending else Cause.NOT_PENDING
