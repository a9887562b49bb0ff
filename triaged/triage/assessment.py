"""What the rules and the past say together of a list of tasks.

It reads the ledger and writes nothing; cycles, plans and people's commands share it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from triaged.ledger import Ledger
from triaged.ledger.decisions import Holding
from triaged.ledger.dismissals import Closed, Outcome
from triaged.ledger.flags import MarkName
from triaged.rules.rule import Ruleset
from triaged.rules.task import Decision, Task
from triaged.rulesfile.loader import Rules
from triaged.triage.guard import Past, Screened, is_clock_wrong, screen

# After a refusal of its own kind (422 and the like) asking again soon only costs.
REFUSED_FOR: Final = timedelta(hours=24)


class Judge:
    """Judges a list of tasks by rules and by what the ledger knows of the past."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def assess(
        self,
        rules: Rules,
        tasks: Sequence[Task],
        *,
        now: datetime,
        clock_skew: timedelta,
    ) -> tuple[Screened, Past]:
        """Decide on each task and pass the decisions through the guard."""
        decisions = rules.engine.decide(tasks, now=now)
        past = self._past(rules.ruleset, decisions, now=now, clock_skew=clock_skew)
        return screen(decisions, rules.ruleset, past, now=now), past

    def _past(
        self,
        ruleset: Ruleset,
        decisions: Sequence[Decision],
        *,
        now: datetime,
        clock_skew: timedelta,
    ) -> Past:
        wanted = {d.task.id: d.task for d in decisions if d.dismisses and d.task.id}
        closed = self._ledger.dismissals.closed(list(wanted))
        done, refused = _spoken_for(wanted, closed, now)
        return Past(
            vetoed=self._ledger.marks.vetoed(),
            done=done,
            refused=refused,
            held_since=self._held_since(ruleset, decisions),
            spent=self._ledger.dismissals.spent_on(now),
            paused=self._ledger.marks.get(MarkName.PAUSED) is not None,
            clock_skew=clock_skew,
        )

    def _held_since(
        self, ruleset: Ruleset, decisions: Sequence[Decision]
    ) -> dict[tuple[str, str], datetime]:
        known = self._ledger.judgements.holds()
        if not known:
            return {}
        prints = fingerprints(ruleset)
        by_task = {d.task.id: d.task for d in decisions if d.task.id}
        return {
            (hold.task_id, hold.rule): since
            for hold, since in known.items()
            if (task := by_task.get(hold.task_id)) is not None
            and hold.rule in prints
            and hold.fingerprint == _hold_print(task, prints[hold.rule])
        }


def new_holds(
    ruleset: Ruleset, screened: Screened, past: Past, at: datetime
) -> dict[Holding, datetime]:
    """Return the holds to keep: those that run on, and those that begin now.

    By a wrong clock nothing begins: a hold that did could be over at once.
    """
    prints = fingerprints(ruleset)
    by_task = {d.task.id: d.task for d in screened.decisions if d.task.id}
    known = past.held_since or {}
    may_begin = not is_clock_wrong(past.clock_skew)
    return {
        Holding(task_id, rule, _hold_print(by_task[task_id], prints[rule])): (
            known.get((task_id, rule), at)
        )
        for task_id, rule in screened.wanting
        if may_begin or (task_id, rule) in known
    }


def fingerprints(ruleset: Ruleset) -> dict[str, str]:
    """Return a hash of each rule with a hold: changed rules hold anew."""
    return {
        rule.name: hashlib.sha256(repr((rule.match, rule.reason)).encode()).hexdigest()
        for rule in ruleset.rules
        if rule.hold
    }


def _hold_print(task: Task, rule_print: str) -> str:
    return hashlib.sha256(f"{task.digest()}{rule_print}".encode()).hexdigest()


def _spoken_for(
    tasks: Mapping[str, Task], closed: Mapping[str, Sequence[Closed]], now: datetime
) -> tuple[frozenset[str], frozenset[str]]:
    """Find the tasks that are done for, and those refused lately as they are now."""
    done: set[str] = set()
    refused: set[str] = set()
    for task_id, ends in closed.items():
        digest = tasks[task_id].digest()
        for end in ends:
            lately = now - end.at < REFUSED_FOR and end.content_sha256 == digest
            if end.outcome is Outcome.CONFIRMED:
                # Dismissed is final; a list that still has it is behind, or mistaken.
                done.add(task_id)
            elif lately:
                (refused if end.outcome is Outcome.REJECTED else done).add(task_id)
    return frozenset(done), frozenset(refused)
