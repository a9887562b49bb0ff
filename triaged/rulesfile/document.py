"""The parsed rules file with source locations, for checks of the file as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from triaged.rules.conditions import Condition, ListId, with_lists
from triaged.rules.rule import Rule, Ruleset, SafetyLimits
from triaged.rules.task import Json, LeaveCause, Task, parse_task
from triaged.rulesfile.problems import Location


@dataclass(frozen=True, slots=True)
class LocatedMatch:
    """A match and its location."""

    condition: Condition
    place: Location


@dataclass(frozen=True, slots=True)
class LocatedRule:
    """A rule, its location, and the location of its match."""

    rule: Rule
    place: Location
    match_place: Location


@dataclass(frozen=True, slots=True)
class TestTask:
    """A task as written in a test; its age is relative to the time of the test."""

    fields: Mapping[str, Json]
    age: timedelta | None = None

    def to_task(self, now: datetime, *, task_id: str) -> Task:
        """Return the task as it would be listed at ``now``."""
        listed: dict[str, Json] = {"id": task_id, "status": "pending", **self.fields}
        if self.age is not None:
            listed["created_at"] = (now - self.age).isoformat()
        return parse_task(listed)


def build_task_list(
    task: TestTask, others: Sequence[TestTask], now: datetime
) -> list[Task]:
    """Return the tasks as listed at ``now``, the task under test first."""
    beside = enumerate(others, start=1)
    return [
        task.to_task(now, task_id="test"),
        *(other.to_task(now, task_id=f"other-{index}") for index, other in beside),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a test expects; a field that is None is not checked."""

    dismiss: bool
    rule: str | None = None
    reason: str | None = None
    cause: LeaveCause | None = None
    observed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTest:
    """One test of a rules file: a task among others, and what must become of it."""

    name: str
    task: TestTask
    expect: Expectation
    place: Location
    other_tasks: tuple[TestTask, ...] = ()
    files: Mapping[ListId, tuple[str, ...]] = field(default_factory=dict)
    now: datetime | None = None

    def tasks(self, now: datetime) -> list[Task]:
        return build_task_list(self.task, self.other_tasks, now)

    def adapt(self, condition: Condition) -> Condition:
        """Return a condition with the lists of the test in place of the files."""
        return with_lists(condition, self.files) if self.files else condition

    def adapt_ruleset(self, ruleset: Ruleset) -> Ruleset:
        """Return the rules with the lists of the test in place of the files."""
        if not self.files:
            return ruleset
        return replace(
            ruleset,
            protect=tuple(map(self.adapt, ruleset.protect)),
            rules=tuple(
                replace(rule, match=self.adapt(rule.match)) for rule in ruleset.rules
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesDocument:
    """Everything that could be read of files that are used as one.

    ``limits`` are the safety limits written there; the others have their default.
    """

    task_types: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    protect: tuple[LocatedMatch, ...] = ()
    rules: tuple[LocatedRule, ...] = ()
    tests: tuple[RuleTest, ...] = ()

    @property
    def safety(self) -> SafetyLimits:
        return SafetyLimits(**self.limits)


def combine(documents: Sequence[RulesDocument]) -> RulesDocument:
    """Combine files in order: all adds up, and the stricter of stated limits wins."""
    limits: dict[str, Any] = {}
    for document in documents:
        for name, value in document.limits.items():
            stricter = max if name in _STRICTER_IF_GREATER else min
            limits[name] = stricter(limits.get(name, value), value)
    return RulesDocument(
        task_types=tuple(t for document in documents for t in document.task_types),
        reasons=tuple(r for document in documents for r in document.reasons),
        limits=limits,
        protect=tuple(p for document in documents for p in document.protect),
        rules=tuple(rule for document in documents for rule in document.rules),
        tests=tuple(test for document in documents for test in document.tests),
    )


_STRICTER_IF_GREATER: Final = frozenset({"min_age"})
