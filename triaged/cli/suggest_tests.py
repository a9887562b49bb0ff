"""The tests of proposed rules: tasks of the past on which the rules engine agrees."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from triaged.cli.suggest_names import NamedProposal, describe_near_miss, free_name
from triaged.cli.suggest_redact import TaskRedactor
from triaged.rules.conditions import (
    AgeBetween,
    DuplicateOf,
    MetadataMatches,
    iter_leaves,
)
from triaged.rules.context import duplicate_conditions
from triaged.rules.rule import Ruleset
from triaged.rules.task import Json
from triaged.rulesfile.document import TestTask
from triaged.rulesfile.lint.example import Example, decide_first, whole_seconds
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.lint.yaml_flow import can_flow, flow
from triaged.triage.suggest.examples import Kind, Wanted, wanted_examples
from triaged.triage.suggest.history import History
from triaged.triage.suggest.proposals import Proposal

# Longer tasks are real too, but a person does not read them in a test.
_MAX_DESCRIPTION: Final = 300
_MAX_METADATA: Final = 600


class TestWriter:
    """Writes tests: each a task of the history on which the engine agrees."""

    def __init__(
        self,
        named: Sequence[NamedProposal],
        history: History,
        *,
        redact: bool,
        whole: bool,
    ) -> None:
        self._named = named
        self._history = history
        self._ruleset = Ruleset(rules=tuple(one.rule for one in named))
        conditions = list(self._ruleset.conditions())
        self._duplicates = duplicate_conditions(conditions)
        leaves = [leaf for one in conditions for leaf in iter_leaves(one)]
        self._aged = any(isinstance(leaf, AgeBetween) for leaf in leaves)
        self._paths = {
            leaf.path.partition(".")[0]
            for leaf in leaves
            if isinstance(leaf, MetadataMatches)
        }
        self._whole = whole
        self._redactor = TaskRedactor(conditions) if redact else None

    def write(self) -> Iterator[dict[str, Json]]:
        """Give the tests of each rule; a task is shown once for each."""
        for one in self._named:
            names: set[str] = set()
            for wanted in wanted_examples(self._history, one.proposal):
                yield from self._tests(one, wanted, names)

    def _tests(
        self, one: NamedProposal, wanted: Wanted, names: set[str]
    ) -> Iterator[dict[str, Json]]:
        shown: set[str] = set()
        for row in wanted.rows:
            if len(shown) == wanted.count:
                return
            example = self._example(row, one.proposal)
            if example is None or str(example) in shown:
                continue
            tasks = example.tasks()
            decision = decide_first(self._ruleset, tasks, self._duplicates, now=NOW)
            observed = [dismissal.rule for dismissal in decision.observed]
            if (one.name in observed) is (wanted.kind is Kind.NEAR_MISS):
                continue
            shown.add(str(example))
            name = free_name(_title(one, wanted), names, "{} ({})")
            names.add(name)
            expect: dict[str, Json] = {"decision": "leave", "observed": [*observed]}
            yield {"name": name, **example.as_json(), "expect": expect}

    def _example(self, row: int, proposal: Proposal) -> Example | None:
        others: tuple[TestTask, ...] = ()
        needs_twin = any(isinstance(part, DuplicateOf) for part in proposal.parts)
        age = self._age(row)
        if needs_twin and age is None:
            age = timedelta(hours=1)
        task = self._test_task(row, age)
        twin = self._history.earlier_copies.get(row)
        if needs_twin and twin is not None and age is not None:
            gap = self._created(row) - self._created(twin)
            other = self._test_task(twin, whole_seconds(age + gap))
            if other is None:
                return None
            others = (other,)
        return None if task is None else Example(task, others)

    def _created(self, row: int) -> datetime:
        created = self._history.rows[row].task.created_at
        if created is None:
            raise ValueError("a history has only dated tasks")
        return created

    def _age(self, row: int) -> timedelta | None:
        seen = self._history.rows[row].seen_at
        if not self._aged or seen is None or seen < self._created(row):
            return None
        return whole_seconds(seen - self._created(row))

    def _test_task(self, row: int, age: timedelta | None) -> TestTask | None:
        task = self._history.rows[row].task
        fields: dict[str, Json] = {}
        if task.type is not None:
            fields["type"] = task.type
        if task.description is not None:
            fields["description"] = task.description
        metadata = _without_null(dict(task.metadata or {}))
        if isinstance(metadata, dict) and not self._whole:
            metadata = {k: v for k, v in metadata.items() if k in self._paths}
        if metadata:
            fields["metadata"] = metadata
        if self._redactor is not None:
            fields = self._redactor.redact(fields)
        readable = (
            len(task.description or "") <= _MAX_DESCRIPTION
            and can_flow(fields)
            and len(flow(metadata)) <= _MAX_METADATA
        )
        return TestTask(fields, age) if readable else None


def _without_null(value: Json) -> Json:
    if isinstance(value, dict):
        return {k: _without_null(v) for k, v in value.items() if v is not None}
    return value


def _title(one: NamedProposal, wanted: Wanted) -> str:
    if wanted.without is None:
        return f"{one.name}: {wanted.kind}"
    return f"{one.name}: one {describe_near_miss(wanted.without)} stays"
