"""Finds rules without tests, and rules that the tests show to come too late."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from triaged.rules.conditions import Condition
from triaged.rules.context import build_context
from triaged.rules.evaluate import TriState, evaluate
from triaged.rules.rule import Mode, Rule
from triaged.rules.task import LeaveCause, Task
from triaged.rulesfile.document import LocatedRule, RulesDocument, RuleTest
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.problems import ProblemCollector


@dataclass(frozen=True, slots=True)
class _Case:
    """A test with its tasks, which are parsed once for all rules."""

    test: RuleTest
    now: datetime
    tasks: Sequence[Task]

    def result(self, match: Condition) -> TriState:
        match = self.test.adapt(match)
        context = build_context([match], self.tasks, now=self.now)
        return evaluate(match, self.tasks[0], context)


def find_untested(draft: RulesDocument, report: ProblemCollector) -> None:
    """Warn of untested rules and protection, and of rules that come too late."""
    cases = [_case(test) for test in draft.tests]
    for placed in draft.rules:
        if placed.rule.reason is not None and placed.rule.mode is not Mode.OFF:
            _warn_untested_rule(placed, cases, report)
    _warn_untested_protection(draft, cases, report)
    _warn_too_late(draft, cases, report)


def _warn_untested_rule(
    placed: LocatedRule, cases: Sequence[_Case], report: ProblemCollector
) -> None:
    rule = placed.rule
    hit = any(_expects(case, rule) for case in cases)
    miss = any(
        not case.test.expect.dismiss
        and rule.name not in (case.test.expect.observed or ())
        and case.result(rule.match) is not True
        for case in cases
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


def _warn_untested_protection(
    draft: RulesDocument, cases: Sequence[_Case], report: ProblemCollector
) -> None:
    protected = [c for c in cases if c.test.expect.cause is LeaveCause.PROTECTED]
    for protection in draft.protect:
        if all(case.result(protection.condition) is False for case in protected):
            report.warn(
                protection.place,
                "this protect entry lacks a test; add to tests one with a task that it"
                " protects (expect: {decision: leave, cause: protected})",
            )


def _warn_too_late(
    draft: RulesDocument, cases: Sequence[_Case], report: ProblemCollector
) -> None:
    """Warn of a leave rule whose test tasks an earlier rule dismisses."""
    for index, placed in enumerate(draft.rules):
        if placed.rule.reason is not None or placed.rule.mode is not Mode.ENFORCE:
            continue
        late = next(_dismissed_before(placed.rule, draft.rules[:index], cases), None)
        if late is not None:
            test, earlier = late
            report.warn(
                placed.place,
                f"rule {placed.rule.name} comes too late for the task of test"
                f" {test.name!r}: {earlier.rule.name} in"
                f" {earlier.place.seen_from(placed.place)}"
                " dismisses it first; put the rule that leaves above it, or exclude"
                " such tasks from its match",
            )


def _dismissed_before(
    rule: Rule, above: Sequence[LocatedRule], cases: Sequence[_Case]
) -> Iterator[tuple[RuleTest, LocatedRule]]:
    earlier = [
        placed
        for placed in above
        if placed.rule.reason is not None and placed.rule.mode is Mode.ENFORCE
    ]
    for case in cases:
        expect = case.test.expect
        wanted = expect.dismiss or expect.rule == rule.name
        if not earlier or not wanted or case.result(rule.match) is not True:
            continue
        for placed in earlier:
            if case.result(placed.rule.match) is True:
                yield case.test, placed
                break


def _expects(case: _Case, rule: Rule) -> bool:
    expect = case.test.expect
    if rule.mode is Mode.OBSERVE:
        return rule.name in (expect.observed or ())
    if not expect.dismiss or expect.rule not in {None, rule.name}:
        return False
    return expect.rule == rule.name or case.result(rule.match) is True


def _case(test: RuleTest) -> _Case:
    """List the tasks of a test at its time or its default."""
    now = test.now or _default_time(test)
    return _Case(test, now, test.tasks(now))


def _default_time(test: RuleTest) -> datetime:
    """Return a time for a test without one, after every timestamp in it."""
    listed = (test.task, *test.other_tasks)
    moments = (task.to_task(NOW, task_id="").created_at for task in listed)
    return max([NOW, *(m + timedelta(days=1) for m in moments if m is not None)])
