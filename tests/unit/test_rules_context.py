"""Which of several equal tasks are copies."""

from datetime import timedelta
from typing import Final

import pytest

from tests.builders import T0, a_task
from triaged.rules.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DuplicateOf,
    Keep,
    Not,
    TypeIn,
)
from triaged.rules.context import build_context, duplicate_conditions, iter_duplicates
from triaged.rules.evaluate import TriState, evaluate
from triaged.rules.task import Json, Task, parse_task

BY_TEXT: Final = DuplicateOf(("description",))
DAY: Final = timedelta(days=1)


def _truths(duplicate: DuplicateOf, *tasks: Task) -> list[TriState]:
    context = build_context([duplicate], tasks, now=T0)
    return [evaluate(duplicate, task, context) for task in tasks]


@pytest.mark.parametrize(
    ("keep", "truths"),
    [(Keep.OLDEST, [True, False, True]), (Keep.NEWEST, [True, True, False])],
)
def test_keep(keep: Keep, truths: list[TriState]) -> None:
    """All but the oldest, or the newest, of equal tasks are copies."""
    tasks = [a_task(id=str(days), age=days * DAY) for days in (2, 3, 1)]

    assert _truths(DuplicateOf(("description",), keep), *tasks) == truths


def test_ties_by_id() -> None:
    """Of equal tasks of one moment the lowest id counts as the oldest."""
    tasks = [a_task(id=task_id) for task_id in ("b", "a", "c")]

    assert _truths(BY_TEXT, *tasks) == [True, False, True]
    newest = DuplicateOf(("description",), Keep.NEWEST)
    assert _truths(newest, *tasks) == [True, True, False]


def test_unique() -> None:
    """A task that has no equal is no copy."""
    assert _truths(BY_TEXT, a_task(), a_task(id="2", description="b")) == [False, False]


def test_folding() -> None:
    """Texts compare trimmed, with white space folded, and in any case."""
    tasks = (
        a_task(id="1", description="Find  the\tSTRASSE ", age=2 * DAY),
        a_task(id="2", description=" find the\n\u00a0stra\u00dfe"),
    )

    assert _truths(BY_TEXT, *tasks) == [False, True]


def test_paths() -> None:
    """A dotted path compares inside the metadata, and every field must be equal."""
    by_campaign = DuplicateOf(("type", "metadata.campaign.id"))
    tasks = [
        a_task(id="1", age=3 * DAY, metadata={"campaign": {"id": "x"}}),
        a_task(id="2", age=2 * DAY, metadata={"campaign": {"id": "X"}}),
        a_task(id="3", type="other", metadata={"campaign": {"id": "x"}}),
    ]

    assert _truths(by_campaign, *tasks) == [False, True, False]


@pytest.mark.parametrize(
    "fields",
    [
        {"description": None},
        {"description": " \n"},
        {"description": 7},
        {"created_at": None},
        {"created_at": "2026-02-01T00:00:00"},
        {"created_at": (T0 + timedelta(microseconds=1)).isoformat()},
        {"status": "approved"},
        {"id": None},
    ],
)
def test_incomparable(fields: dict[str, Json]) -> None:
    """A task that lacks what is compared is unknown, and makes no other one a copy."""
    oldest: dict[str, Json] = {"id": "odd", "created_at": "2020-01-01T00:00:00Z"}
    odd = parse_task(dict(a_task().raw) | oldest | fields)

    assert _truths(BY_TEXT, odd, a_task(id="2")) == [None, False]


@pytest.mark.parametrize("path", ["description.text", "metadata.none.deep"])
def test_incomparable_path(path: str) -> None:
    """A path through what is no object leads nowhere."""
    assert _truths(DuplicateOf((path,)), a_task(), a_task(id="2")) == [None, None]


def test_made_now() -> None:
    """A task made at the very moment is old enough to be compared."""
    newborn = a_task(id="2", age=timedelta(0))

    assert _truths(BY_TEXT, a_task(), newborn) == [False, True]


@pytest.mark.parametrize(
    "condition",
    [
        BY_TEXT,
        Not(BY_TEXT),
        AllOf((TypeIn(("a",)), BY_TEXT)),
        AnyOf((TypeIn(("a",)), AllOf((Not(BY_TEXT),)))),
    ],
)
def test_found_at_any_depth(condition: Condition) -> None:
    """A duplicate condition is surveyed wherever it stands."""
    assert list(iter_duplicates(condition)) == [BY_TEXT]
    assert BY_TEXT in build_context([condition], [], now=T0).is_duplicate


def test_ordered() -> None:
    """Each duplicate condition is listed once, in the order of the file."""
    by_type = DuplicateOf(("type",))

    found = duplicate_conditions(
        [Not(BY_TEXT), AllOf((by_type, BY_TEXT)), TypeIn(("a",))]
    )

    assert found == (BY_TEXT, by_type)


def test_a_row_that_nobody_can_believe_makes_no_copies() -> None:
    """Where an id is listed with two contents, neither is the original of a task."""
    unclear = [a_task(id="x", age=9 * DAY), a_task(id="x", age=8 * DAY)]
    again = [a_task(id="y", description="b"), a_task(id="y", description="b")]

    assert _truths(BY_TEXT, *unclear, a_task(id="1")) == [None, None, False]
    assert _truths(BY_TEXT, a_task(id="1"), a_task(id="2"), *unclear)[:2] == [
        False,
        True,
    ]
    assert _truths(BY_TEXT, *again, a_task(id="z", description="b")) == [
        False,
        False,
        True,
    ]


def test_a_copy_names_the_task_that_is_kept_for_it() -> None:
    """A dismissed copy points to the kept task, and the kept task to no other."""
    listed = [
        a_task(id="new", age=timedelta(hours=1)),
        a_task(id="old", age=timedelta(hours=2)),
        a_task(id="alone", description="something else"),
    ]

    context = build_context([BY_TEXT], listed, now=T0)

    assert context.kept_for(BY_TEXT, "new") == "old"
    assert context.kept_for(BY_TEXT, "old") is None
    assert context.kept_for(BY_TEXT, "alone") is None
    assert context.kept_for(BY_TEXT, "unheard-of") is None
