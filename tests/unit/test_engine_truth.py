"""What each condition means, at its edges, and how truths combine."""

from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from tests.strategies import conditions, tasks
from triaged.rules.conditions import (
    Aged,
    All,
    AnyOf,
    Condition,
    Described,
    Equals,
    Matches,
    Metadata,
    Missing,
    Not,
    OneOf,
    Over,
    Test,
    TypeIs,
    Under,
)
from triaged.rules.context import Listing, survey
from triaged.rules.evaluate import (
    Truth,
    holds,
    kleene_all,
    kleene_any,
    kleene_not,
    look_up,
)
from triaged.rules.patterns.re2_pattern import compile_pattern
from triaged.rules.task import Json, Task, equal

ALONE: Final = Listing(T0, {})
HUGE: Final = 10**400
TICK: Final = timedelta(microseconds=1)
DAY: Final = timedelta(days=1)
CEOS: Final = (compile_pattern("ceos?"), compile_pattern("(?i)board"))


@pytest.mark.parametrize(
    ("kind", "truth"),
    [("a", True), ("b", True), ("A", False), ("", False), (None, None), (7, None)],
)
def test_type(kind: Json, truth: Truth) -> None:
    """A type is one of those asked for, to the letter; an absent one is unknown."""
    assert holds(TypeIs(("a", "b")), a_task(type=kind), ALONE) is truth


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("20 ceos", True),
        ("the BOARD", True),
        ("20 CEOS", False),
        ("", False),
        (None, None),
        (["ceo"], None),
        ("\ud800 ceo", True),
    ],
)
def test_description(text: Json, truth: Truth) -> None:
    """A pattern occurs anywhere, in its own case; no text is unknown."""
    assert holds(Described(CEOS), a_task(description=text), ALONE) is truth


@pytest.mark.parametrize(
    ("age", "truth"),
    [
        (DAY, False),
        (DAY + TICK, True),
        (2 * DAY - TICK, True),
        (2 * DAY, False),
        (timedelta(0), False),
        (-TICK, None),
    ],
)
def test_age(age: timedelta, truth: Truth) -> None:
    """Over and under are strict, and a task from the future has no age."""
    assert holds(Aged(DAY, 2 * DAY), a_task(age=age), ALONE) is truth


def test_age_without_bounds() -> None:
    """An age that may be anything is still no answer for a task without one."""
    assert holds(Aged(), a_task(age=timedelta(0)), ALONE) is True
    assert holds(Aged(), a_task(created_at=None), ALONE) is None


@pytest.mark.parametrize(
    "created_at",
    [None, "", "yesterday", "2026-02-01T00:00:00", "2026-02-30T00:00:00Z", 1770000000],
)
def test_age_unknown(created_at: Json) -> None:
    """What is absent, naive, impossible or no text is no moment."""
    task = a_task(created_at=created_at)

    assert holds(Aged(over=DAY), task, ALONE) is None


def _metadata(test: Test, value: Json) -> Truth:
    task = a_task(metadata={"key": value})
    return holds(Metadata("key", test), task, ALONE)


@pytest.mark.parametrize(
    ("test", "value", "truth"),
    [
        (Equals(20), 20.0, True),
        (Equals(20.0), 20, True),
        (Equals(1), True, False),
        (Equals(value=True), 1, False),
        (Equals(value=True), True, True),
        (Equals("20"), 20, False),
        (Equals(HUGE), HUGE, True),
        (Equals(HUGE), HUGE + 1, False),
        (Equals("a"), None, None),
        (Equals([1, {"a": 2}]), [1.0, {"a": 2.0}], True),
        (Equals([1]), [True], False),
        (Equals([1]), [1, 1], False),
        (Equals({"a": 1}), {"a": 1, "b": 1}, False),
        (Equals({"a": 1}), {"a": True}, False),
        (Equals({}), [], False),
        (OneOf(("api", 20)), "api", True),
        (OneOf(("api", 20)), 20.0, True),
        (OneOf((0, 1)), False, False),
        (OneOf(("api",)), None, None),
        (Matches(CEOS), "two ceos", True),
        (Matches(CEOS), "", False),
        (Matches(CEOS), 20, None),
        (Matches(CEOS), ["ceo"], None),
        (Matches(CEOS), None, None),
        (Over(20), 20, False),
        (Over(20), 20.000001, True),
        (Over(20), HUGE, True),
        (Over(20), -HUGE, False),
        (Over(0), True, None),
        (Over(20), "21", None),
        (Over(20), None, None),
        (Under(20), 20.0, False),
        (Under(20), 19, True),
        (Under(20), -HUGE, True),
        (Under(20), False, None),
        (Under(20), [1], None),
        (Under(20), None, None),
        (Missing(wanted=True), None, True),
        (Missing(wanted=True), "", False),
        (Missing(wanted=False), None, False),
        (Missing(wanted=False), False, True),
    ],
)
def test_metadata(test: Test, value: Json, truth: Truth) -> None:
    """Each test at its edges; what it cannot apply to is unknown, but for missing."""
    assert _metadata(test, value) is truth


@pytest.mark.parametrize("metadata", [None, "text", {}, {"other": 1}])
def test_metadata_absent(metadata: Json) -> None:
    """A key is unknown, and missing, where there is no metadata or no such key."""
    task = a_task(metadata=metadata)

    assert holds(Metadata("key", Equals(1)), task, ALONE) is None
    assert holds(Metadata("key", Missing(wanted=True)), task, ALONE) is True


@pytest.mark.parametrize(
    ("metadata", "path", "value"),
    [
        ({"a": {"b": {"c": 1}}}, "a.b.c", 1),
        ({"a": {"b": 1}}, "a.b.c", None),
        ({"a": [1]}, "a.0", None),
        ({"a": None}, "a.b", None),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a": {"b": 2}}, "a", {"b": 2}),
        ({}, "a.b", None),
        (None, "a", None),
    ],
)
def test_paths(metadata: dict[str, Json] | None, path: str, value: Json) -> None:
    """A dotted path goes down objects alone, and a key of that very name goes first."""
    assert look_up(metadata, path) == value


@given(conditions(), tasks())
def test_not_not(condition: Condition, task: Task) -> None:
    """A double negation changes nothing, in three values."""
    listing = survey([condition], [task], now=T0)

    assert holds(Not(Not(condition)), task, listing) is holds(condition, task, listing)


@given(st.lists(conditions(), max_size=3).map(tuple), tasks())
def test_de_morgan(parts: tuple[Condition, ...], task: Task) -> None:
    """Not all is any not, and not any is all not, in three values."""
    listing = survey(parts, [task], now=T0)
    negated = tuple(map(Not, parts))

    assert holds(Not(All(parts)), task, listing) is holds(AnyOf(negated), task, listing)
    assert holds(Not(AnyOf(parts)), task, listing) is holds(All(negated), task, listing)


@pytest.mark.parametrize("first", [True, False, None])
@pytest.mark.parametrize("second", [True, False, None])
def test_kleene(first: Truth, second: Truth) -> None:
    """False decides a conjunction, true a disjunction, else unknown clouds."""
    rank = {False: 0, None: 1, True: 2}

    assert kleene_all([first, second]) is min(first, second, key=rank.__getitem__)
    assert kleene_any([first, second]) is max(first, second, key=rank.__getitem__)
    assert rank[kleene_not(first)] == 2 - rank[first]


def test_nothing_to_combine() -> None:
    """All of nothing is true, any of nothing false."""
    assert kleene_all([]) is True
    assert kleene_any([]) is False


@pytest.mark.parametrize(("left", "right"), [(None, False), (None, 0), ("", None)])
def test_null_equals_null_alone(left: Json, right: Json) -> None:
    """Null is a type of its own."""
    assert not equal(left, right)
    assert equal(None, None)


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        (All((Aged(over=timedelta(hours=1)),)), True),
        (AnyOf((Aged(over=timedelta(hours=1)),)), True),
        (Not(Aged(over=timedelta(hours=1))), False),
        (Not(Aged(over=timedelta(days=2))), True),
        (Not(Not(Aged(over=timedelta(days=2)))), False),
    ],
)
def test_combinations_pass_the_moment_on(condition: Condition, truth: Truth) -> None:
    """An age is judged at the same moment however deep it is nested."""
    task = a_task(age=timedelta(days=1))

    assert holds(condition, task, survey([condition], [task], now=T0)) is truth
