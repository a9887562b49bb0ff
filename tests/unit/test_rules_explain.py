"""Explanations say what decisions did, and why."""

from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given

from tests.builders import T0, a_task
from tests.strategies import conditions, rulesets, tasks
from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    Keep,
    LessThan,
    MetadataMatches,
    Missing,
    Not,
    Regex,
    TypeIn,
)
from triaged.rules.context import build_context
from triaged.rules.decide import decide
from triaged.rules.evaluate import evaluate
from triaged.rules.explain import (
    ConditionResult,
    Explanation,
    explain,
    explain_condition,
)
from triaged.rules.patterns.re2_pattern import compile_pattern
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import LeaveCause, Task, parse_task

SEARCHES: Final = TypeIn(("prospect_search",))
NEVER: Final = TypeIn(("never",))
UNKNOWN: Final = MetadataMatches("nowhere", Equals(1))
WORDS: Final = (compile_pattern("CEOs"), compile_pattern("(?i)board"))
DAY: Final = timedelta(days=1)


def _rule(
    name: str, match: Condition, reason: str | None = "testing", mode: str = "enforce"
) -> Rule:
    return Rule(name=name, match=match, reason=reason, mode=Mode(mode))


def _explain(
    *rules: Rule, task: Task | None = None, protect: tuple[Condition, ...] = ()
) -> Explanation:
    ruleset = Ruleset(rules=rules, protect=protect)
    asked = a_task() if task is None else task
    return explain(ruleset, asked, build_context(ruleset.conditions(), [asked], now=T0))


def _judge(condition: Condition, task: Task, *others: Task) -> ConditionResult:
    return explain_condition(
        condition, task, build_context([condition], [task, *others], now=T0)
    )


@given(conditions(), tasks())
def test_verdict_agrees(condition: Condition, task: Task) -> None:
    """The verdict's truth is what `holds` says, at every node."""
    context = build_context([condition], [task], now=T0)

    verdict = explain_condition(condition, task, context)

    assert verdict.result is evaluate(condition, task, context)
    if isinstance(condition, AllOf | AnyOf):
        truths = [evaluate(part, task, context) for part in condition.parts]
        assert [part.result for part in verdict.children] == truths


@given(rulesets(), tasks())
def test_explanation_agrees(ruleset: Ruleset, task: Task) -> None:
    """The explanation tells of the decision that was made, and which rule made it."""
    context = build_context(ruleset.conditions(), [task], now=T0)

    explanation = explain(ruleset, task, context)

    assert [explanation.decision] == decide(ruleset, [task], now=T0)
    acted = {rule.rule for rule in explanation.rules if rule.applied}
    spoke = {dismissal.rule for dismissal in explanation.decision.observed}
    decided = explanation.decision.rule
    assert acted == spoke | ({decided} if decided else set())
    assert all(rule.evaluated for rule in explanation.rules if rule.applied)


@pytest.mark.parametrize(
    ("condition", "what", "wanted", "seen"),
    [
        (TypeIn(("a", "b")), "type", "a or b", '"prospect_search"'),
        (
            DescriptionIs(Regex(WORDS)),
            "description",
            "/CEOs/ or /(?i)board/",
            '"20 CEOs"',
        ),
        (AgeBetween(over=DAY), "age", "over 1d", "2d"),
        (AgeBetween(under=DAY), "age", "under 1d", "2d"),
        (AgeBetween(DAY, 3 * DAY), "age", "over 1d and under 3d", "2d"),
        (MetadataMatches("limit", Equals(5)), "metadata.limit", "equals 5", "20"),
        (MetadataMatches("limit", In((5, "a"))), "metadata.limit", 'in 5, "a"', "20"),
        (MetadataMatches("limit", Regex(WORDS[:1])), "metadata.limit", "/CEOs/", "20"),
        (MetadataMatches("limit", GreaterThan(5)), "metadata.limit", "over 5", "20"),
        (MetadataMatches("limit", LessThan(5)), "metadata.limit", "under 5", "20"),
        (
            MetadataMatches("x", Missing(expected=True)),
            "metadata.x",
            "missing",
            "absent",
        ),
        (
            MetadataMatches("x", Missing(expected=False)),
            "metadata.x",
            "present",
            "absent",
        ),
        (AllOf((SEARCHES, NEVER)), "all", "all of them", "1 of 2 conditions matched"),
        (AnyOf((SEARCHES, NEVER)), "any", "at least one", "1 of 2 conditions matched"),
        (Not(SEARCHES), "not", "no match", "1 of 1 conditions matched"),
    ],
)
def test_words(condition: Condition, what: str, wanted: str, seen: str) -> None:
    """Each condition says what it looks at, what it wants and what it saw."""
    task = a_task(age=2 * DAY, description="20 CEOs", metadata={"limit": 20})

    verdict = _judge(condition, task)

    assert (verdict.condition, verdict.expected, verdict.actual) == (what, wanted, seen)


def test_words_of_duplicates() -> None:
    """A duplicate says what it compares and whether the task is the kept one."""
    twice = DuplicateOf(("type", "description"), Keep.OLDEST)
    first, second = a_task(id="1"), a_task(id="2")

    kept, copy = _judge(twice, first, second), _judge(twice, second, first)
    blank = _judge(twice, a_task(description=None))

    assert kept.expected == "same type, description as another task, oldest kept"
    assert kept.actual == "unique, or the kept one"
    assert copy.actual == "a copy of 1, which is kept (1 alike)"
    assert blank.actual == "a field that it compares is missing"


@pytest.mark.parametrize(
    ("created_at", "seen"),
    [
        ("2026-03-02T00:00:00Z", "in the future (2026-03-02T00:00:00+00:00)"),
        (None, "absent"),
        ("yesterday", 'unusable: "yesterday"'),
        (7, "unusable: 7"),
    ],
)
def test_words_of_unknown_ages(created_at: str | int | None, seen: str) -> None:
    """An age that cannot be told says why."""
    assert _judge(AgeBetween(over=DAY), a_task(created_at=created_at)).actual == seen


def test_long_texts_are_cut() -> None:
    """Of a long value the beginning is shown."""
    match = DescriptionIs(Regex(WORDS))
    seen = _judge(match, a_task(description="a" * 10_000)).actual

    assert len(seen) == 301
    assert seen.endswith("a\u2026")


def test_reached() -> None:
    """Rules after the one that decided are judged, but were not reached."""
    explanation = _explain(
        _rule("off", SEARCHES, mode="off"),
        _rule("watch", SEARCHES, mode="observe"),
        _rule("people", SEARCHES, None),
        _rule("late", SEARCHES),
    )

    assert [r.evaluated for r in explanation.rules] == [False, True, True, False]
    assert [r.applied for r in explanation.rules] == [False, True, True, False]
    assert [r.action for r in explanation.rules[2:]] == ["leave", "dismiss as testing"]


@pytest.mark.parametrize("task", [a_task(status="approved"), parse_task({})])
def test_unfit_reaches_no_rule(task: Task) -> None:
    """A task that is not judged reaches no rule, yet each says what it would see."""
    explanation = _explain(_rule("one", SEARCHES), task=task)

    assert [rule.evaluated for rule in explanation.rules] == [False]


def test_protected_reaches_no_rule() -> None:
    """A protected task reaches no rule, and the protection is explained."""
    explanation = _explain(_rule("one", SEARCHES), protect=(NEVER, UNKNOWN))

    assert explanation.decision.cause is LeaveCause.PROTECTED
    assert [verdict.result for verdict in explanation.protect] == [False, None]
    assert not explanation.rules[0].evaluated


def test_nearest() -> None:
    """The nearest rule is the one of which most holds; unknown counts half."""
    explanation = _explain(
        _rule("off", AllOf((SEARCHES, UNKNOWN)), mode="off"),
        _rule("far", AllOf((NEVER, NEVER, SEARCHES))),
        _rule("near", AllOf((SEARCHES, SEARCHES, UNKNOWN))),
        _rule("not", Not(SEARCHES)),
        _rule("either", AnyOf((NEVER, AllOf((SEARCHES, NEVER))))),
    )

    nearest = explanation.closest_rule()

    assert nearest is not None
    assert nearest.rule == "near"


def test_nearest_skips_what_acted() -> None:
    """A rule that acted did not come near, it came home."""
    explanation = _explain(_rule("one", SEARCHES), _rule("two", SEARCHES))
    alone = _explain(_rule("one", SEARCHES))

    assert [explanation.closest_rule()] == [explanation.rules[1]]
    assert alone.closest_rule() is None
