"""What can be said of a rules file only as a whole: errors first, then warnings."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from triaged.rules.conditions import Condition
from triaged.rules.context import build_context
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Mode, Rule
from triaged.rules.task import Task
from triaged.rulesfile.document import (
    LocatedMatch,
    LocatedRule,
    RulesDocument,
    RuleTest,
)
from triaged.rulesfile.lint.example import example_of
from triaged.rulesfile.lint.example_search import Effort, examples
from triaged.rulesfile.lint.sample_tasks import (
    NOW,
    holds_for_all,
    is_unknown_for_some,
    metadata_paths,
    sample_context,
    sample_tasks,
)
from triaged.rulesfile.lint.unreachable import find_unreachable
from triaged.rulesfile.problems import ProblemCollector

# Tasks from the tests that an example is made after; the file may have thousands.
_MODELS: Final = 5
_EFFORT: Final = 1000


def find_errors(
    draft: RulesDocument, types: Sequence[str], report: ProblemCollector
) -> None:
    """Report what no single rule or test shows to be wrong."""
    _check_matches_everything(draft, types, report)
    effort = Effort(_EFFORT)
    for placed, wider in find_unreachable(draft.rules):
        report.error(
            placed.place,
            f"rule {placed.rule.name} is unreachable: {wider.rule.name} in line"
            f" {wider.place.line} acts on all of its tasks before"
            f"{_example_clause(placed, wider, draft, types, effort)};"
            " put it above that rule, or drop it",
        )


def _example_clause(
    placed: LocatedRule,
    wider: LocatedRule,
    draft: RulesDocument,
    types: Sequence[str],
    effort: Effort,
) -> str:
    """Name a task that both rules mean, one from the tests if there is one."""
    like = (e for test in draft.tests if (e := example_of(test)) is not None)
    goals = [(placed.rule.match, True), (wider.rule.match, True)]
    made = examples(goals, types, effort=effort, like=islice(like, _MODELS))
    found = next(made, None)
    return "" if found is None else f", for example on {found}"


def find_warnings(
    draft: RulesDocument, types: Sequence[str], report: ProblemCollector
) -> None:
    """Warn of rules that are untested, or leave more than their author may mean."""
    for placed in draft.rules:
        if placed.rule.reason is not None and placed.rule.mode is not Mode.OFF:
            _warn_untested(placed, draft.tests, report)
    in_doubt = [
        (LocatedMatch(placed.rule.match, placed.match_place), "left")
        for placed in draft.rules
        if placed.rule.reason is None and placed.rule.mode is Mode.ENFORCE
    ]
    in_doubt += [(shield, "protected") for shield in draft.protect]
    tasks = sample_tasks(types, draft.safety.min_age)
    for placed_match, word in in_doubt:
        _warn_unknown(placed_match, word, tasks, report)


def _check_matches_everything(
    draft: RulesDocument, types: Sequence[str], report: ProblemCollector
) -> None:
    """Refuse a dismissal of whatever comes, by trying it on very different tasks."""
    min_age = draft.safety.min_age
    tasks = sample_tasks(types, min_age)
    matches = [placed.rule.match for placed in draft.rules]
    seen = sample_context(matches, tasks)
    for placed in draft.rules:
        match = placed.rule.match
        if placed.rule.reason is None or not holds_for_all(match, tasks, seen):
            continue
        paths = sorted(set(metadata_paths(match)))
        others = sample_tasks(types, min_age, paths=paths) if paths else []
        if holds_for_all(match, others, sample_context([match], others)):
            report.error(
                placed.match_place,
                "the match holds for every task, so the rule would dismiss everything;"
                " say which tasks are meant",
            )


def _warn_untested(
    placed: LocatedRule, tests: Sequence[RuleTest], report: ProblemCollector
) -> None:
    rule = placed.rule
    hit = any(_expects(test, rule) for test in tests)
    miss = any(
        not test.expect.dismiss
        and rule.name not in (test.expect.observed or ())
        and not _holds_in(test, rule.match)
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


def _expects(test: RuleTest, rule: Rule) -> bool:
    if rule.mode is Mode.OBSERVE:
        return rule.name in (test.expect.observed or ())
    if not test.expect.dismiss or test.expect.rule not in {None, rule.name}:
        return False
    return test.expect.rule == rule.name or _holds_in(test, rule.match)


def _holds_in(test: RuleTest, match: Condition) -> bool:
    now = test.now or _default_time(test)
    tasks = test.tasks(now)
    return evaluate(match, tasks[0], build_context([match], tasks, now=now)) is True


def _default_time(test: RuleTest) -> datetime:
    """Choose a moment for a test that leaves it open, after all that it names."""
    listed = (test.task, *test.other_tasks)
    moments = (task.to_task(NOW, task_id="").created_at for task in listed)
    return max([NOW, *(m + timedelta(days=1) for m in moments if m is not None)])


def _warn_unknown(
    placed: LocatedMatch, word: str, tasks: Sequence[Task], report: ProblemCollector
) -> None:
    match = placed.condition
    paths = list(dict.fromkeys(metadata_paths(match)))
    if not paths:
        return
    seen = sample_context([match], tasks)
    if not is_unknown_for_some(match, tasks, seen):
        return
    keys = " or ".join(f"metadata.{path}" for path in paths)
    guards = ", ".join(f"{path}: {{missing: false}}" for path in paths)
    without = f"{{metadata: {{{paths[0]}: {{missing: true}}}}}}"
    report.warn(
        placed.place,
        f"a task without {keys} cannot be judged by this and is {word}, in doubt;"
        f" if only tasks that have it are meant, write"
        f" all: [{{metadata: {{{guards}}}}}, {{this match}}];"
        f" if the others too, any: [{without}, {{this match}}]",
    )
