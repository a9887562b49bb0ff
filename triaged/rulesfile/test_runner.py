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
    ) -> Sequence[Decision]:
        """Decide on each task."""
        ...


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
    got = _show_got(decision) + _show_absent(decision.task)
    place = test.place
    expected = _show_expected(test.expect)
    return Failure(test.name, place.file, place.line, expected, got)


def _matches(expect: Expectation, decision: Decision) -> bool:
    observed = {dismissal.rule for dismissal in decision.observed}
    return (
        expect.dismiss == decision.is_dismissal
        and expect.rule in {None, decision.rule}
        and expect.reason in {None, decision.reason}
        and expect.cause in {None, decision.cause}
        and (expect.observed is None or set(expect.observed) == observed)
    )


def _show_expected(expect: Expectation) -> str:
    observed = None if expect.observed is None else ", ".join(expect.observed)
    return _sentence(
        dismiss=expect.dismiss,
        rule=expect.rule,
        reason=expect.reason,
        cause=expect.cause,
        observed="no rule" if observed == "" else observed,
    )


def _show_got(decision: Decision) -> str:
    observed = ", ".join(dismissal.rule for dismissal in decision.observed)
    return _sentence(
        dismiss=decision.is_dismissal,
        rule=decision.rule,
        reason=decision.reason,
        cause=decision.cause,
        observed=observed or None,
    )


def _show_absent(task: Task) -> str:
    """List the fields that the task lacks, the usual reason for an unknown result."""
    fields = {
        "type": task.type,
        "description": task.description,
        "age": task.created_at,
    }
    absent = " or ".join(name for name, value in fields.items() if value is None)
    return f"; the task has no {absent}, so a match on it is unknown" if absent else ""


def _sentence(
    *,
    dismiss: bool,
    rule: str | None,
    reason: str | None,
    cause: str | None,
    observed: str | None,
) -> str:
    said = "dismiss" if dismiss else "leave"
    said += f" as {reason}" if reason else ""
    said += f" by rule {rule}" if rule else ""
    said += f" ({cause})" if cause else ""
    return said + (f", observed by {observed}" if observed else "")
