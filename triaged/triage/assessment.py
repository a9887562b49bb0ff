"""What the rules and the past say together of a list of tasks.

It reads the ledger and writes nothing; cycles, plans and people's commands share it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from triaged.ledger import Ledger
from triaged.ledger.decisions import Hold
from triaged.ledger.dismissals import FinalOutcome, Outcome
from triaged.ledger.flags import FlagName
from triaged.rules.canonical import rule_fingerprint
from triaged.rules.rule import Ruleset
from triaged.rules.task import Decision, Task
from triaged.rulesfile.loader import CompiledRules
from triaged.triage.guard import GuardResult, History, apply_guard, is_clock_wrong

# After a refusal of its own kind (422 and the like) asking again soon only costs.
REJECTION_RETRY_AFTER: Final = timedelta(hours=24)


class Judge:
    """Judges a list of tasks by rules and by what the ledger knows of the past."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def assess(
        self,
        rules: CompiledRules,
        tasks: Sequence[Task],
        *,
        now: datetime,
        clock_skew: timedelta,
    ) -> tuple[GuardResult, History]:
        """Decide on each task and pass the decisions through the guard."""
        decisions = rules.engine.decide(tasks, now=now)
        history = self._past(rules.ruleset, decisions, now=now, clock_skew=clock_skew)
        return apply_guard(decisions, rules.ruleset, history, now=now), history

    def _past(
        self,
        ruleset: Ruleset,
        decisions: Sequence[Decision],
        *,
        now: datetime,
        clock_skew: timedelta,
    ) -> History:
        wanted = {d.task.id: d.task for d in decisions if d.is_dismissal and d.task.id}
        closed = self._ledger.dismissals.final_outcomes(list(wanted))
        done, refused = _handled_or_rejected(wanted, closed, now)
        return History(
            vetoed=self._ledger.flags.vetoed(),
            handled=done,
            recently_rejected=refused,
            held_since=self._held_since(ruleset, decisions),
            dismissed_today=self._ledger.dismissals.count_by_rule(now),
            paused=self._ledger.flags.get(FlagName.PAUSED) is not None,
            clock_skew=clock_skew,
        )

    def _held_since(
        self, ruleset: Ruleset, decisions: Sequence[Decision]
    ) -> dict[tuple[str, str], datetime]:
        known = self._ledger.decisions.holds()
        if not known:
            return {}
        prints = rule_fingerprints(ruleset)
        by_task = {d.task.id: d.task for d in decisions if d.task.id}
        return {
            (hold.task_id, hold.rule): since
            for hold, since in known.items()
            if (task := by_task.get(hold.task_id)) is not None
            and hold.rule in prints
            and hold.fingerprint == _hold_fingerprint(task, prints[hold.rule])
        }


def next_holds(
    ruleset: Ruleset, guarded: GuardResult, history: History, at: datetime
) -> dict[Hold, datetime]:
    """Return the holds to keep: those that run on, and those that begin now.

    By a wrong clock nothing begins: a hold that did could be over at once.
    """
    prints = rule_fingerprints(ruleset)
    by_task = {d.task.id: d.task for d in guarded.decisions if d.task.id}
    known = history.held_since or {}
    may_begin = not is_clock_wrong(history.clock_skew)
    return {
        Hold(task_id, rule, _hold_fingerprint(by_task[task_id], prints[rule])): (
            known.get((task_id, rule), at)
        )
        for task_id, rule in guarded.on_hold_rules
        if may_begin or (task_id, rule) in known
    }


def rule_fingerprints(ruleset: Ruleset) -> dict[str, str]:
    """Return a hash of each rule with a hold: a changed rule starts its holds again."""
    return {rule.name: rule_fingerprint(rule) for rule in ruleset.rules if rule.hold}


def _hold_fingerprint(task: Task, rule_print: str) -> str:
    return hashlib.sha256(f"{task.content_hash()}{rule_print}".encode()).hexdigest()


def _handled_or_rejected(
    tasks: Mapping[str, Task],
    closed: Mapping[str, Sequence[FinalOutcome]],
    now: datetime,
) -> tuple[frozenset[str], frozenset[str]]:
    """Find the tasks that are done for, and those refused lately as they are now."""
    done: set[str] = set()
    refused: set[str] = set()
    for task_id, ends in closed.items():
        digest = tasks[task_id].content_hash()
        for end in ends:
            lately = (
                now - end.at < REJECTION_RETRY_AFTER and end.content_sha256 == digest
            )
            if end.outcome is Outcome.CONFIRMED:
                # Dismissed is final; a list that still has it is behind, or mistaken.
                done.add(task_id)
            elif lately:
                (refused if end.outcome is Outcome.REJECTED else done).add(task_id)
    return frozenset(done), frozenset(refused)
