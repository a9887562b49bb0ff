"""The fast path decides as the plain reading does."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import T0, a_task
from tests.strategies import conditions, listings, rulesets, tasks
from triaged.engine.conditions import Aged, All, AnyOf, Condition, Described, TypeIs
from triaged.engine.decide import decide
from triaged.engine.index import Engine, Prefilter
from triaged.engine.listing import survey
from triaged.engine.model import Cause, Task
from triaged.engine.rules import Rule, Ruleset
from triaged.engine.steps import compile_condition
from triaged.engine.truth import holds
from triaged.patterns import compile_pattern
from triaged.prefilter import build_prefilter

DAY: Final = timedelta(days=1)
TICK: Final = timedelta(microseconds=1)


@dataclass
class CountingFactory:
    """Builds real prefilters and remembers of what."""

    built: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, sources: Sequence[str]) -> Prefilter:
        self.built.append(tuple(sources))
        return build_prefilter(sources)


class NeverSearched:
    """A prefilter that must not be asked."""

    def matches(self, _: str, /) -> Collection[int]:
        raise AssertionError


@settings(max_examples=200, deadline=None)
@given(rulesets(), listings(), st.sampled_from((0, 5_000)))
def test_same_decisions(ruleset: Ruleset, listed: list[Task], room: int) -> None:
    """Whatever the rules and the tasks, both decide alike, for the same reasons."""
    engine = Engine(ruleset, build_prefilter, max_patterns=room)

    assert engine.decide(listed, now=T0) == decide(ruleset, listed, now=T0)


@settings(max_examples=200, deadline=None)
@given(conditions(), tasks(), listings())
def test_compiled(condition: Condition, task: Task, others: list[Task]) -> None:
    """A compiled condition answers as `holds` does."""
    listing = survey([condition], [task, *others], now=T0)

    compiled = compile_condition(condition)(task, listing)

    assert compiled is holds(condition, task, listing)


def _described(*sources: str) -> Described:
    return Described(tuple(map(compile_pattern, sources)))


def _rule(name: str, match: Condition, reason: str | None = "testing") -> Rule:
    return Rule(name=name, match=match, reason=reason)


def test_order_survives() -> None:
    """The first rule of the file decides, not the one whose pattern is found first."""
    ruleset = Ruleset(
        rules=(
            _rule("second-word", _described("beta")),
            _rule("first-word", _described("alpha")),
        )
    )
    task = a_task(description="alpha beta")

    (decision,) = Engine(ruleset, build_prefilter).decide([task], now=T0)

    assert decision.rule == "second-word"


def test_absent_description_still_protects() -> None:
    """A task without a description cannot be judged by a protect pattern: it stays."""
    ruleset = Ruleset(
        protect=(_described("board"),),
        rules=(_rule("all", TypeIs(("prospect_search",))),),
    )

    (decision,) = Engine(ruleset, build_prefilter).decide(
        [a_task(description=None)], now=T0
    )

    assert decision.cause is Cause.PROTECTED


def test_absent_type_still_leaves() -> None:
    """A leave rule for one type acts on a task of which the type is unknown."""
    ruleset = Ruleset(
        rules=(
            _rule("people", TypeIs(("campaign_start",)), None),
            _rule("words", _described("CEO")),
        )
    )

    (decision,) = Engine(ruleset, build_prefilter).decide([a_task(type=None)], now=T0)

    assert decision.rule == "people"


def test_types_that_exclude_each_other() -> None:
    """A match for two types at once holds for neither."""
    both = All((TypeIs(("prospect_search",)), TypeIs(("campaign_start",))))
    engine = Engine(Ruleset(rules=(_rule("both", both),)), build_prefilter)

    (decision,) = engine.decide([a_task()], now=T0)

    assert decision.cause is Cause.NO_RULE


def test_alternatives_of_patterns_are_prefiltered() -> None:
    """Any of several descriptions needs one of all their patterns."""
    match = AnyOf((_described("beta"), All((_described("alpha"), TypeIs(("x",))))))
    factory = CountingFactory()

    Engine(Ruleset(rules=(_rule("either", match),)), factory)

    assert factory.built == [("beta", "alpha")]


def test_one_prefilter_for_equal_patterns() -> None:
    """Types that ask for the same patterns share one prefilter."""
    kinds = TypeIs(("a", "b", "c"))
    ruleset = Ruleset(rules=(_rule("words", All((kinds, _described("beta")))),))
    factory = CountingFactory()

    Engine(ruleset, factory)

    assert factory.built == [("beta",)]


def test_shared_when_there_are_too_many() -> None:
    """With too many patterns for a prefilter per type, one serves all types."""
    rules = (
        _rule("one", All((TypeIs(("a",)), _described("alpha")))),
        _rule("two", All((TypeIs(("b",)), _described("beta")))),
        _rule("any", _described("gamma")),
    )
    factory = CountingFactory()

    Engine(Ruleset(rules=rules), factory, max_patterns=4)

    assert factory.built == [("alpha", "beta", "gamma")]


def test_no_pattern_no_pass() -> None:
    """Rules that ask for no pattern search no text."""
    ruleset = Ruleset(rules=(_rule("kind", TypeIs(("prospect_search",))),))

    (decision,) = Engine(ruleset, lambda _: NeverSearched()).decide([a_task()], now=T0)

    assert decision.rule == "kind"


@pytest.mark.parametrize("age", [-TICK, timedelta(0), DAY, DAY + TICK, 2 * DAY - TICK])
@pytest.mark.parametrize(
    "aged", [Aged(), Aged(DAY), Aged(under=DAY), Aged(DAY, 2 * DAY)]
)
def test_compiled_ages(aged: Aged, age: timedelta) -> None:
    """A compiled age keeps its edges: both bounds strict, no age in the future."""
    task, listing = a_task(age=age), survey([aged], [], now=T0)

    assert compile_condition(aged)(task, listing) is holds(aged, task, listing)
