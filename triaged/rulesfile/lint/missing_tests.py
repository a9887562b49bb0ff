"""The test that a rules file lacks: one that turns red when a condition is dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from triaged.rules.conditions import Condition
from triaged.rules.context import build_context, duplicate_conditions
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Decision, Json, LeaveCause
from triaged.rulesfile.document import RuleTest
from triaged.rulesfile.lint.candidate_values import Goal
from triaged.rulesfile.lint.example import Example, decide_first, example_of, truth_in
from triaged.rulesfile.lint.example_search import Effort, examples
from triaged.rulesfile.lint.mutation import Mutant
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.lint.yaml_flow import flow

# Protection and earlier rules stand before the rule in question; so many are avoided.
_ROUNDS: Final = 4
_EFFORT: Final = 1000
_TRIES: Final = 12
_MODELS: Final = 3
_NAME: Final = 90


@dataclass(frozen=True, slots=True)
class NewTest:
    """A test to add to a rules file."""

    entry: dict[str, Json]

    def __str__(self) -> str:
        """Write it as an item of ``tests``, with the indentation that it has there."""
        name, *rest = (f"{key}: {flow(value)}" for key, value in self.entry.items())
        return "\n".join([f"  - {name}", *(f"    {line}" for line in rest)])


class Killers:
    """Finds tests that pass with the rules as they are, and fail with a mutant."""

    def __init__(
        self, ruleset: Ruleset, tests: Sequence[RuleTest], types: Sequence[str]
    ) -> None:
        self._ruleset = ruleset
        self._types = types
        self._duplicates = duplicate_conditions(ruleset.conditions())
        self._examples = [e for test in tests if (e := example_of(test)) is not None]
        self._taken = {test.name for test in tests}
        self._rule = ""
        self._meant: list[Example] = []

    def find(self, mutant: Mutant) -> NewTest | None:
        """Find a test for a mutant that survives, and keep its name for it."""
        effort = Effort(_EFFORT)
        goals: list[Goal] = [(mutant.loose, True), (mutant.tight, False)]
        for _ in range(_ROUNDS):
            telling, blocker = self._try(mutant, goals, effort)
            if telling is not None:
                return self._entry(mutant, *telling)
            if blocker is None:
                return None
            goals.append((blocker, False))
        return None

    def _try(
        self, mutant: Mutant, goals: Sequence[Goal], effort: Effort
    ) -> tuple[tuple[Example, Decision] | None, Condition | None]:
        """Return a task that tells the mutant, or else what stands before it."""
        telling: tuple[Example, Decision] | None = None
        blocker: Condition | None = None
        like = self._models(mutant)
        made = examples(goals, self._types, effort=effort, like=like)
        for example in islice(made, _TRIES):
            decision = self._decide(example, self._ruleset)
            if decision[1:] == self._decide(example, mutant.ruleset)[1:]:
                blocker = blocker or _what_decided(example, decision, self._ruleset)
            elif decision.cause is LeaveCause.NO_RULE:
                # Best left by nobody: then the test is about this rule alone.
                return (example, decision), None
            else:
                telling = telling or (example, decision)
        return telling, blocker

    def _models(self, mutant: Mutant) -> list[Example]:
        """Return tasks in the tests that the rule is meant for."""
        if self._rule != mutant.rule:
            meant = (e for e in self._examples if truth_in(e, mutant.tight) is True)
            self._rule, self._meant = mutant.rule, list(islice(meant, _MODELS))
        return self._meant

    def _decide(self, example: Example, ruleset: Ruleset) -> Decision:
        return decide_first(ruleset, example.tasks(), self._duplicates, now=NOW)

    def _entry(self, mutant: Mutant, example: Example, decision: Decision) -> NewTest:
        rule = self._ruleset.rule(mutant.rule)
        observing = rule is not None and rule.mode is Mode.OBSERVE
        name = _free_name(f"{mutant.rule}: not without {mutant.dropped}", self._taken)
        self._taken.add(name)
        return NewTest(
            {
                "name": name,
                **example.as_json(),
                "expect": _expect(decision, observing=observing),
            }
        )


def _what_decided(
    example: Example, decision: Decision, ruleset: Ruleset
) -> Condition | None:
    """Return the match that kept a task from the rule in question."""
    rule = ruleset.rule(decision.rule or "")
    if rule is not None:
        return rule.match
    if decision.cause is not LeaveCause.PROTECTED:
        return None
    tasks = example.tasks()
    context = build_context(ruleset.protect, tasks, now=NOW)
    shields = (
        s for s in ruleset.protect if evaluate(s, tasks[0], context) is not False
    )
    return next(shields, None)


def _expect(decision: Decision, *, observing: bool) -> dict[str, Json]:
    expect: dict[str, Json] = {
        "decision": "dismiss" if decision.is_dismissal else "leave"
    }
    if decision.rule is not None:
        expect["rule"] = decision.rule
    if decision.reason is not None:
        expect["reason"] = decision.reason
    if decision.cause is not None:
        expect["cause"] = decision.cause.value
    if observing:
        expect["observed"] = [dismissal.rule for dismissal in decision.observed]
    return expect


def _free_name(name: str, taken: set[str]) -> str:
    cut = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
    numbers = (f"{cut} ({number})" for number in range(2, len(taken) + 3))
    return next(n for n in (cut, *numbers) if n not in taken)
