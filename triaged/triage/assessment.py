"""Decides on a list of tasks by the rules, the ledger and the guard.

It reads the ledger and writes nothing; cycles, plans and manual commands share it.

"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.ledger import Ledger
from triaged.ledger.dismissals import FinalOutcome, Outcome
from triaged.ledger.flags import FlagName
from triaged.ledger.holds import Hold
from triaged.rules.context import EvaluationContext, build_context
from triaged.rules.describe import rule_fingerprint
from triaged.rules.rule import Ruleset
from triaged.rules.task import Decision, Task
from triaged.rulesfile.loader import CompiledRules
from triaged.triage.guard import GuardResult, History, apply_guard, is_clock_wrong

# After a rejection such as 422, an early retry would only waste a call.
REJECTION_RETRY_AFTER: Final = timedelta(hours=24)

# Some milliseconds of work; a thread of its own costs a tenth of one.
_DECIDED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Assessment:
    """What a cycle would do with a list of tasks, and all inputs of that decision.

    ``rules`` are in their modes in force. ``fingerprints`` identify the rules that
    matched a task or have a hold: holds and evidence of a changed rule start again.
    """

    rules: CompiledRules
    guarded: GuardResult
    history: History
    context: EvaluationContext
    fingerprints: Mapping[str, str]


def assess(
    ledger: Ledger,
    rules: CompiledRules,
    tasks: Sequence[Task],
    *,
    now: datetime,
    clock_skew: timedelta,
) -> Assessment:
    """Decide on each task and pass the decisions through the guard."""
    rules = rules.in_force(ledger.rule_changes.changes())
    context, decisions = _decide(rules, tasks, now)
    return _guard(ledger, rules, context, decisions, clock_skew)


async def assess_beside(
    ledger: Ledger,
    rules: CompiledRules,
    tasks: Sequence[Task],
    *,
    now: datetime,
    clock_skew: timedelta,
) -> Assessment:
    """Assess as ``assess`` does; a long list is decided on in a thread.

    So the event loop goes on meanwhile: other workspaces are polled, and health checks
    answered.
    """
    rules = rules.in_force(ledger.rule_changes.changes())
    if len(tasks) <= _DECIDED_AT_ONCE:
        context, decisions = _decide(rules, tasks, now)
    else:
        context, decisions = await asyncio.to_thread(_decide, rules, tasks, now)
    return _guard(ledger, rules, context, decisions, clock_skew)


def _decide(
    rules: CompiledRules, tasks: Sequence[Task], now: datetime
) -> tuple[EvaluationContext, Sequence[Decision]]:
    """Decide on each task by the rules alone."""
    context = build_context(rules.ruleset.conditions(), tasks, now=now)
    return context, rules.engine.decide(tasks, now=now, context=context)


def _guard(
    ledger: Ledger,
    rules: CompiledRules,
    context: EvaluationContext,
    decisions: Sequence[Decision],
    clock_skew: timedelta,
) -> Assessment:
    """Pass decisions through the guard, with what the ledger knows of their tasks."""
    ruleset, now = rules.ruleset, context.now
    fingerprints = _fingerprints(ruleset, decisions)
    wanted = {d.task.id: d.task for d in decisions if d.is_dismissal and d.task.id}
    final = ledger.dismissals.final_outcomes(list(wanted))
    handled, rejected = _handled_or_rejected(wanted, final, now)
    history = History(
        vetoed=ledger.vetoes.task_ids(),
        handled=handled,
        recently_rejected=rejected,
        unresolved=ledger.dismissals.unresolved_task_ids(),
        held_since=_held_since(ledger, fingerprints, decisions),
        dismissed_today=ledger.dismissals.count_by_rule(now, skew=clock_skew),
        paused=ledger.flags.get(FlagName.PAUSED) is not None,
        clock_skew=clock_skew,
    )
    return Assessment(
        rules=rules,
        guarded=apply_guard(decisions, ruleset, history, context),
        history=history,
        context=context,
        fingerprints=fingerprints,
    )


def next_holds(assessment: Assessment) -> dict[Hold, datetime]:
    """Return the holds to store: those that continue, and those that start now.

    With a wrong clock none starts, since it could end too early.
    """
    guarded, prints = assessment.guarded, assessment.fingerprints
    by_task = {d.task.id: d.task for d in guarded.decisions if d.task.id}
    known = assessment.history.held_since or {}
    may_begin = not is_clock_wrong(assessment.history.clock_skew)
    return {
        Hold(task_id, rule, _hold_fingerprint(by_task[task_id], prints[rule])): (
            known.get((task_id, rule), assessment.context.now)
        )
        for task_id, rule in guarded.on_hold_rules
        if may_begin or (task_id, rule) in known
    }


def _fingerprints(ruleset: Ruleset, decisions: Sequence[Decision]) -> dict[str, str]:
    """Return a fingerprint of match and reason for each rule that needs one now."""
    needed = {d.rule for d in decisions if d.is_dismissal}
    needed |= {proposed.rule for d in decisions for proposed in d.observed}
    return {
        rule.name: rule_fingerprint(rule)
        for rule in ruleset.rules
        if rule.hold or rule.name in needed
    }


def _held_since(
    ledger: Ledger, fingerprints: Mapping[str, str], decisions: Sequence[Decision]
) -> dict[tuple[str, str], datetime]:
    known = ledger.holds.all() if fingerprints else {}
    by_task = {d.task.id: d.task for d in decisions if d.task.id} if known else {}
    return {
        (hold.task_id, hold.rule): since
        for hold, since in known.items()
        if (task := by_task.get(hold.task_id)) is not None
        and hold.rule in fingerprints
        and hold.fingerprint == _hold_fingerprint(task, fingerprints[hold.rule])
    }


def _hold_fingerprint(task: Task, rule_print: str) -> str:
    text = f"{task.content_hash()}{rule_print}"
    return hashlib.sha256(text.encode()).hexdigest()


def _handled_or_rejected(
    tasks: Mapping[str, Task],
    final: Mapping[str, Sequence[FinalOutcome]],
    now: datetime,
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ids of handled tasks, and of those rejected recently and unchanged."""
    handled: set[str] = set()
    rejected: set[str] = set()
    for task_id, outcomes in final.items():
        content = tasks[task_id].content_hash()
        for end in outcomes:
            is_recent = (
                now - end.at < REJECTION_RETRY_AFTER and end.content_sha256 == content
            )
            if end.outcome is Outcome.CONFIRMED:
                # A dismissal is final; a list that still has the task is out of date or
                # wrong.
                handled.add(task_id)
            elif is_recent:
                (rejected if end.outcome is Outcome.REJECTED else handled).add(task_id)
    return frozenset(handled), frozenset(rejected)
