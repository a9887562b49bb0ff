"""Proposes missing tests: tests that fail when a condition is dropped.

A proposal is an existing test with one change. It passes with the rules as written, and
fails with the mutant.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby, islice
from typing import Final

from triaged.rules.conditions import CreatedAt, iter_leaves
from triaged.rules.context import duplicate_conditions
from triaged.rules.evaluate import TriState
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import DOCUMENTED_TYPES, Decision, Json, LeaveCause, is_number
from triaged.rulesfile.document import RuleTest, TestTask
from triaged.rulesfile.lint.example import (
    Example,
    decide_first,
    example_of,
    truth_in,
    whole_seconds,
)
from triaged.rulesfile.lint.mutation import Mutant
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.lint.yaml_flow import can_flow, flow

# Limits of the proposals: their number, and the seconds spent on finding them.
MAX_TESTS: Final = 100
MAX_SECONDS: Final = 10.0

# Limits per mutant: the tests of the file to vary, and the variations of each.
_MODELS: Final = 3
_CHANGES: Final = 200
_OTHER_VALUES: Final = 20
_NAME: Final = 90
_AGES: Final = tuple(timedelta(days=days) for days in (0, 1, 30, 400, 4000))


@dataclass(frozen=True, slots=True)
class NewTest:
    """A test to add to a rules file."""

    entry: dict[str, Json]

    def __str__(self) -> str:
        """Format the test as an item of ``tests``, indented accordingly."""
        name, *rest = (f"{key}: {flow(value)}" for key, value in self.entry.items())
        return "\n".join([f"  - {name}", *(f"    {line}" for line in rest)])


class MissingTests:
    """Proposes tests for the mutants that survive the tests of a file."""

    def __init__(self, ruleset: Ruleset, tests: Sequence[RuleTest]) -> None:
        self._ruleset = ruleset
        self._duplicates = duplicate_conditions(ruleset.conditions())
        self._examples = [e for test in tests if (e := example_of(test)) is not None]
        self._taken = {test.name for test in tests}

    def propose(
        self, mutants: Iterable[Mutant], *, elapsed: Callable[[], float]
    ) -> Iterator[tuple[Mutant, NewTest | None]]:
        """Yield each mutant with a proposed test or None; ``elapsed`` gives seconds."""
        left = MAX_TESTS
        for _, group in groupby(mutants, key=lambda mutant: mutant.subject):
            changed: list[tuple[Example, TriState]] | None = None
            for mutant in group:
                if left == 0 or elapsed() > MAX_SECONDS:
                    yield mutant, None
                    continue
                changed = self._changed(mutant) if changed is None else changed
                test = self._propose(mutant, changed)
                left -= test is not None
                yield mutant, test

    def _changed(self, mutant: Mutant) -> list[tuple[Example, TriState]]:
        """Return variations of tasks that the match is meant for, and its results."""
        tight = mutant.tight
        meant = (e for e in self._examples if truth_in(e, tight) is not False)
        return [
            (example, truth_in(example, tight))
            for model in islice(meant, _MODELS)
            for example in islice(_changes(model, self._examples), _CHANGES)
            if can_flow(dict(example.task.fields))
        ]

    def _propose(
        self, mutant: Mutant, changed: Sequence[tuple[Example, TriState]]
    ) -> NewTest | None:
        found: tuple[Example, Decision] | None = None
        for example, tight in changed:
            # A loosened rule matches more tasks; weakened protection covers fewer.
            acts = tight is True if mutant.rule is not None else tight is False
            if acts or truth_in(example, mutant.loose) is tight:
                continue
            decision = self._decide(example, self._ruleset)
            if decision[1:] == self._decide(example, mutant.ruleset)[1:]:
                continue
            # Prefer tasks that no rule matches, so that the test is about this rule
            # only.
            if mutant.rule is None or decision.cause is LeaveCause.NO_RULE:
                return self._entry(mutant, example, decision)
            found = found or (example, decision)
        return None if found is None else self._entry(mutant, *found)

    def _decide(self, example: Example, ruleset: Ruleset) -> Decision:
        return decide_first(ruleset, example.tasks(), self._duplicates, now=NOW)

    def _entry(self, mutant: Mutant, example: Example, decision: Decision) -> NewTest:
        rule = self._ruleset.rule(mutant.rule or "")
        observing = rule is not None and rule.mode is Mode.OBSERVE
        word = "protected by" if mutant.rule is None else "not without"
        title = f"{mutant.rule or mutant.subject}: {word} {mutant.dropped}"
        name = _free_name(title, self._taken)
        self._taken.add(name)
        # An age gives a weekday or hour only together with the time of the test.
        leaves = (*iter_leaves(mutant.tight), *iter_leaves(mutant.loose))
        timed = any(isinstance(leaf, CreatedAt) for leaf in leaves)
        moment: dict[str, Json] = {"now": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"} if timed else {}
        expect = _expect(decision, observing=observing)
        return NewTest({"name": name, **moment, **example.as_json(), "expect": expect})


def _changes(model: Example, examples: Sequence[Example]) -> Iterator[Example]:
    """Yield a task with one thing changed: to what other tests have, or nearby."""
    if model.other_tasks:
        yield Example(model.task)
        first, *rest = model.other_tasks
        yield Example(first, (model.task, *rest))
    task = model.task
    others = [other.task.fields for other in examples]
    for field in dict.fromkeys(("description", "type", *task.fields)):
        if field not in {"metadata", "status"}:
            values = _known(others, field)
            for value in (*values, *_near(field, task.fields.get(field))):
                yield _with(model, {**task.fields, field: value})
    ages = [other.task.age for other in examples if other.task.age is not None]
    near = (task.age * 2, task.age / 2) if task.age is not None else ()
    for age in dict.fromkeys((*ages[:_OTHER_VALUES], *near, *_AGES)):
        yield replace(model, task=TestTask(task.fields, whole_seconds(age)))
    metadata = _mapping(task.fields.get("metadata"))
    listed = [_mapping(other.get("metadata")) for other in others]
    for changed in _changed_metadata(metadata, listed):
        yield _with(model, {**task.fields, "metadata": changed})
    if task.age is not None:
        yield replace(model, task=TestTask(task.fields))


def _changed_metadata(
    metadata: Mapping[str, Json], others: Sequence[Mapping[str, Json]]
) -> Iterator[dict[str, Json]]:
    keys = dict.fromkeys((*metadata, *(key for other in others for key in other)))
    for key in keys:
        inner = _mapping(metadata.get(key))
        inside = [_mapping(other.get(key)) for other in others]
        if inner:
            for changed in _changed_metadata(inner, inside):
                yield {**metadata, key: changed}
        for value in (*_known(others, key), *_near(key, metadata.get(key))):
            yield {**metadata, key: value}
        if key in metadata:
            yield {k: v for k, v in metadata.items() if k != key}


def _known(fields: Sequence[Mapping[str, Json]], key: str) -> list[Json]:
    """Return the distinct values that other tests have for a key."""
    values = {repr(f[key]): f[key] for f in fields if key in f and f[key] != {}}
    return list(islice(values.values(), _OTHER_VALUES))


def _near(field: str, value: Json) -> Iterator[Json]:
    if field == "type":
        yield from DOCUMENTED_TYPES
    elif isinstance(value, str):
        yield f"x{value}"
        yield f"{value}x"
        yield value.swapcase()
        words = value.split()
        for index in range(len(words)):
            yield " ".join((*words[:index], *words[index + 1 :])) or "x"
    elif isinstance(value, bool):
        yield not value
    elif is_number(value):
        yield from (value + 1, value - 1, value * 2, 0, value * 1000, -1)


def _with(model: Example, fields: Mapping[str, Json]) -> Example:
    kept = {key: value for key, value in fields.items() if value not in (None, {})}
    return replace(model, task=TestTask(kept, model.task.age))


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


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
