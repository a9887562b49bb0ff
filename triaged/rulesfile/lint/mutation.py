"""Rules with one condition loosened: the tests in the file must notice each.

A condition that can be dropped while all tests stay green is one that nobody tested.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionMatches,
    MetadataMatches,
    Missing,
    Not,
    TypeIn,
)
from triaged.rules.context import EvaluationContext, build_context, duplicate_conditions
from triaged.rules.evaluate import evaluate
from triaged.rules.explain import describe_condition
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Decision, Task
from triaged.rulesfile.document import RuleTest
from triaged.rulesfile.lint.example import decide_first
from triaged.rulesfile.test_runner import run_tests


@dataclass(frozen=True, slots=True)
class Mutant:
    """A ruleset in which one rule asks for less; ``dropped`` says for what.

    ``tight`` is the rule's match as written, ``loose`` the one that it has here.
    """

    rule: str
    dropped: str
    tight: Condition
    loose: Condition
    ruleset: Ruleset


def mutants(ruleset: Ruleset) -> Iterator[Mutant]:
    """Loosen each condition of each dismissing rule in turn."""
    for index, rule in enumerate(ruleset.rules):
        if rule.reason is None or rule.mode is Mode.OFF:
            continue
        for dropped, match in _looser(rule.match):
            rules = list(ruleset.rules)
            rules[index] = replace(rule, match=match)
            looser = replace(ruleset, rules=tuple(rules))
            yield Mutant(rule.name, dropped, rule.match, match, looser)


class MutationRunner:
    """The tests of a file, which pass with its ruleset, to be run with its mutants."""

    def __init__(
        self, tests: Sequence[RuleTest], ruleset: Ruleset, *, now: datetime
    ) -> None:
        self._tests = tests
        self._now = now
        # Looking these up in a thousand rules takes longer than all the rest.  A mutant
        # has no others.
        self._duplicates = duplicate_conditions(ruleset.conditions())
        self._seen = [self._look(test) for test in tests]
        self._rule = ""
        self._missed: list[int] = []

    def survives(self, mutant: Mutant) -> bool:
        """Say whether all tests pass with the mutant as well."""
        # Only where the loosened rule has come to hold can anything be decided anew.
        return not any(
            evaluate(mutant.loose, *self._seen[index]) is True
            and self._fails(self._tests[index], mutant)
            for index in self._not_held(mutant)
        )

    def _not_held(self, mutant: Mutant) -> list[int]:
        """Return the tests that the rule does not hold for as written."""
        if self._rule != mutant.rule:
            self._rule = mutant.rule
            self._missed = [
                index
                for index, (task, context) in enumerate(self._seen)
                if evaluate(mutant.tight, task, context) is not True
            ]
        return self._missed

    def _fails(self, test: RuleTest, mutant: Mutant) -> bool:
        def decide(
            ruleset: Ruleset, tasks: Sequence[Task], /, *, now: datetime
        ) -> Sequence[Decision]:
            return [decide_first(ruleset, tasks, self._duplicates, now=now)]

        report = run_tests([test], mutant.ruleset, now=self._now, decide=decide)
        return bool(report.failures)

    def _look(self, test: RuleTest) -> tuple[Task, EvaluationContext]:
        moment = test.now or self._now
        tasks = test.tasks(moment)
        return tasks[0], build_context(self._duplicates, tasks, now=moment)


def _looser(condition: Condition) -> Iterator[tuple[str, Condition]]:
    """Give every way to ask for one thing less, and what that thing is.

    Where a part of it can be dropped, all of it is not: a test that notices the one
    notices the other.
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
    """Give every way to offer one alternative less, and what that alternative is."""
    match condition:
        case AnyOf(parts) if len(parts) > 1:
            for index, part in enumerate(parts):
                yield (
                    describe_condition(part),
                    AnyOf(parts[:index] + parts[index + 1 :]),
                )
        case DescriptionMatches(patterns) if len(patterns) > 1:
            for index, pattern in enumerate(patterns):
                rest = patterns[:index] + patterns[index + 1 :]
                yield (
                    describe_condition(DescriptionMatches((pattern,))),
                    DescriptionMatches(rest),
                )
        case TypeIn(types) if len(types) > 1:
            for index, name in enumerate(types):
                rest_of = types[:index] + types[index + 1 :]
                yield describe_condition(TypeIn((name,))), TypeIn(rest_of)
        case _:
            return


def _says_nothing_beside(part: Condition, rest: Sequence[Condition]) -> bool:
    """Say whether a part that asks for a key stands beside another test of that key."""
    match part:
        case MetadataMatches(path, Missing(expected=False)):
            return any(isinstance(p, MetadataMatches) and p.path == path for p in rest)
        case _:
            return False
