"""What a rules file says, with the places: for the checks of the whole file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from triaged.rules.conditions import Condition
from triaged.rules.rule import Rule, Safety
from triaged.rules.task import Cause, Json, Task, read_task
from triaged.rulesfile.problems import Place


@dataclass(frozen=True, slots=True)
class PlacedMatch:
    """A match and where it stands."""

    condition: Condition
    place: Place


@dataclass(frozen=True, slots=True)
class PlacedRule:
    """A rule, where it stands, and where its match does."""

    rule: Rule
    place: Place
    match_place: Place


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task as a test writes it; its age is counted back from the test's moment."""

    fields: Mapping[str, Json]
    age: timedelta | None = None

    def at(self, now: datetime, *, task_id: str) -> Task:
        """Return the task as it would be listed at this moment."""
        listed: dict[str, Json] = {"id": task_id, "status": "pending", **self.fields}
        if self.age is not None:
            listed["created_at"] = (now - self.age).isoformat()
        return read_task(listed)


def listed_together(
    task: ListedTask, others: Sequence[ListedTask], now: datetime
) -> list[Task]:
    """Return what would be listed at this moment, the task in question first."""
    beside = enumerate(others, start=1)
    return [
        task.at(now, task_id="test"),
        *(other.at(now, task_id=f"other-{index}") for index, other in beside),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a test expects; None where it does not say."""

    dismiss: bool
    rule: str | None = None
    reason: str | None = None
    cause: Cause | None = None
    observed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTest:
    """One test of a rules file: a task among others, and what must become of it."""

    name: str
    task: ListedTask
    expect: Expectation
    place: Place
    expect_place: Place
    others: tuple[ListedTask, ...] = ()
    now: datetime | None = None

    def tasks_at(self, now: datetime) -> list[Task]:
        """Return what would be listed at this moment, the task in question first."""
        return listed_together(self.task, self.others, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that could be read of a file."""

    task_types: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    safety: Safety = field(default_factory=Safety)
    protect: tuple[PlacedMatch, ...] = ()
    rules: tuple[PlacedRule, ...] = ()
    tests: tuple[RuleTest, ...] = ()
