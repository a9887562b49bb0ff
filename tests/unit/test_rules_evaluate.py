"""What each condition means, at its edges, and how truths combine."""

import json
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from tests.strategies import conditions, tasks
from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Blank,
    Condition,
    DescriptionIs,
    Equals,
    GreaterThan,
    In,
    LessThan,
    ListFile,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Regex,
    TextTest,
    TypeIn,
    Words,
)
from triaged.rules.context import EvaluationContext, build_context
from triaged.rules.evaluate import (
    TriState,
    evaluate,
    kleene_all,
    kleene_any,
    kleene_not,
)
from triaged.rules.patterns.re2_pattern import compile_pattern
from triaged.rules.task import Json, Task, get_path, json_equal, parse_task

ALONE: Final = EvaluationContext(T0, {})
HUGE: Final = 10**400
TICK: Final = timedelta(microseconds=1)
DAY: Final = timedelta(days=1)
CEOS: Final = (compile_pattern("ceos?"), compile_pattern("(?i)board"))


@pytest.mark.parametrize(
    ("kind", "truth"),
    [("a", True), ("b", True), ("A", False), ("", False), (None, None), (7, None)],
)
def test_type(kind: Json, truth: TriState) -> None:
    """A type is one of those asked for, to the letter; an absent one is unknown."""
    assert evaluate(TypeIn(("a", "b")), a_task(type=kind), ALONE) is truth


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
def test_description(text: Json, truth: TriState) -> None:
    """A pattern occurs anywhere, in its own case; no text is unknown."""
    match = DescriptionIs(Regex(CEOS))
    assert evaluate(match, a_task(description=text), ALONE) is truth


@pytest.mark.parametrize(
    ("test", "text", "truth"),
    [
        (Words(("ceo",)), "The CEO, again", True),
        (Words(("ceo",)), "The CEOs", False),
        (Words(("ceo",)), "", False),
        (Words(("ceo",)), None, None),
        (Words(("ceo",)), ["ceo"], None),
        (Blank(expected=True), "\u00a0 \n", True),
        (Blank(expected=True), "x", False),
        (Blank(expected=False), "", False),
        (Blank(expected=False), "x", True),
        (Blank(expected=True), None, None),
        (Blank(expected=False), 0, None),
        (Equals("x"), "x", True),
        (Equals("x"), "X", False),
        (Equals("x"), None, None),
    ],
    ids=repr,
)
def test_words_and_blanks(test: TextTest, text: Json, truth: TriState) -> None:
    """A text has a whole word, is blank or is the one; what is no text is unknown."""
    task = a_task(description=text, metadata={"query": text})
    assert evaluate(DescriptionIs(test), task, ALONE) is truth
    if text is not None and not isinstance(test, Equals):
        assert evaluate(MetadataMatches("query", test), task, ALONE) is truth


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
def test_age(age: timedelta, truth: TriState) -> None:
    """Over and under are strict, and a task from the future has no age."""
    assert evaluate(AgeBetween(DAY, 2 * DAY), a_task(age=age), ALONE) is truth


def test_age_without_bounds() -> None:
    """An age that may be anything is still no answer for a task without one."""
    assert evaluate(AgeBetween(), a_task(age=timedelta(0)), ALONE) is True
    assert evaluate(AgeBetween(), a_task(created_at=None), ALONE) is None


@pytest.mark.parametrize(
    "created_at",
    [None, "", "yesterday", "2026-02-01T00:00:00", "2026-02-30T00:00:00Z", 1770000000],
)
def test_age_unknown(created_at: Json) -> None:
    """What is absent, naive, impossible or no text is no moment."""
    task = a_task(created_at=created_at)

    assert evaluate(AgeBetween(over=DAY), task, ALONE) is None


def _metadata(test: MetadataTest, value: Json) -> TriState:
    task = a_task(metadata={"key": value})
    return evaluate(MetadataMatches("key", test), task, ALONE)


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
        (In(("api", 20)), "api", True),
        (In(("api", 20)), 20.0, True),
        (In((0, 1)), False, False),
        (In(("api",)), None, None),
        (Regex(CEOS), "two ceos", True),
        (Regex(CEOS), "", False),
        (Regex(CEOS), 20, None),
        (Regex(CEOS), ["ceo"], None),
        (Regex(CEOS), None, None),
        (GreaterThan(20), 20, False),
        (GreaterThan(20), 20.000001, True),
        (GreaterThan(20), HUGE, True),
        (GreaterThan(20), -HUGE, False),
        (GreaterThan(0), True, None),
        (GreaterThan(20), "21", None),
        (GreaterThan(20), None, None),
        (LessThan(20), 20.0, False),
        (LessThan(20), 19, True),
        (LessThan(20), -HUGE, True),
        (LessThan(20), False, None),
        (LessThan(20), [1], None),
        (LessThan(20), None, None),
        (Missing(expected=True), None, True),
        (Missing(expected=True), "", False),
        (Missing(expected=False), None, False),
        (Missing(expected=False), False, True),
    ],
)
def test_metadata(test: MetadataTest, value: Json, truth: TriState) -> None:
    """Each test at its edges; what it cannot apply to is unknown, but for missing."""
    assert _metadata(test, value) is truth


@pytest.mark.parametrize("metadata", [None, {}, {"other": 1}])
def test_metadata_absent(metadata: Json) -> None:
    """A key is unknown, and missing, where there is no metadata or no such key."""
    task = a_task(metadata=metadata)

    assert evaluate(MetadataMatches("key", Equals(1)), task, ALONE) is None
    assert evaluate(MetadataMatches("key", Missing(expected=True)), task, ALONE) is True


@pytest.mark.parametrize(
    ("metadata", "path", "value"),
    [
        ({"a": {"b": {"c": 1}}}, "a.b.c", 1),
        ({"a": None}, "a.b", None),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a": {"b": 2}}, "a", {"b": 2}),
        ({}, "a.b", None),
        (None, "a", None),
    ],
)
def test_paths(metadata: dict[str, Json] | None, path: str, value: Json) -> None:
    """A dotted path goes down objects alone, and a key of that very name goes first."""
    assert get_path(metadata, path) == value


_DEEP: Final = json.loads('{"a":' * 40 + "1" + "}" * 40)
_TESTS: Final = (
    Equals("x"),
    In(("x", 20)),
    Regex(CEOS),
    GreaterThan(1),
    LessThan(1),
    Missing(expected=True),
    Missing(expected=False),
)


@pytest.mark.parametrize("test", _TESTS, ids=repr)
@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"k": float("inf")}, "k"),
        ({"k": float("nan")}, "k"),
        ({"k": 10**5000}, "k"),
        ({"k": {"limit": float("-inf")}}, "k.limit"),
        ({"k": _DEEP}, "k" + ".a" * 33),
        ({"k": _DEEP}, "k" + ".a" * 36),
        ({"k": "text"}, "k.limit"),
        ({"k": [1]}, "k.0"),
        ({"k": 5}, "k.a.b"),
        (dict.fromkeys(("k\ud800", "k\ufffd"), 1), "k\ufffd"),
        ({"\u00e9": 1, "e\u0301": 2}, "\u00e9"),
        ({"k": dict.fromkeys(("\ud800", "\udc00"), 1)}, "k.\ufffd"),
        ("text", "k"),
        ([{"k": 1}], "k"),
        (7, "k.limit"),
    ],
)
def test_what_cannot_be_read_is_unknown(
    test: MetadataTest, metadata: Json, path: str
) -> None:
    """Something is there: it is not missing, and nothing else is known of it."""
    task = a_task(metadata=metadata)
    stored = parse_task(json.loads(json.dumps(task.raw)))

    for listed in (task, stored):
        assert evaluate(MetadataMatches(path, test), listed, ALONE) is None


@pytest.mark.parametrize(
    ("test", "value", "truth"),
    [
        (Equals([1, 2]), [1, float("inf")], None),
        (Equals([1, 2]), [3, float("inf")], False),
        (Equals({"a": [1]}), {"a": [float("nan")]}, None),
        (Equals("a\ufffd"), "a\ud800", None),
        (In(("a", [1])), [float("inf")], None),
        (In(([float(3)], "b")), [3], True),
        (Missing(expected=True), "a\ud800", False),
        (Missing(expected=True), [float("inf")], False),
    ],
)
def test_a_part_that_cannot_be_read_clouds_a_comparison(
    test: MetadataTest, value: Json, truth: TriState
) -> None:
    """A value of which a part is lost may be equal, unless the rest differs."""
    assert _metadata(test, value) is truth


@pytest.mark.parametrize(
    ("value", "truth"),
    [
        ("a", True),
        ("b", False),
        (1, False),
        ("1", True),
        (["a"], False),
        ("a\ud800", None),
        (float("inf"), None),
        (None, None),
    ],
)
def test_a_list_in_a_file_answers_as_one_in_the_rules(
    value: Json, truth: TriState
) -> None:
    """Where the entries were written makes no difference."""
    entries = ("a", "1")

    assert _metadata(In(entries), value) is truth
    assert _metadata(In(entries, ListFile("ids.txt", "", (1, 2))), value) is truth


@given(conditions(), tasks())
def test_not_not(condition: Condition, task: Task) -> None:
    """A double negation changes nothing, in three values."""
    context = build_context([condition], [task], now=T0)

    assert evaluate(Not(Not(condition)), task, context) is evaluate(
        condition, task, context
    )


@given(st.lists(conditions(), max_size=3).map(tuple), tasks())
def test_de_morgan(parts: tuple[Condition, ...], task: Task) -> None:
    """Not all is any not, and not any is all not, in three values."""
    context = build_context(parts, [task], now=T0)
    negated = tuple(map(Not, parts))

    assert evaluate(Not(AllOf(parts)), task, context) is evaluate(
        AnyOf(negated), task, context
    )
    assert evaluate(Not(AnyOf(parts)), task, context) is evaluate(
        AllOf(negated), task, context
    )


@pytest.mark.parametrize("first", [True, False, None])
@pytest.mark.parametrize("second", [True, False, None])
def test_kleene(first: TriState, second: TriState) -> None:
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
    assert not json_equal(left, right)
    assert json_equal(None, None)


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        (AllOf((AgeBetween(over=timedelta(hours=1)),)), True),
        (AnyOf((AgeBetween(over=timedelta(hours=1)),)), True),
        (Not(AgeBetween(over=timedelta(hours=1))), False),
        (Not(AgeBetween(over=timedelta(days=2))), True),
        (Not(Not(AgeBetween(over=timedelta(days=2)))), False),
    ],
)
def test_combinations_pass_the_moment_on(condition: Condition, truth: TriState) -> None:
    """An age is judged at the same moment however deep it is nested."""
    task = a_task(age=timedelta(days=1))

    assert (
        evaluate(condition, task, build_context([condition], [task], now=T0)) is truth
    )
