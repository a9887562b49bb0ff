"""The fast path decides as the plain reading does."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from tests.strategies import conditions, entries, listings, rulesets, tasks
from triaged.rules.compiled import CompiledRuleset, Prefilter, compile_condition
from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionIs,
    Not,
    Regex,
    TypeIn,
)
from triaged.rules.context import build_context
from triaged.rules.decide import decide
from triaged.rules.evaluate import evaluate
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rules.patterns.re2_pattern import compile_pattern
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import (
    Decision,
    Json,
    LeaveCause,
    ProposedDismissal,
    Task,
    parse_task,
)

DAY: Final = timedelta(days=1)
TICK: Final = timedelta(microseconds=1)


@dataclass
class CountingFactory:
    """Builds real prefilters and remembers of what."""

    built: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, sources: Sequence[str]) -> Prefilter:
        self.built.append(tuple(sources))
        return build_prefilter(sources)


def _never_search(_: str) -> Collection[int]:
    raise AssertionError


@given(rulesets(), listings(), st.sampled_from((0, 5_000)))
def test_same_decisions(ruleset: Ruleset, listed: list[Task], room: int) -> None:
    """Whatever the rules and the tasks, both decide alike, for the same reasons."""
    engine = CompiledRuleset(ruleset, build_prefilter, max_patterns=room)

    assert engine.decide(listed, now=T0) == decide(ruleset, listed, now=T0)


@given(conditions(), tasks(), listings())
def test_compiled(condition: Condition, task: Task, others: list[Task]) -> None:
    """A compiled condition answers as `holds` does."""
    context = build_context([condition], [task, *others], now=T0)

    compiled = compile_condition(condition)(task, context)

    assert compiled is evaluate(condition, task, context)


def judged() -> st.SearchStrategy[list[Task]]:
    """Give lists in which every task is pending and has an id of its own."""

    def numbered(listed: list[dict[str, Json]]) -> list[Task]:
        return [
            parse_task(entry | {"id": str(number), "status": "pending"})
            for number, entry in enumerate(listed)
        ]

    return st.lists(entries(), min_size=1, max_size=8).map(numbered)


@given(rulesets(), judged(), st.sampled_from((0, 5_000)))
def test_same_decisions_where_all_can_be_judged(
    ruleset: Ruleset, listed: list[Task], room: int
) -> None:
    """Both agree too where no task is left for want of an id."""
    engine = CompiledRuleset(ruleset, build_prefilter, max_patterns=room)

    assert engine.decide(listed, now=T0) == decide(ruleset, listed, now=T0)


def _described(*sources: str) -> DescriptionIs:
    return DescriptionIs(Regex(tuple(map(compile_pattern, sources))))


def _rule(name: str, match: Condition, reason: str | None = "testing") -> Rule:
    return Rule(name=name, match=match, reason=reason)


def _engine(*rules: Rule) -> CompiledRuleset:
    return CompiledRuleset(Ruleset(rules=rules), build_prefilter)


def test_order_survives() -> None:
    """The first rule of the file decides, not the one whose pattern is found first."""
    ruleset = Ruleset(
        rules=(
            _rule("second-word", _described("beta")),
            _rule("first-word", _described("alpha")),
        )
    )
    task = a_task(description="alpha beta")

    (decision,) = CompiledRuleset(ruleset, build_prefilter).decide([task], now=T0)

    assert decision.rule == "second-word"


def _watch(name: str, match: Condition, reason: str | None = "testing") -> Rule:
    return Rule(name=name, match=match, reason=reason, mode=Mode.OBSERVE)


def test_what_observes_never_decides() -> None:
    """Observed dismissals are kept in order, and the first enforced rule decides."""
    rules = (
        _watch("kind", TypeIn(("prospect_search",))),
        _watch("leave", TypeIn(("prospect_search",)), None),
        _watch("words", _described("CEO"), "duplicate"),
        _watch("other-words", _described("beta")),
        Rule(name="off", match=_described("CEO"), reason="testing", mode=Mode.OFF),
        _rule("enforced", _described("law firms"), "not_relevant"),
        _watch("too-late", _described("CEO")),
    )
    observed = (
        ProposedDismissal("kind", "testing"),
        ProposedDismissal("words", "duplicate"),
    )

    (decided,) = _engine(*rules).decide([a_task()], now=T0)
    (undecided,) = _engine(*rules[:5]).decide([a_task()], now=T0)

    assert decided == Decision(a_task(), None, "enforced", "not_relevant", observed)
    assert undecided == Decision(a_task(), LeaveCause.NO_RULE, observed=observed)


def test_protection_keeps_to_its_type_and_its_words() -> None:
    """A protect match holds for the tasks that it names, and for no others."""
    ruleset = Ruleset(
        protect=(
            TypeIn(("campaign_start",)),
            AllOf((TypeIn(("prospect_search",)), _described("board"))),
        ),
        rules=(_rule("all", AnyOf((TypeIn(("list_operation",)), _described(".")))),),
    )
    tasks = [
        a_task(id="1", type="campaign_start"),
        a_task(id="2", type="prospect_search", description="for the board"),
        a_task(id="3", type="prospect_search", description="for nobody"),
        a_task(id="4", type="list_operation", description="for the board"),
    ]

    decisions = CompiledRuleset(ruleset, build_prefilter).decide(tasks, now=T0)

    assert [decision.cause for decision in decisions] == [
        LeaveCause.PROTECTED,
        LeaveCause.PROTECTED,
        None,
        None,
    ]


def test_absent_description_still_protects() -> None:
    """A task without a description cannot be judged by a protect pattern: it stays."""
    ruleset = Ruleset(
        protect=(_described("board"),),
        rules=(_rule("all", TypeIn(("prospect_search",))),),
    )

    (decision,) = CompiledRuleset(ruleset, build_prefilter).decide(
        [a_task(description=None)], now=T0
    )

    assert decision.cause is LeaveCause.PROTECTED


def test_absent_type_still_leaves() -> None:
    """A leave rule for one type acts on a task of which the type is unknown."""
    ruleset = Ruleset(
        rules=(
            _rule("people", TypeIn(("campaign_start",)), None),
            _rule("words", _described("CEO")),
        )
    )

    (decision,) = CompiledRuleset(ruleset, build_prefilter).decide(
        [a_task(type=None)], now=T0
    )

    assert decision.rule == "people"


def test_types_that_exclude_each_other() -> None:
    """A match for two types at once holds for neither."""
    both = AllOf((TypeIn(("prospect_search",)), TypeIn(("campaign_start",))))
    engine = CompiledRuleset(Ruleset(rules=(_rule("both", both),)), build_prefilter)

    (decision,) = engine.decide([a_task()], now=T0)

    assert decision.cause is LeaveCause.NO_RULE


@pytest.mark.parametrize(
    ("kind", "description", "rule"),
    [
        ("a", "alpha beta", "both"),
        ("a", "alpha", None),
        ("a", "beta", None),
        ("b", "gamma", None),
        ("c", "gamma", "either"),
        ("b", "delta", "either"),
        ("d", "epsilon", "common"),
        ("e", "epsilon", None),
        ("f", "epsilon", None),
    ],
)
def test_a_pattern_that_is_found_is_not_the_whole_match(
    kind: str, description: str, rule: str | None
) -> None:
    """A prefilter only chooses: every other part of the match must hold as well."""
    other = AllOf((_described("gamma"), TypeIn(("c",))))
    engine = _engine(
        _rule("both", AllOf((_described("alpha"), _described("beta")))),
        _rule("either", AnyOf((other, _described("delta")))),
        _rule(
            "common",
            AllOf((TypeIn(("d", "e")), TypeIn(("d", "f")), _described("epsilon"))),
        ),
    )

    (decision,) = engine.decide([a_task(type=kind, description=description)], now=T0)

    assert decision.rule == rule


def test_alternatives_of_patterns_are_prefiltered() -> None:
    """Any of several descriptions needs one of all their patterns."""
    match = AnyOf((_described("beta"), AllOf((_described("alpha"), TypeIn(("x",))))))
    factory = CountingFactory()

    CompiledRuleset(Ruleset(rules=(_rule("either", match),)), factory)

    assert factory.built == [("beta", "alpha")]


def test_one_prefilter_for_equal_patterns() -> None:
    """Types that ask for the same patterns share one prefilter."""
    kinds = TypeIn(("a", "b", "c"))
    ruleset = Ruleset(rules=(_rule("words", AllOf((kinds, _described("beta")))),))
    factory = CountingFactory()

    CompiledRuleset(ruleset, factory)

    assert factory.built == [("beta",)]


def test_shared_when_there_are_too_many() -> None:
    """With too many patterns for a prefilter per type, one serves all types."""
    rules = (
        _rule("one", AllOf((TypeIn(("a",)), _described("alpha")))),
        _rule("two", AllOf((TypeIn(("b",)), _described("beta")))),
        _rule("any", _described("gamma")),
    )
    factory = CountingFactory()

    CompiledRuleset(Ruleset(rules=rules), factory, max_patterns=4)

    assert factory.built == [("alpha", "beta", "gamma")]


def test_apart_as_long_as_there_is_room() -> None:
    """With just enough room each type searches only for what its rules ask for."""
    rules = (
        _rule("one", AllOf((TypeIn(("a",)), _described("alpha")))),
        _rule("two", AllOf((TypeIn(("b",)), _described("beta")))),
        _rule("any", _described("gamma")),
    )
    factory = CountingFactory()

    CompiledRuleset(Ruleset(rules=rules), factory, max_patterns=5)

    assert sorted(factory.built) == [("alpha", "gamma"), ("beta", "gamma"), ("gamma",)]


def test_no_pattern_no_pass() -> None:
    """Rules that ask for no pattern search no text."""
    ruleset = Ruleset(rules=(_rule("kind", TypeIn(("prospect_search",))),))

    (decision,) = CompiledRuleset(ruleset, lambda _: _never_search).decide(
        [a_task()], now=T0
    )

    assert decision.rule == "kind"


@pytest.mark.parametrize("age", [-TICK, timedelta(0), DAY, DAY + TICK, 2 * DAY - TICK])
@pytest.mark.parametrize(
    "aged",
    [AgeBetween(), AgeBetween(DAY), AgeBetween(under=DAY), AgeBetween(DAY, 2 * DAY)],
)
def test_compiled_ages(aged: AgeBetween, age: timedelta) -> None:
    """A compiled age keeps its edges: both bounds strict, no age in the future."""
    task, context = a_task(age=age), build_context([aged], [], now=T0)

    assert compile_condition(aged)(task, context) is evaluate(aged, task, context)


@pytest.mark.parametrize("kind", ["prospect_search", "campaign_start", None])
@pytest.mark.parametrize("part", [TypeIn(("prospect_search",)), AgeBetween(DAY / 2)])
def test_compiled_inside_out(part: Condition, kind: str | None) -> None:
    """Alone, negated and combined, a compiled condition answers as `holds` does."""
    task, context = a_task(type=kind), build_context([], [], now=T0)

    for whole in (part, Not(part), Not(Not(part)), AllOf((part,)), AnyOf((part,))):
        assert compile_condition(whole)(task, context) is evaluate(whole, task, context)


def test_an_alternative_without_pattern_needs_none() -> None:
    """Where one alternative asks for no words, a task may lack those of the others."""
    either = AnyOf((_described("alpha"), TypeIn(("prospect_search",))))
    engine = CompiledRuleset(
        Ruleset(protect=(either,), rules=(_rule("all", _described(".")),)),
        build_prefilter,
    )

    (decision,) = engine.decide([a_task(description="beta")], now=T0)

    assert decision.cause is LeaveCause.PROTECTED
