"""The belts between a decision and a dismissal, as arithmetic on values.

The guard only ever turns a dismissal into a leave.  It reads no clock and no ledger:
what it must know of the past comes in as ``Past``.  It does not know LeadLex.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from triaged.rules.evaluate import age_of
from triaged.rules.rule import Ruleset, Safety
from triaged.rules.task import Cause, Decision, Dismissal, Task

# A share says little about a handful of tasks.
BREAKER_MIN_TASKS: Final = 20

# With a clock this wrong, no age can be trusted (`Date` has whole seconds).
MAX_CLOCK_SKEW: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the ledger knows that bears on whether a dismissal may go ahead.

    ``done`` are tasks that were dismissed or found handled before, ``refused`` those
    whose dismissal the server refused lately; ``held_since`` is by task id and rule, or
    None where nobody can know; ``spent`` counts today's dismissals by rule (None: by a
    person's hand).
    """

    vetoed: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    held_since: Mapping[tuple[str, str], datetime] | None = field(default_factory=dict)
    spent: Mapping[str | None, int] = field(default_factory=dict)
    paused: bool = False
    clock_skew: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What the guard lets through, and what it found on the way.

    ``decisions`` are in the order given; ``due`` are those that dismiss, oldest
    first.  ``breaker`` says why it is open; ``wanting`` are the tasks for which a
    rule with a hold holds now.  ``ripe`` are observed dismissals past age and hold.
    """

    decisions: tuple[Decision, ...]
    due: tuple[Decision, ...]
    breaker: str | None
    wanting: frozenset[tuple[str, str]]
    ripe: tuple[tuple[Task, Dismissal], ...]

    @property
    def left(self) -> Counter[Cause]:
        """Count the tasks that are left, by cause."""
        return Counter(d.cause for d in self.decisions if d.cause is not None)


def screen(
    decisions: Sequence[Decision], ruleset: Ruleset, past: Past, *, now: datetime
) -> Screened:
    """Pass each decision through all belts, and keep the oldest under each cap."""
    holds = {rule.name: rule.hold for rule in ruleset.rules if rule.hold}
    breaker = _breaker(decisions, ruleset.safety, past)
    common = _common_cause(breaker, past)
    causes: dict[int, Cause] = {}
    due: list[int] = []
    for index, decision in enumerate(decisions):
        if not decision.dismisses:
            continue
        cause = _own_cause(decision, ruleset.safety, holds, past, now) or common
        if cause is None:
            due.append(index)
        else:
            causes[index] = cause
    due.sort(key=lambda index: seniority(decisions[index].task))
    admitted = _under_caps([decisions[index] for index in due], ruleset, past.spent)
    kept = [index for index, ok in zip(due, admitted, strict=True) if ok]
    causes |= dict.fromkeys(set(due) - set(kept), Cause.OVER_CAP)
    return Screened(
        decisions=tuple(
            decision._replace(cause=causes[index]) if index in causes else decision
            for index, decision in enumerate(decisions)
        ),
        due=tuple(decisions[index] for index in kept),
        breaker=breaker,
        wanting=frozenset(_wanting(decisions, holds)),
        ripe=tuple(_ripe(decisions, ruleset.safety, holds, past, now)),
    )


def is_clock_wrong(clock_skew: timedelta) -> bool:
    """Say whether no age can be trusted by a clock that is so far off."""
    return abs(clock_skew) > MAX_CLOCK_SKEW


def is_young(task: Task, safety: Safety, *, now: datetime) -> bool:
    """Say whether a task is too young to be touched, or may be for all we know."""
    if not safety.min_age:
        return False
    age = age_of(task, now)
    return age is None or age < safety.min_age


def _own_cause(
    decision: Decision,
    safety: Safety,
    holds: Mapping[str, timedelta],
    past: Past,
    now: datetime,
) -> Cause | None:
    """Name the belt that stops this task whatever becomes of the others."""
    task = decision.task
    if task.id in past.done:
        return Cause.NOT_PENDING
    if task.id in past.vetoed:
        return Cause.VETOED
    if is_young(task, safety, now=now):
        return Cause.YOUNG
    if task.id in past.refused or _is_held(task, decision.rule, holds, past, now):
        return Cause.HELD
    return None


def _is_held(
    task: Task,
    rule: str | None,
    holds: Mapping[str, timedelta],
    past: Past,
    now: datetime,
) -> bool:
    if rule is None or task.id is None or rule not in holds:
        return False
    if past.held_since is None:
        return False
    since = past.held_since.get((task.id, rule))
    return since is None or now - since < holds[rule]


def _breaker(decisions: Sequence[Decision], safety: Safety, past: Past) -> str | None:
    """Say why nothing may be dismissed at all; None when all looks ordinary."""
    if is_clock_wrong(past.clock_skew):
        seconds = past.clock_skew.total_seconds()
        return f"this machine's clock is {seconds:+.0f} s off the server's"
    pending = [d for d in decisions if d.task.is_pending]
    pending = [d for d in pending if d.cause is not Cause.MALFORMED]
    wanted = sum(
        d.dismisses and d.task.id not in past.vetoed and d.task.id not in past.done
        for d in pending
    )
    share = safety.max_share_of_pending
    # In binary 29 of 100 is more than 0.29 of them.
    allowed = Fraction(repr(share)) * len(pending)
    if wanted > BREAKER_MIN_TASKS and wanted > allowed:
        return (
            f"the rules want {wanted} of {len(pending)} pending tasks, more than the"
            f" share of {share:g} that max_share_of_pending allows"
        )
    return None


def _common_cause(breaker: str | None, past: Past) -> Cause | None:
    if breaker is not None:
        return Cause.BREAKER
    return Cause.PAUSED if past.paused else None


def _under_caps(
    due: Sequence[Decision], ruleset: Ruleset, spent: Mapping[str | None, int]
) -> list[bool]:
    safety = ruleset.safety
    caps = {rule.name: rule.max_per_day for rule in ruleset.rules}
    room = min(
        safety.max_dismissals_per_cycle,
        safety.max_dismissals_per_day - sum(spent.values()),
    )
    used: Counter[str | None] = Counter(spent)
    admitted = []
    for decision in due:
        cap = caps.get(decision.rule or "")
        fits = room > 0 and (cap is None or used[decision.rule] < cap)
        if fits:
            room -= 1
            used[decision.rule] += 1
        admitted.append(fits)
    return admitted


def _wanting(
    decisions: Iterable[Decision], holds: Mapping[str, timedelta]
) -> Iterable[tuple[str, str]]:
    for decision in decisions:
        if decision.task.id is None:
            continue
        rules = [dismissal.rule for dismissal in decision.observed]
        if decision.dismisses and decision.rule is not None:
            rules.append(decision.rule)
        for rule in rules:
            if rule in holds:
                yield decision.task.id, rule


def _ripe(
    decisions: Iterable[Decision],
    safety: Safety,
    holds: Mapping[str, timedelta],
    past: Past,
    now: datetime,
) -> Iterable[tuple[Task, Dismissal]]:
    for decision in decisions:
        if decision.observed and not is_young(decision.task, safety, now=now):
            for dismissal in decision.observed:
                if not _is_held(decision.task, dismissal.rule, holds, past, now):
                    yield decision.task, dismissal


def seniority(task: Task) -> tuple[bool, float, str]:
    """Sort the oldest first, those without a usable moment last, ties by id."""
    created = task.created_at
    return created is None, created.timestamp() if created else 0.0, task.id or ""
