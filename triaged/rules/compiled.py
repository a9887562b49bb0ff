"""The same decisions as ``decide``, faster: each task meets only the rules it may.

Rules are sorted by the types that they ask for, and those that ask for a pattern in the
description are visited only where one pass over the text has found it.  What makes that
pass comes from outside, as a ``Prefilter``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Final, Protocol, TypeAlias

from triaged.rules.conditions import Aged, All, AnyOf, Condition, Described, Not, TypeIs
from triaged.rules.context import Listing, duplicates_in, survey, unclear_ids
from triaged.rules.decide import unfit
from triaged.rules.evaluate import Truth, holds, kleene_all, kleene_any, kleene_not
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Cause, Decision, Dismissal, Task

Judge: TypeAlias = Callable[[Task, Listing], Truth]

# No age lies outside these, so a bound that is not given changes nothing.
_NO_OVER: Final = timedelta(microseconds=-1)
_NO_UNDER: Final = timedelta.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One protect match or rule: when it acts on a task, and what it then says.

    ``types``, and ``sources`` (patterns, one of which must occur in the description),
    are None where any will do; ``rest`` is what must be judged besides.  An absent type
    or description makes the whole match unknown or false: then the rest decides for a
    ``lenient`` step, one that acts on unknown too, and any other does not act.
    """

    types: frozenset[str] | None
    sources: tuple[str, ...] | None
    rest: tuple[Judge, ...]
    lenient: bool
    cause: Cause | None = None
    rule: str | None = None
    reason: str | None = None
    observes: Dismissal | None = None

    def acts(self, task: Task, listing: Listing) -> bool:
        """Say whether the step acts on a task that has what it cannot do without."""
        for judge in self.rest:
            truth = judge(task, listing)
            if not truth and (truth is False or not self.lenient):
                return False
        return True


def steps_of(ruleset: Ruleset) -> Iterator[Step]:
    """Give the steps that can act, in the order in which they are asked."""
    for shield in ruleset.protect:
        types, sources, rest = _take_apart(shield)
        yield Step(
            types=types, sources=sources, rest=rest, lenient=True, cause=Cause.PROTECTED
        )
    for rule in ruleset.rules:
        leaves, observes = rule.reason is None, rule.mode is Mode.OBSERVE
        if rule.mode is Mode.OFF or (leaves and observes):
            continue
        types, sources, rest = _take_apart(rule.match)
        yield Step(
            types=types,
            sources=sources,
            rest=rest,
            lenient=leaves,
            cause=Cause.LEAVE_RULE if leaves else None,
            rule=rule.name,
            reason=rule.reason,
            observes=Dismissal(rule.name, rule.reason)
            if observes and rule.reason is not None
            else None,
        )


def compile_condition(condition: Condition) -> Judge:
    """Return a function that answers as ``holds`` does for this condition."""
    match condition:
        case TypeIs(types):
            return _typed(frozenset(types))
        case Aged(over, under):
            return _aged(
                _NO_OVER if over is None else over,
                _NO_UNDER if under is None else under,
            )
        case All(parts):
            judges = tuple(map(compile_condition, parts))
            return lambda task, listing: kleene_all(j(task, listing) for j in judges)
        case AnyOf(parts):
            judges = tuple(map(compile_condition, parts))
            return lambda task, listing: kleene_any(j(task, listing) for j in judges)
        case Not(part):
            judge = compile_condition(part)
            return lambda task, listing: kleene_not(judge(task, listing))
        case _:
            return partial(holds, condition)


def _typed(types: frozenset[str]) -> Judge:
    def judge(task: Task, _: Listing, /) -> Truth:
        return None if task.type is None else task.type in types

    return judge


def _aged(over: timedelta, under: timedelta) -> Judge:
    def judge(task: Task, listing: Listing, /) -> Truth:
        created_at, now = task.created_at, listing.now
        if created_at is None or created_at > now:
            return None
        return over < now - created_at < under

    return judge


def _take_apart(
    match: Condition,
) -> tuple[frozenset[str] | None, tuple[str, ...] | None, tuple[Judge, ...]]:
    types: frozenset[str] | None = None
    sources: tuple[str, ...] | None = None
    rest: list[Judge] = []
    for part in _conjuncts(match):
        if isinstance(part, TypeIs):
            wanted = frozenset(part.types)
            types = wanted if types is None else types & wanted
            continue
        needed = _needed_patterns(part) if sources is None else None
        sources = needed if sources is None else sources
        if needed is None or not isinstance(part, Described):
            rest.append(compile_condition(part))
    return types, sources, tuple(rest)


def _conjuncts(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, All):
        for part in condition.parts:
            yield from _conjuncts(part)
    else:
        yield condition


def _needed_patterns(condition: Condition) -> tuple[str, ...] | None:
    """Find patterns without any of which a description makes the condition false."""
    match condition:
        case Described(patterns):
            return tuple(pattern.source for pattern in patterns)
        case All(parts):
            needs = (_needed_patterns(part) for part in parts)
            return next((needed for needed in needs if needed is not None), None)
        case AnyOf(parts):
            alternatives = [_needed_patterns(part) for part in parts]
            needed = [n for n in alternatives if n is not None]
            return sum(needed, ()) if len(needed) == len(alternatives) else None
        case _:
            return None


# Patterns of rules without a type are compiled again for each type, which beats one
# pass for all types, but only up to so many in all: memory has an end.
MAX_PATTERNS: Final = 5_000

_NO_RULE: Final = Cause.NO_RULE
_new: Final = tuple.__new__


class Prefilter(Protocol):
    """Many patterns, searched for in one pass."""

    def matches(self, text: str, /) -> Collection[int]:
        """Say which of the patterns occur in the text, by their place."""
        ...


PrefilterFactory: TypeAlias = Callable[[Sequence[str]], Prefilter]


class Engine:
    """One ruleset, made ready to decide on any number of lists."""

    def __init__(
        self,
        ruleset: Ruleset,
        prefilter_factory: PrefilterFactory,
        *,
        max_patterns: int = MAX_PATTERNS,
    ) -> None:
        self._surveyed = tuple(c for c in ruleset.conditions() if any(duplicates_in(c)))
        steps = tuple(steps_of(ruleset))
        types = {kind for step in steps for kind in step.types or ()}
        chosen: dict[str | None, list[Step]] = {
            kind: [s for s in steps if s.types is None or kind in s.types]
            for kind in types
        }
        chosen[None] = [s for s in steps if s.types is None or s.lenient]
        others = [s for s in steps if s.types is None]
        apart = sum(len(_sources(c)) for c in chosen.values()) <= max_patterns
        shared = None if apart else _sources(steps)
        # Sections that ask for the same patterns then share one prefilter.
        build = cache(prefilter_factory)
        self._sections = {
            kind: _Section(some, build, shared) for kind, some in chosen.items()
        }
        self._others = _Section(others, build, shared)

    def decide(self, tasks: Sequence[Task], *, now: datetime) -> list[Decision]:
        """Decide on each task, in the order listed, as ``decide.decide`` does."""
        listing = survey(self._surveyed, tasks, now=now)
        section_of, others = self._sections.get, self._others
        decisions = []
        for task in tasks:
            steps = section_of(task.type, others).candidates(task.description)
            if steps or task.id is None or task.status != "pending":
                decisions.append(_decide_one(steps, task, listing))
            else:
                # As Decision(…) would, in half the time: most tasks end here.
                decisions.append(_new(Decision, (task, _NO_RULE, None, None, ())))
        if len({task.id for task in tasks}) < len(tasks):
            for index in unclear_ids(tasks):
                decisions[index] = Decision(tasks[index], Cause.MALFORMED)
        return decisions


def _decide_one(steps: Sequence[Step], task: Task, listing: Listing) -> Decision:
    if (cause := unfit(task)) is not None:
        return Decision(task, cause)
    observed: tuple[Dismissal, ...] = ()
    for step in steps:
        if not step.acts(task, listing):
            continue
        if step.observes is None:
            return Decision(task, step.cause, step.rule, step.reason, observed)
        observed += (step.observes,)
    return Decision(task, Cause.NO_RULE, None, None, observed)


class _Section:
    """The steps that may act on the tasks of one type."""

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
        self._asking_nothing = [i for i, s in enumerate(steps) if s.sources is None]
        self._if_unfound = [steps[place] for place in self._asking_nothing]
        self._if_absent = [s for s in steps if s.sources is None or s.lenient]
        numbers = {source: number for number, source in enumerate(sources)}
        self._asking: list[list[int]] = [[] for _ in sources]
        for place, step in enumerate(steps):
            for source in step.sources or ():
                self._asking[numbers[source]].append(place)

    def candidates(self, description: str | None) -> Sequence[Step]:
        """Choose the steps, in order, that may act on a task so described."""
        if description is None:
            return self._if_absent
        hits = self._prefilter.matches(description) if self._prefilter else ()
        if not hits:
            return self._if_unfound
        places = set(self._asking_nothing)
        for hit in hits:
            places.update(self._asking[hit])
        return [self._steps[place] for place in sorted(places)]


def _sources(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s for step in steps for s in step.sources or ()))
