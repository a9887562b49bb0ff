"""Rules taken apart once, so that ``index`` can choose those that a task may meet.

A step is one protect match or one rule.  From its match are taken the types and the
patterns that it cannot act without; the rest becomes closures that answer as ``holds``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, TypeAlias

from triaged.engine.conditions import (
    Aged,
    All,
    AnyOf,
    Condition,
    Described,
    Not,
    TypeIs,
)
from triaged.engine.listing import Listing
from triaged.engine.model import Cause, Dismissal, Task
from triaged.engine.rules import Mode, Ruleset
from triaged.engine.truth import Truth, holds, kleene_all, kleene_any, kleene_not

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
