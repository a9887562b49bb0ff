"""Mutation testing of rules: loosens conditions and expects a test to fail.

A condition that can be dropped while all tests pass is not tested.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Final, TypeAlias, TypeVar

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    CreatedAt,
    DescriptionIs,
    MetadataMatches,
    Missing,
    Not,
    Regex,
    TypeIn,
    Words,
)
from triaged.rules.context import EvaluationContext, build_context, duplicate_conditions
from triaged.rules.evaluate import evaluate
from triaged.rules.explain import describe_condition
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Decision, Task
from triaged.rulesfile.document import RuleTest
from triaged.rulesfile.lint.example import decide_first
from triaged.rulesfile.test_runner import run_tests

T = TypeVar("T")

# Limits of the mutants that are tried: their number, and the total seconds.
MAX_MUTANTS: Final = 500
MAX_SECONDS: Final = 20.0

# Protection that protects nothing.
_NOTHING: Final = AnyOf(())


@dataclass(frozen=True, slots=True)
class Mutant:
    """A ruleset with one rule loosened, or one protect entry weakened.

    ``subject`` names the rule or the protect entry, and ``dropped`` the condition
    removed from it; ``rule`` is None for protection. ``tight`` is the match as written,
    ``loose`` that of the mutant.
    """

    subject: str
    rule: str | None
    dropped: str
    tight: Condition
    loose: Condition
    ruleset: Ruleset


def mutants(ruleset: Ruleset) -> Iterator[Mutant]:
    """Yield a mutant for each protect entry and each condition of each dismiss rule."""
    for index, protection in enumerate(ruleset.protect):
        weaker = list(_narrower(protection)) or [
            (describe_condition(protection), _NOTHING)
        ]
        for dropped, match in weaker:
            protect = _replaced(ruleset.protect, index, match)
            weak = replace(ruleset, protect=protect)
            yield Mutant(f"protect[{index}]", None, dropped, protection, match, weak)
    for index, rule in enumerate(ruleset.rules):
        if rule.reason is None or rule.mode is Mode.OFF:
            continue
        for dropped, match in _looser(rule.match):
            rules = _replaced(ruleset.rules, index, replace(rule, match=match))
            looser = replace(ruleset, rules=rules)
            yield Mutant(
                f"rule {rule.name}", rule.name, dropped, rule.match, match, looser
            )


@dataclass(frozen=True, slots=True)
class Survivors:
    """The mutants with which all tests pass, and the counts of tried and total."""

    found: tuple[Mutant, ...]
    tried: int
    total: int


def find_survivors(
    tests: Sequence[RuleTest],
    ruleset: Ruleset,
    *,
    now: datetime,
    elapsed: Callable[[], float],
) -> Survivors:
    """Run tests, which pass with the ruleset, on its mutants, within MAX_SECONDS."""
    runner = _Runner(tests, ruleset, now=now)
    found: list[Mutant] = []
    tried = total = 0
    for _, group in groupby(mutants(ruleset), key=lambda mutant: mutant.subject):
        affected: list[_SeenTest] | None = None
        for mutant in group:
            total += 1
            if tried >= MAX_MUTANTS or elapsed() >= MAX_SECONDS:
                continue
            tried += 1
            affected = runner.affected(mutant) if affected is None else affected
            if runner.survives(mutant, affected):
                found.append(mutant)
    return Survivors(tuple(found), tried, total)


_SeenTest: TypeAlias = tuple[RuleTest, Task, EvaluationContext]


class _Runner:
    def __init__(
        self, tests: Sequence[RuleTest], ruleset: Ruleset, *, now: datetime
    ) -> None:
        self._now = now
        # Mutants have the same duplicate conditions, and finding them in a thousand
        # rules takes longer than everything else, so it is done once.
        self._duplicates = duplicate_conditions(ruleset.conditions())
        self._seen = [self._look(test) for test in tests]

    def affected(self, mutant: Mutant) -> list[_SeenTest]:
        return [
            (test, task, context)
            for test, task, context in self._seen
            if _acts(mutant, test.adapt(mutant.tight), task, context)
            is (mutant.rule is None)
        ]

    def survives(self, mutant: Mutant, affected: Sequence[_SeenTest]) -> bool:
        return not any(
            _acts(mutant, test.adapt(mutant.loose), task, context)
            is not (mutant.rule is None)
            and self._fails(test, mutant)
            for test, task, context in affected
        )

    def _fails(self, test: RuleTest, mutant: Mutant) -> bool:
        def decide(
            ruleset: Ruleset, tasks: Sequence[Task], /, *, now: datetime
        ) -> Sequence[Decision]:
            return [decide_first(ruleset, tasks, self._duplicates, now=now)]

        report = run_tests([test], mutant.ruleset, now=self._now, decide=decide)
        return bool(report.failures)

    def _look(self, test: RuleTest) -> _SeenTest:
        moment = test.now or self._now
        tasks = test.tasks(moment)
        return test, tasks[0], build_context(self._duplicates, tasks, now=moment)


def _acts(
    mutant: Mutant, match: Condition, task: Task, context: EvaluationContext
) -> bool:
    """Return whether a match acts: a rule if true, protection if not false."""
    result = evaluate(match, task, context)
    return result is not False if mutant.rule is None else result is True


def _looser(condition: Condition) -> Iterator[tuple[str, Condition]]:
    """Yield each dropped part of the condition, and the condition without it.

    A part is not dropped as a whole if parts of it can be: a test that detects the
    smaller change detects the larger one too.
    """
    finer = list(_finer(condition))
    yield from finer or [(describe_condition(condition), AllOf(()))]


def _finer(condition: Condition) -> Iterator[tuple[str, Condition]]:
    match condition:
        case AllOf(parts):
            yield from _finer_all(parts)
        case AnyOf(parts):
            for index, part in enumerate(parts):
                for dropped, looser in _looser(part):
                    if looser != AllOf(()):
                        changed = (*parts[:index], looser, *parts[index + 1 :])
                        yield dropped, AnyOf(changed)
        case AgeBetween(over, under) if over is not None and under is not None:
            yield f"{describe_condition(condition)}: over", AgeBetween(under=under)
            yield f"{describe_condition(condition)}: under", AgeBetween(over=over)
        case CreatedAt(zone, name, weekdays, hours) if weekdays and hours:
            what = describe_condition(condition)
            yield f"{what}: weekday", CreatedAt(zone, name, hours=hours)
            yield f"{what}: hours", CreatedAt(zone, name, weekdays)
        case Not(part):
            for dropped, narrower in _narrower(part):
                yield f"not: {dropped}", Not(narrower)
        case _:
            return


def _finer_all(parts: tuple[Condition, ...]) -> Iterator[tuple[str, Condition]]:
    for index, part in enumerate(parts):
        before, after = parts[:index], parts[index + 1 :]
        if not _says_nothing_beside(part, before + after):
            for dropped, looser in _looser(part):
                instead = () if looser == AllOf(()) else (looser,)
                yield dropped, AllOf((*before, *instead, *after))


def _narrower(condition: Condition) -> Iterator[tuple[str, Condition]]:
    """Yield each dropped alternative of the condition, and the condition without it."""
    match condition:
        case AnyOf(parts) if len(parts) > 1:
            for part, rest in _each_left_out(parts):
                yield describe_condition(part), AnyOf(rest)
        case DescriptionIs(Regex(patterns)):
            yield from _fewer(patterns, lambda some: DescriptionIs(Regex(some)))
        case DescriptionIs(Words(phrases, None)):
            yield from _fewer(phrases, lambda some: DescriptionIs(Words(some)))
        case MetadataMatches(path, Regex(patterns)):
            yield from _fewer(patterns, lambda some: MetadataMatches(path, Regex(some)))
        case MetadataMatches(path, Words(phrases, None)):
            yield from _fewer(phrases, lambda some: MetadataMatches(path, Words(some)))
        case TypeIn(types):
            yield from _fewer(types, TypeIn)
        case _:
            return


def _fewer(
    options: tuple[T, ...], make: Callable[[tuple[T, ...]], Condition]
) -> Iterator[tuple[str, Condition]]:
    if len(options) > 1:
        for option, others in _each_left_out(options):
            yield describe_condition(make((option,))), make(others)


def _each_left_out(options: tuple[T, ...]) -> Iterator[tuple[T, tuple[T, ...]]]:
    for index, option in enumerate(options):
        yield option, options[:index] + options[index + 1 :]


def _replaced(items: tuple[T, ...], index: int, new: T) -> tuple[T, ...]:
    return (*items[:index], new, *items[index + 1 :])


def _says_nothing_beside(part: Condition, rest: Sequence[Condition]) -> bool:
    """Return whether a part asks for a key that another test also asks for."""
    match part:
        case MetadataMatches(path, Missing(expected=False)):
            return any(isinstance(p, MetadataMatches) and p.path == path for p in rest)
        case _:
            return False
