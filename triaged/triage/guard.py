"""The safety limits between a decision and a dismissal, as pure functions.

The guard can only turn a dismissal into a leave. It reads no clock and no ledger: past
events are passed in as ``History``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from triaged.rules.context import EvaluationContext, iter_duplicates
from triaged.rules.evaluate import age_of
from triaged.rules.evidence import is_audited
from triaged.rules.rule import Ruleset, SafetyLimits
from triaged.rules.task import Decision, LeaveCause, ProposedDismissal, Task

# With fewer tasks, a share is not meaningful.
BREAKER_MIN_TASKS: Final = 20

# With a larger clock skew, ages cannot be trusted (`Date` has whole seconds).
MAX_CLOCK_SKEW: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The facts of the ledger that decide whether a dismissal may be sent.

    ``handled`` are tasks that were dismissed or found handled before,
    ``recently_rejected`` tasks whose dismissal the server rejected, ``unresolved``
    tasks with an attempt that may still take effect. ``held_since`` is by task id and
    rule, or None where there is no ledger; ``dismissed_today`` counts by rule (None: by
    a person).
    """

    vetoed: frozenset[str] = frozenset()
    handled: frozenset[str] = frozenset()
    recently_rejected: frozenset[str] = frozenset()
    held_since: Mapping[tuple[str, str], datetime] | None = field(default_factory=dict)
    unresolved: frozenset[str] = frozenset()
    dismissed_today: Mapping[str | None, int] = field(default_factory=dict)
    paused: bool = False
    clock_skew: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardResult:
    """The dismissals that the guard permits, and the causes for leaving the others.

    ``decisions`` are in the order given; ``to_dismiss`` are those that dismiss, oldest
    first. ``breaker`` is why the breaker is open, or None; ``on_hold_rules`` are the
    tasks, with their rule, that a rule with a hold matches now; ``observed`` are
    dismissals by observing rules past minimum age and hold, ``audited`` those that
    acting rules leave to people.
    """

    decisions: tuple[Decision, ...]
    to_dismiss: tuple[Decision, ...]
    breaker: str | None
    on_hold_rules: frozenset[tuple[str, str]]
    observed: tuple[tuple[Task, ProposedDismissal], ...]
    audited: tuple[tuple[Task, ProposedDismissal], ...]

    @property
    def matched_rules(self) -> frozenset[str]:
        """The names of the rules that matched at least one task."""
        rules = {d.rule for d in self.decisions if d.rule is not None}
        return frozenset(rules | {o.rule for d in self.decisions for o in d.observed})

    @property
    def wanted(self) -> dict[str, Counter[LeaveCause]]:
        """The numbers of tasks that a rule matches but the guard keeps, by cause."""
        found: dict[str, Counter[LeaveCause]] = {}
        for d in self.decisions:
            if d.rule is not None and d.reason is not None and d.cause is not None:
                found.setdefault(d.rule, Counter())[d.cause] += 1
        return found

    @property
    def left(self) -> Counter[LeaveCause]:
        """The numbers of tasks that are left, by cause."""
        return Counter(d.cause for d in self.decisions if d.cause is not None)


def apply_guard(
    decisions: Sequence[Decision],
    ruleset: Ruleset,
    history: History,
    context: EvaluationContext,
) -> GuardResult:
    """Pass each decision through all safety limits; caps keep the oldest tasks."""
    now = context.now
    holds = {rule.name: rule.hold for rule in ruleset.rules if rule.hold}
    rules = {rule.name: rule for rule in ruleset.rules}
    breaker = _breaker(decisions, ruleset.safety, history)
    common = _global_cause(breaker, history)
    causes: dict[int, LeaveCause] = {}
    due: list[int] = []
    for index, decision in enumerate(decisions):
        if not decision.is_dismissal:
            continue
        cause = _task_cause(decision, ruleset.safety, holds, history, now)
        rule = rules.get(decision.rule or "")
        if cause is None and rule is not None and is_audited(rule, decision.task):
            cause = LeaveCause.AUDIT
        cause = cause or common
        if cause is None:
            due.append(index)
        else:
            causes[index] = cause
    kept = _kept_for_others([decisions[index] for index in due], ruleset, context)
    causes |= {i: LeaveCause.HELD for i in due if decisions[i].task.id in kept}
    due = [index for index in due if index not in causes]
    due.sort(key=lambda index: oldest_first(decisions[index].task))
    admitted = _apply_caps(
        [decisions[index] for index in due], ruleset, history.dismissed_today
    )
    within = [index for index, ok in zip(due, admitted, strict=True) if ok]
    causes |= dict.fromkeys(set(due) - set(within), LeaveCause.OVER_CAP)
    return GuardResult(
        decisions=tuple(
            decision._replace(cause=causes[index]) if index in causes else decision
            for index, decision in enumerate(decisions)
        ),
        to_dismiss=tuple(decisions[index] for index in within),
        breaker=breaker,
        on_hold_rules=frozenset(_wanting(decisions, holds)),
        observed=tuple(_ripe(decisions, ruleset.safety, holds, history, now)),
        audited=tuple(
            (
                decisions[index].task,
                ProposedDismissal(
                    decisions[index].rule or "", decisions[index].reason or ""
                ),
            )
            for index, cause in causes.items()
            if cause is LeaveCause.AUDIT
        ),
    )


def _kept_for_others(
    due: Sequence[Decision], ruleset: Ruleset, context: EvaluationContext
) -> frozenset[str | None]:
    """Return the ids of tasks to keep because a copy of them is dismissed now."""
    duplicates = {
        rule.name: tuple(iter_duplicates(rule.match)) for rule in ruleset.rules
    }
    return frozenset(
        context.kept_for(condition, decision.task.id or "")
        for decision in due
        for condition in duplicates.get(decision.rule or "", ())
    ) - {None}


def is_clock_wrong(clock_skew: timedelta) -> bool:
    """Return whether the clock is so far off that no age can be trusted."""
    return abs(clock_skew) > MAX_CLOCK_SKEW


def is_below_min_age(task: Task, safety: SafetyLimits, *, now: datetime) -> bool:
    """Return whether a task is younger than the minimum age, or its age is unknown."""
    if not safety.min_age:
        return False
    age = age_of(task, now)
    return age is None or age < safety.min_age


def _task_cause(
    decision: Decision,
    safety: SafetyLimits,
    holds: Mapping[str, timedelta],
    history: History,
    now: datetime,
) -> LeaveCause | None:
    """Return the safety limit that keeps this task, regardless of other tasks."""
    task = decision.task
    if task.id in history.handled:
        return LeaveCause.NOT_PENDING
    if task.id in history.vetoed:
        return LeaveCause.VETOED
    if is_below_min_age(task, safety, now=now):
        return LeaveCause.YOUNG
    if task.id in history.unresolved or task.id in history.recently_rejected:
        return LeaveCause.HELD
    if _is_held(task, decision.rule, holds, history, now):
        return LeaveCause.HELD
    return None


def _is_held(
    task: Task,
    rule: str | None,
    holds: Mapping[str, timedelta],
    history: History,
    now: datetime,
) -> bool:
    if rule is None or task.id is None or rule not in holds:
        return False
    if history.held_since is None:
        return False
    since = history.held_since.get((task.id, rule))
    return since is None or now - since < holds[rule]


def _breaker(
    decisions: Sequence[Decision], safety: SafetyLimits, history: History
) -> str | None:
    """Return why nothing may be dismissed at all; None if the breaker is closed."""
    if is_clock_wrong(history.clock_skew):
        seconds = history.clock_skew.total_seconds()
        return f"this machine's clock is {seconds:+.0f} s off the server's"
    pending = [d for d in decisions if d.task.is_pending]
    pending = [d for d in pending if d.cause is not LeaveCause.MALFORMED]
    wanted = sum(
        d.is_dismissal
        and d.task.id not in history.vetoed
        and d.task.id not in history.handled
        for d in pending
    )
    share = safety.max_share_of_pending
    # Exact: in binary floating point, 29 of 100 exceeds a share of 0.29.
    allowed = Fraction(repr(share)) * len(pending)
    if wanted > BREAKER_MIN_TASKS and wanted > allowed:
        return (
            f"the rules want {wanted} of {len(pending)} pending tasks, more than the"
            f" share of {share:g} that max_share_of_pending allows"
        )
    return None


def _global_cause(breaker: str | None, history: History) -> LeaveCause | None:
    if breaker is not None:
        return LeaveCause.BREAKER
    return LeaveCause.PAUSED if history.paused else None


def _apply_caps(
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
        if decision.is_dismissal and decision.rule is not None:
            rules.append(decision.rule)
        for rule in rules:
            if rule in holds:
                yield decision.task.id, rule


def _ripe(
    decisions: Iterable[Decision],
    safety: SafetyLimits,
    holds: Mapping[str, timedelta],
    history: History,
    now: datetime,
) -> Iterable[tuple[Task, ProposedDismissal]]:
    for decision in decisions:
        if decision.observed and not is_below_min_age(decision.task, safety, now=now):
            for dismissal in decision.observed:
                if not _is_held(decision.task, dismissal.rule, holds, history, now):
                    yield decision.task, dismissal


def oldest_first(task: Task) -> tuple[bool, float, str]:
    """Return a sort key: oldest first, tasks without a valid time last, then by id."""
    created = task.created_at
    return created is None, created.timestamp() if created else 0.0, task.id or ""
