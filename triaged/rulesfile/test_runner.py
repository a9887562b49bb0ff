"""Runs the tests in a rules file and reports unexpected decisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from triaged.rules.decide import decide as decide_plainly
from triaged.rules.rule import Ruleset
from triaged.rules.task import Decision, Task
from triaged.rulesfile.document import Expectation, RuleTest


class DecideFunction(Protocol):
    """A function that decides on each listed task, in the order listed."""

    def __call__(
        self, ruleset: Ruleset, tasks: Sequence[Task], /, *, now: datetime
    ) -> Sequence[Decision]: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed test: its name, the expected and the actual decision, in sentences."""

    test: str
    file: str
    line: int
    expected: str
    got: str

    def __str__(self) -> str:
        """Format which test failed, what it expected and what the rules decided."""
        return f"test {self.test!r}: expected {self.expected}; got {self.got}"


@dataclass(frozen=True, slots=True)
class TestReport:
    """The results of the tests of a file."""

    passed: int
    failures: tuple[Failure, ...]


def run_tests(
    tests: Sequence[RuleTest],
    ruleset: Ruleset,
    *,
    now: datetime,
    decide: DecideFunction = decide_plainly,
) -> TestReport:
    """Run each test at its own time, or at ``now`` if it has none."""
    failures = [
        failure
        for test in tests
        if (failure := _run(test, ruleset, now=now, decide=decide)) is not None
    ]
    return TestReport(len(tests) - len(failures), tuple(failures))


def _run(
    test: RuleTest, ruleset: Ruleset, *, now: datetime, decide: DecideFunction
) -> Failure | None:
    moment = test.now or now
    decision = decide(test.adapt_ruleset(ruleset), test.tasks(moment), now=moment)[0]
    if _matches(test.expect, decision):
        return None
    observed = tuple(dismissal.rule for dismissal in decision.observed)
    got = Expectation(
        dismiss=decision.is_dismissal,
        rule=decision.rule,
        reason=decision.reason,
        cause=decision.cause,
        observed=observed or None,
    )
    return Failure(
        test.name,
        test.place.file,
        test.place.line,
        _sentence(test.expect),
        _sentence(got) + _absent_fields(decision.task),
    )


def _matches(expect: Expectation, decision: Decision) -> bool:
    observed = {dismissal.rule for dismissal in decision.observed}
    return (
        expect.dismiss == decision.is_dismissal
        and expect.rule in {None, decision.rule}
        and expect.reason in {None, decision.reason}
        and expect.cause in {None, decision.cause}
        and (expect.observed is None or set(expect.observed) == observed)
    )


def _sentence(decided: Expectation) -> str:
    said = "dismiss" if decided.dismiss else "leave"
    said += f" as {decided.reason}" if decided.reason else ""
    said += f" by rule {decided.rule}" if decided.rule else ""
    said += f" ({decided.cause})" if decided.cause else ""
    if decided.observed is None:
        return said
    return f"{said}, observed by {', '.join(decided.observed) or 'no rule'}"


def _absent_fields(task: Task) -> str:
    """List the fields that the task lacks, the usual reason for an unknown result."""
    fields = {
        "type": task.type,
        "description": task.description,
        "age": task.created_at,
    }
    absent = " or ".join(name for name, value in fields.items() if value is None)
    return f"; the task has no {absent}, so a match on it is unknown" if absent else ""
