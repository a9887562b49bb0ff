"""A faster ``decide``: each task is tested only against rules that could match it.

Rules are indexed by the task types that they require. A rule that requires a pattern in
the description is evaluated only if a single pass over the description found it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Final, TypeAlias

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionIs,
    Not,
    Regex,
    TypeIn,
    conjuncts,
)
from triaged.rules.context import (
    EvaluationContext,
    ambiguous_rows,
    build_context,
    iter_duplicates,
)
from triaged.rules.decide import ineligible_cause
from triaged.rules.evaluate import (
    TriState,
    evaluate,
    kleene_all,
    kleene_any,
    kleene_not,
)
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Decision, LeaveCause, ProposedDismissal, Task

Evaluator: TypeAlias = Callable[[Task, EvaluationContext], TriState]

# Every age lies between these, so they stand in for a bound that is not set.
_MIN_AGE: Final = timedelta(microseconds=-1)
_MAX_AGE: Final = timedelta.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One protect match or rule: when it applies to a task, and with which result.

    ``types`` (accepted task types) and ``required_patterns`` (at least one must occur
    in the description) are None where there is no such requirement; ``remaining`` holds
    the evaluators of all other conditions. If the type or the description is absent,
    the match is unknown or false as a whole: a step with ``matches_unknown`` is then
    decided by ``remaining``, and any other step does not apply.
    """

    types: frozenset[str] | None
    required_patterns: tuple[str, ...] | None
    remaining: tuple[Evaluator, ...]
    matches_unknown: bool
    cause: LeaveCause | None = None
    rule: str | None = None
    reason: str | None = None
    observed: ProposedDismissal | None = None

    def applies(self, task: Task, context: EvaluationContext) -> bool:
        """Return whether the step acts on a task that has what it cannot do without."""
        for judge in self.remaining:
            truth = judge(task, context)
            if not truth and (truth is False or not self.matches_unknown):
                return False
        return True


def compile_steps(ruleset: Ruleset) -> Iterator[Step]:
    """Yield the steps that can apply to some task, in order of evaluation."""
    for protection in ruleset.protect:
        step = _compile_match(protection, matches_unknown=True)
        yield replace(step, cause=LeaveCause.PROTECTED)
    for rule in ruleset.rules:
        observes = rule.mode is Mode.OBSERVE
        if rule.mode is Mode.OFF or (rule.reason is None and observes):
            continue
        step = _compile_match(rule.match, matches_unknown=rule.reason is None)
        if rule.reason is None:
            yield replace(step, cause=LeaveCause.LEAVE_RULE, rule=rule.name)
        else:
            observed = ProposedDismissal(rule.name, rule.reason) if observes else None
            yield replace(step, rule=rule.name, reason=rule.reason, observed=observed)


def compile_condition(condition: Condition) -> Evaluator:
    """Return a function that gives the same results as ``evaluate``."""
    match condition:
        case TypeIn(types):
            known = frozenset(types)
            return lambda task, _: None if task.type is None else task.type in known
        case AgeBetween(over, under):
            return _age_check(
                _MIN_AGE if over is None else over,
                _MAX_AGE if under is None else under,
            )
        case AllOf(parts):
            judges = tuple(map(compile_condition, parts))
            return lambda task, context: kleene_all(j(task, context) for j in judges)
        case AnyOf(parts):
            judges = tuple(map(compile_condition, parts))
            return lambda task, context: kleene_any(j(task, context) for j in judges)
        case Not(part):
            judge = compile_condition(part)
            return lambda task, context: kleene_not(judge(task, context))
        case _:
            return partial(evaluate, condition)


def _age_check(over: timedelta, under: timedelta) -> Evaluator:
    def judge(task: Task, context: EvaluationContext, /) -> TriState:
        created_at, now = task.created_at, context.now
        if created_at is None or created_at > now:
            return None
        return over < now - created_at < under

    return judge


def _compile_match(match: Condition, *, matches_unknown: bool) -> Step:
    types: frozenset[str] | None = None
    sources: tuple[str, ...] | None = None
    rest: list[Evaluator] = []
    for part in conjuncts(match):
        if isinstance(part, TypeIn):
            wanted = frozenset(part.types)
            types = wanted if types is None else types & wanted
            continue
        needed = _required_patterns(part) if sources is None else None
        sources = needed if sources is None else sources
        if needed is None or not isinstance(part, DescriptionIs):
            rest.append(compile_condition(part))
    return Step(
        types=types,
        required_patterns=sources,
        remaining=tuple(rest),
        matches_unknown=matches_unknown,
    )


def _required_patterns(condition: Condition) -> tuple[str, ...] | None:
    """Return patterns of which one must occur in the description, or None."""
    match condition:
        case DescriptionIs(Regex(patterns)):
            return tuple(pattern.source for pattern in patterns)
        case AllOf(parts):
            needs = (_required_patterns(part) for part in parts)
            return next((needed for needed in needs if needed is not None), None)
        case AnyOf(parts):
            alternatives = [_required_patterns(part) for part in parts]
            needed = [n for n in alternatives if n is not None]
            return sum(needed, ()) if len(needed) == len(alternatives) else None
        case _:
            return None


# Patterns of rules without a type are compiled once per type. That is faster than one
# prefilter shared by all types, but takes memory for each copy: above this total, one
# shared prefilter is used.
MAX_PATTERNS: Final = 5_000

_NO_RULE: Final = LeaveCause.NO_RULE


# Searches for many patterns in one pass; returns the indices of those that occur.
Prefilter: TypeAlias = Callable[[str], Collection[int]]


class CompiledRuleset:
    """A ruleset compiled once, to decide on any number of task lists."""

    def __init__(
        self,
        ruleset: Ruleset,
        prefilter_factory: Callable[[Sequence[str]], Prefilter],
        *,
        max_patterns: int = MAX_PATTERNS,
    ) -> None:
        self._surveyed = tuple(
            c for c in ruleset.conditions() if any(iter_duplicates(c))
        )
        steps = tuple(compile_steps(ruleset))
        types = {kind for step in steps for kind in step.types or ()}
        chosen: dict[str | None, list[Step]] = {
            kind: [s for s in steps if s.types is None or kind in s.types]
            for kind in types
        }
        chosen[None] = [s for s in steps if s.types is None or s.matches_unknown]
        others = [s for s in steps if s.types is None]
        apart = sum(len(_sources(c)) for c in chosen.values()) <= max_patterns
        shared = None if apart else _sources(steps)
        # Sections that require the same patterns share one prefilter.
        build = cache(prefilter_factory)
        self._sections = {
            kind: _TypeBucket(some, build, shared) for kind, some in chosen.items()
        }
        self._others = _TypeBucket(others, build, shared)

    def decide(
        self,
        tasks: Sequence[Task],
        *,
        now: datetime,
        context: EvaluationContext | None = None,
    ) -> list[Decision]:
        """Decide as ``decide.decide`` does; ``context`` is built unless given."""
        if context is None:
            context = build_context(self._surveyed, tasks, now=now)
        section_of, others = self._sections.get, self._others
        decisions = []
        for task in tasks:
            steps = section_of(task.type, others).candidates(task.description)
            if steps or task.id is None or task.status != "pending":
                decisions.append(_decide_one(steps, task, context))
            else:
                decisions.append(Decision(task, _NO_RULE))
        if len({task.id for task in tasks}) < len(tasks):
            for index in ambiguous_rows(tasks):
                decisions[index] = Decision(tasks[index], LeaveCause.MALFORMED)
        return decisions


def _decide_one(
    steps: Sequence[Step], task: Task, context: EvaluationContext
) -> Decision:
    if (cause := ineligible_cause(task)) is not None:
        return Decision(task, cause)
    observed: tuple[ProposedDismissal, ...] = ()
    for step in steps:
        if not step.applies(task, context):
            continue
        if step.observed is None:
            return Decision(task, step.cause, step.rule, step.reason, observed)
        observed += (step.observed,)
    return Decision(task, LeaveCause.NO_RULE, None, None, observed)


class _TypeBucket:
    """The steps that may apply to tasks of one type."""

    def __init__(
        self,
        steps: Sequence[Step],
        build: Callable[[tuple[str, ...]], Prefilter],
        shared: tuple[str, ...] | None,
    ) -> None:
        sources = _sources(steps)
        if sources and shared is not None:
            sources = shared
        self._steps = steps
        self._prefilter = build(sources) if sources else None
        self._asking_nothing = [
            i for i, s in enumerate(steps) if s.required_patterns is None
        ]
        self._if_unfound = [steps[place] for place in self._asking_nothing]
        self._if_absent = [
            s for s in steps if s.required_patterns is None or s.matches_unknown
        ]
        numbers = {source: number for number, source in enumerate(sources)}
        self._asking: list[list[int]] = [[] for _ in sources]
        for place, step in enumerate(steps):
            for source in step.required_patterns or ():
                self._asking[numbers[source]].append(place)

    def candidates(self, description: str | None) -> Sequence[Step]:
        if description is None:
            return self._if_absent
        hits = self._prefilter(description) if self._prefilter else ()
        if not hits:
            return self._if_unfound
        places = set(self._asking_nothing)
        for hit in hits:
            places.update(self._asking[hit])
        return [self._steps[place] for place in sorted(places)]


def _sources(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(s for step in steps for s in step.required_patterns or ())
    )
