"""Checks that need the whole rules file: errors first, then warnings."""

from collections.abc import Sequence
from typing import Final

from triaged.rules.conditions import Condition, CreatedAt, iter_leaves
from triaged.rules.context import EvaluationContext, build_context
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Mode
from triaged.rules.task import Task
from triaged.rulesfile.document import (
    LocatedMatch,
    LocatedRule,
    RulesDocument,
    RuleTest,
)
from triaged.rulesfile.lint.doubts import find_doubts
from triaged.rulesfile.lint.example import example_of, truth_in
from triaged.rulesfile.lint.sample_tasks import NOW, metadata_paths, sample_tasks
from triaged.rulesfile.lint.unreachable import find_unreachable
from triaged.rulesfile.lint.untested import find_untested
from triaged.rulesfile.problems import ProblemCollector

# Below it, people may have approved more of the tasks than they dismissed.
_LEAST_AGREEMENT: Final = 0.5


def find_errors(
    draft: RulesDocument, types: Sequence[str], report: ProblemCollector
) -> None:
    """Report errors that only a combination of rules and tests reveals."""
    _check_matches_everything(draft, types, report)
    for placed, wider in find_unreachable(draft.rules):
        report.error(
            placed.place,
            f"rule {placed.rule.name} is unreachable: {wider.rule.name} in"
            f" {wider.place.seen_from(placed.place)} acts on all of its tasks before"
            f"{_example_clause(placed, wider, draft.tests)};"
            " put it above that rule, or drop it",
        )


def _example_clause(
    placed: LocatedRule, wider: LocatedRule, tests: Sequence[RuleTest]
) -> str:
    """Return a clause naming a test task that both rules match, or an empty one."""
    matches = (placed.rule.match, wider.rule.match)
    for test in tests:
        example = example_of(test)
        if example and all(truth_in(example, match) is True for match in matches):
            return f", for example on {example}"
    return ""


def find_warnings(
    draft: RulesDocument, types: Sequence[str], report: ProblemCollector
) -> None:
    """Warn of untested rules, misspelled keys, and rules that leave too many tasks."""
    find_untested(draft, report)
    find_doubts(draft, report)
    for placed in draft.rules:
        _warn_promotion(placed, report)
    in_doubt = [
        (LocatedMatch(placed.rule.match, placed.match_place), "left")
        for placed in draft.rules
        if placed.rule.reason is None and placed.rule.mode is Mode.ENFORCE
    ]
    in_doubt += [(protection, "protected") for protection in draft.protect]
    tasks = sample_tasks(types, draft.safety.min_age)
    for placed_match, word in in_doubt:
        _warn_unknown(placed_match, word, tasks, report)


def _warn_promotion(placed: LocatedRule, report: ProblemCollector) -> None:
    """Warn of a promotion that has no effect, never comes, or comes without consent."""
    rule = placed.rule
    if rule.promote is None:
        return
    if rule.mode is Mode.ENFORCE:
        report.warn(
            placed.place,
            f"{rule.name} acts already, so promote has an effect only after a"
            " demotion; write mode: observe to let the evidence decide",
        )
    if rule.promote.agreement >= 1:
        report.warn(
            placed.place,
            f"{rule.name} is never promoted: the lower end of an interval stays below"
            " 1; 0.9 needs 35 tasks that all agree",
        )
    if rule.promote.agreement < _LEAST_AGREEMENT:
        report.warn(
            placed.place,
            f"{rule.name} is promoted although most people may disagree; write"
            " agreement: 0.9",
        )


def _check_matches_everything(
    draft: RulesDocument, types: Sequence[str], report: ProblemCollector
) -> None:
    """Reject dismiss rules that match all of a set of very different sample tasks."""
    min_age = draft.safety.min_age
    tasks = sample_tasks(types, min_age)
    matches = [placed.rule.match for placed in draft.rules]
    context = build_context(matches, tasks, now=NOW)
    for placed in draft.rules:
        match = placed.rule.match
        if placed.rule.reason is None or not _is_met_by_all(match, tasks, context):
            continue
        paths = sorted(set(metadata_paths(match)))
        timed = any(isinstance(leaf, CreatedAt) for leaf in iter_leaves(match))
        others: list[Task] = []
        if paths or timed:
            others = sample_tasks(types, min_age, paths=paths, all_week=timed)
        other_context = build_context([match], others, now=NOW)
        if _is_met_by_all(match, others, other_context):
            report.error(
                placed.match_place,
                "the match holds for every task, so the rule would dismiss everything;"
                " say which tasks are meant",
            )


def _is_met_by_all(
    match: Condition, tasks: Sequence[Task], context: EvaluationContext
) -> bool:
    return all(evaluate(match, task, context) is True for task in tasks)


def _warn_unknown(
    placed: LocatedMatch, word: str, tasks: Sequence[Task], report: ProblemCollector
) -> None:
    match = placed.condition
    paths = list(dict.fromkeys(metadata_paths(match)))
    if not paths:
        return
    context = build_context([match], tasks, now=NOW)
    if all(evaluate(match, task, context) is not None for task in tasks):
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
