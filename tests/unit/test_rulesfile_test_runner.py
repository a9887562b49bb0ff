"""The tests inside a rules file: what they compare, and what they say on failure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from tests.builders import T0
from triaged.rules.decide import decide
from triaged.rules.rule import Ruleset
from triaged.rules.task import Decision, Task
from triaged.rulesfile.loader import parse, run_tests

RULES = r"""version: 1
protect:
  - description: board
rules:
  - {name: people, match: {type: campaign_start}, leave: true}
  - {name: watch, mode: observe, match: {description: TEST}, dismiss: testing}
  - {name: twice, match: {duplicate: {of: [description]}}, dismiss: duplicate}
  - {name: old, match: {age: {over: 14d}}, dismiss: not_relevant}
tests:
"""


def failures(task: str, expect: str, more: str = "") -> list[str]:
    ordinary = {"type": "list_operation", "description": "z", "age": "1d"}
    given = task.replace("created_at", "age")
    task += "".join(f", {k}: {v}" for k, v in ordinary.items() if f"{k}:" not in given)
    test = f"  - {{name: it, task: {{{task}}}, expect: {{{expect}}}{more}}}\n"
    report = run_tests(parse((RULES + test).encode(), "rules.yaml"), now=T0)
    assert report.passed + len(report.failures) == 1
    return [str(failure) for failure in report.failures]


@pytest.mark.parametrize(
    ("task", "expect"),
    [
        ("description: x", "decision: leave"),
        ("description: x", "decision: leave, cause: no_rule, observed: []"),
        ("age: 20d", "decision: dismiss, rule: old, reason: not_relevant"),
        ("age: 14d", "decision: leave"),
        ("created_at: '2026-02-01T00:00:00Z'", "decision: dismiss"),
        ("created_at: 2026-02-01T00:00:00+01:00", "decision: dismiss"),
        ("type: campaign_start, age: 20d", "decision: leave, rule: people"),
        ("type: campaign_start", "decision: leave, cause: leave_rule"),
        ("description: board, age: 20d", "decision: leave, cause: protected"),
        ("description: x, status: failed", "decision: leave, cause: not_pending"),
        ("description: x, id: ''", "decision: leave, cause: malformed"),
        ("description: TEST", "decision: leave, observed: [watch]"),
        ("description: TEST, age: 20d", "decision: dismiss, observed: [watch]"),
    ],
)
def test_a_test_compares_what_it_names(task: str, expect: str) -> None:
    """Only the keys that expect has are compared."""
    assert failures(task, expect) == []


def test_others_are_listed_beside_the_task() -> None:
    """The older of two equal tasks is kept, so the younger goes."""
    older = ", other_tasks: [{type: list_operation, description: X , age: 2d}]"
    younger = ", other_tasks: [{type: list_operation, description: x, age: 1h}]"
    expect = "decision: dismiss, rule: twice"

    assert failures("description: x, age: 1d", expect, older) == []
    assert failures("description: x, age: 1d", "decision: leave", younger) == []


def test_a_test_may_have_its_own_moment() -> None:
    """With a moment of its own, a test does not depend on when it is run."""
    task = "created_at: 2020-01-01T00:00:00Z"
    now = ", now: 2020-01-02T00:00:00Z"

    assert failures(task, "decision: leave", now) == []
    assert failures(task, "decision: leave") != []


@pytest.mark.parametrize(
    ("task", "expect", "sentence"),
    [
        (
            "age: 20d",
            "decision: leave, cause: no_rule",
            "expected leave (no_rule); got dismiss as not_relevant by rule old",
        ),
        (
            "type: campaign_start",
            "decision: dismiss, rule: old",
            "expected dismiss by rule old; got leave by rule people (leave_rule)",
        ),
        (
            "description: TEST",
            "decision: leave, observed: []",
            (
                "expected leave, observed by no rule; got leave (no_rule),"
                " observed by watch"
            ),
        ),
        (
            "age: 20d",
            "decision: dismiss, reason: testing",
            "expected dismiss as testing; got dismiss as not_relevant by rule old",
        ),
        (
            "description: x",
            "decision: leave, observed: [watch]",
            "expected leave, observed by watch; got leave (no_rule)",
        ),
    ],
)
def test_a_failure_is_a_sentence(task: str, expect: str, sentence: str) -> None:
    """It says which test, what was expected and what came."""
    assert failures(task, expect) == [f"test 'it': {sentence}"]


def test_a_failure_names_what_the_task_has_not() -> None:
    """What a test leaves out is unknown to the rules, which surprises people."""
    test = "  - {name: it, task: {age: 20d}, expect: {decision: dismiss}}\n"

    (failure,) = run_tests(
        parse((RULES + test).encode(), "rules.yaml"), now=T0
    ).failures

    assert failure.got == (
        "leave (protected); the task has no type or description,"
        " so a match on it is unknown"
    )


def test_a_failure_knows_its_line() -> None:
    """People find the test that failed."""
    task = "{type: list_operation, description: x, age: 20d}"
    text = f"{RULES}  - name: it\n    task: {task}\n    expect: {{decision: leave}}\n"

    (failure,) = run_tests(parse(text.encode(), "rules.yaml"), now=T0).failures

    assert failure.line == text[: text.index("name: it")].count("\n") + 1


def test_any_decider_will_do() -> None:
    """The tests run on whatever decides in the daemon."""
    asked: list[timedelta] = []

    def spy(
        ruleset: Ruleset, tasks: Sequence[Task], /, *, now: datetime
    ) -> Sequence[Decision]:
        asked.append(now - T0)
        return decide(ruleset, tasks, now=now)

    test = "  - {name: it, task: {description: x}, expect: {decision: leave}}\n"
    loaded = parse((RULES + test).encode(), "rules.yaml")

    assert run_tests(loaded, now=T0, decide=spy).passed == 1
    assert asked == [timedelta(0)]
