"""An example task, in the form of a test in a rules file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.rules.conditions import Condition, DuplicateOf
from triaged.rules.context import ambiguous_rows, build_context
from triaged.rules.decide import decide_one
from triaged.rules.duration import format_duration
from triaged.rules.evaluate import TriState, evaluate
from triaged.rules.rule import Ruleset
from triaged.rules.task import Decision, Json, LeaveCause, Task, parse_timestamp
from triaged.rulesfile.document import RuleTest, TestTask, build_task_list
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.lint.yaml_flow import flow

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Example:
    """A task and the other listed tasks, in the form of a test in a rules file."""

    task: TestTask
    other_tasks: tuple[TestTask, ...] = ()

    def tasks(self) -> list[Task]:
        return build_task_list(self.task, self.other_tasks, NOW)

    def as_json(self) -> dict[str, Json]:
        """Return the task and the other listed tasks, with the keys of a test."""
        other_tasks: list[Json] = [listed(other) for other in self.other_tasks]
        beside: dict[str, Json] = {"other_tasks": other_tasks} if other_tasks else {}
        return {"task": listed(self.task), **beside}

    def __str__(self) -> str:
        """Format the task so that it can be pasted into a test."""
        beside = ", ".join(flow(listed(other)) for other in self.other_tasks)
        return flow(listed(self.task)) + (f" listed beside {beside}" if beside else "")


def listed(task: TestTask) -> dict[str, Json]:
    """Return the fields of a task in the usual order."""
    fields = dict(task.fields)
    metadata = {k: fields.pop(k) for k in ("metadata",) if k in fields}
    age = {} if task.age is None else {"age": format_duration(task.age)}
    return fields | age | metadata


def example_of(test: RuleTest) -> Example | None:
    """Build an example from a test; None if its age depends on the calendar."""
    tasks = [_without_moment(task, test) for task in (test.task, *test.other_tasks)]
    if any(task is None for task in tasks):
        return None
    first, *others = (task for task in tasks if task is not None)
    return Example(first, tuple(others))


def truth_in(example: Example, condition: Condition) -> TriState:
    """Evaluate a condition on the task of an example."""
    tasks = example.tasks()
    return evaluate(condition, tasks[0], build_context([condition], tasks, now=NOW))


def decide_first(
    ruleset: Ruleset,
    tasks: Sequence[Task],
    duplicates: Sequence[DuplicateOf],
    *,
    now: datetime,
) -> Decision:
    """Decide on the first task only; ``duplicates`` are those of the ruleset."""
    if 0 in ambiguous_rows(tasks):
        return Decision(tasks[0], LeaveCause.MALFORMED)
    return decide_one(ruleset, tasks[0], build_context(duplicates, tasks, now=now))


def _without_moment(task: TestTask, test: RuleTest) -> TestTask | None:
    fields = {k: v for k, v in task.fields.items() if k != "id"}
    if fields.get("status") == "pending":
        del fields["status"]
    created_at = parse_timestamp(fields.pop("created_at", None))
    if created_at is None:
        return TestTask(fields, task.age)
    if test.now is None or created_at > test.now:
        return None
    return TestTask(fields, whole_seconds(test.now - created_at))


def whole_seconds(age: timedelta) -> timedelta:
    """Truncate an age to whole seconds, the resolution of durations."""
    return age // _SECOND * _SECOND
