"""What the tests of a file show of its rules: which are untested or come too late."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from triaged.rules.conditions import Condition
from triaged.rules.context import build_context
from triaged.rules.evaluate import TriState, evaluate
from triaged.rules.rule import Mode, Rule
from triaged.rules.task import LeaveCause
from triaged.rulesfile.document import LocatedRule, RulesDocument, RuleTest
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.problems import ProblemCollector


def find_untested(draft: RulesDocument, report: ProblemCollector) -> None:
    """Warn of rules and protection without tests, and of rules below what decides."""
    for placed in draft.rules:
        if placed.rule.reason is not None and placed.rule.mode is not Mode.OFF:
            _warn_untested_rule(placed, draft.tests, report)
    _warn_untested_protection(draft, report)
    _warn_too_late(draft, report)


def _warn_untested_rule(
    placed: LocatedRule, tests: Sequence[RuleTest], report: ProblemCollector
) -> None:
    rule = placed.rule
    hit = any(_expects(test, rule) for test in tests)
    miss = any(
        not test.expect.dismiss
        and rule.name not in (test.expect.observed or ())
        and _result(test, rule.match) is not True
        for test in tests
    )
    if hit and miss:
        return
    wanted = []
    if not hit:
        how = (
            f"expect: {{decision: leave, observed: [{rule.name}]}}"
            if rule.mode is Mode.OBSERVE
            else f"expect: {{decision: dismiss, rule: {rule.name}}}"
        )
        wanted.append(f"one with a task that it is meant for ({how})")
    if not miss:
        wanted.append("one with a similar task that must be left (decision: leave)")
    report.warn(
        placed.place,
        f"rule {rule.name} lacks a test; add to tests {' and '.join(wanted)}",
    )


def _warn_untested_protection(draft: RulesDocument, report: ProblemCollector) -> None:
    protected = [t for t in draft.tests if t.expect.cause is LeaveCause.PROTECTED]
    for protection in draft.protect:
        if all(_result(test, protection.condition) is False for test in protected):
            report.warn(
                protection.place,
                "this protect entry lacks a test; add to tests one with a task that it"
                " protects (expect: {decision: leave, cause: protected})",
            )


def _warn_too_late(draft: RulesDocument, report: ProblemCollector) -> None:
    """Warn of a rule that leaves tasks which a rule above it dismisses in the tests."""
    for index, placed in enumerate(draft.rules):
        if placed.rule.reason is not None or placed.rule.mode is not Mode.ENFORCE:
            continue
        late = next(_dismissed_before(placed.rule, index, draft), None)
        if late is not None:
            test, earlier = late
            report.warn(
                placed.place,
                f"rule {placed.rule.name} comes too late for the task of test"
                f" {test.name!r}: {earlier.rule.name} in line {earlier.place.line}"
                " dismisses it first; put the rule that leaves above it, or exclude"
                " such tasks from its match",
            )


def _dismissed_before(
    rule: Rule, index: int, draft: RulesDocument
) -> Iterator[tuple[RuleTest, LocatedRule]]:
    earlier = [
        placed
        for placed in draft.rules[:index]
        if placed.rule.reason is not None and placed.rule.mode is Mode.ENFORCE
    ]
    for test in draft.tests:
        wanted = test.expect.dismiss or test.expect.rule == rule.name
        if not earlier or not wanted or _result(test, rule.match) is not True:
            continue
        for placed in earlier:
            if _result(test, placed.rule.match) is True:
                yield test, placed
                break


def _expects(test: RuleTest, rule: Rule) -> bool:
    if rule.mode is Mode.OBSERVE:
        return rule.name in (test.expect.observed or ())
    if not test.expect.dismiss or test.expect.rule not in {None, rule.name}:
        return False
    return test.expect.rule == rule.name or _result(test, rule.match) is True


def _result(test: RuleTest, match: Condition) -> TriState:
    """Evaluate a match for the task of a test, at its own time or a later one."""
    now = test.now or _default_time(test)
    match = test.adapt(match)
    tasks = test.tasks(now)
    return evaluate(match, tasks[0], build_context([match], tasks, now=now))


def _default_time(test: RuleTest) -> datetime:
    """Choose a time for a test that leaves it open, after all that it names."""
    listed = (test.task, *test.other_tasks)
    moments = (task.to_task(NOW, task_id="").created_at for task in listed)
    return max([NOW, *(m + timedelta(days=1) for m in moments if m is not None)])
