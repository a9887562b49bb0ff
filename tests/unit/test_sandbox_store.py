"""The workspace: transitions, the proof of effects, and what is listed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.rules.task import Json
from triaged.sandbox.store import Store, TaskNotFound, TaskNotPending


def listed(store: Store, status: str = "pending", row_cap: int | None = None) -> Json:
    body = json.loads(store.list_response(status, row_cap=row_cap))
    tasks: Json = body["data"]["tasks"]
    return tasks


def a_row(task_id: str, **fields: Json) -> dict[str, Json]:
    row: dict[str, Json] = {"id": task_id, "status": "pending"}
    return row | fields


def test_dismissal_is_final_and_proven() -> None:
    """A task is dismissed once; asking again changes nothing but is counted."""
    store = Store([a_row("a")])
    effect = store.settle("a", "dismissed", reason="testing", now=T0)
    with pytest.raises(TaskNotPending) as refused:
        store.settle("a", "dismissed", now=T0)

    assert refused.value.status == "dismissed"
    assert store.effects == [effect]
    assert (effect.reason, effect.at, effect.by) == ("testing", T0, "api")
    assert store.request_count("a") == 2
    assert listed(store) == []
    assert listed(store, "dismissed") == [a_row("a", status="dismissed")]


def test_unknown_task_is_unknown() -> None:
    """What is not there can neither be settled nor removed."""
    store = Store()

    with pytest.raises(TaskNotFound):
        store.settle("a", "approved", now=T0)
    with pytest.raises(TaskNotFound):
        store.remove("a")


def test_removed_task_is_gone() -> None:
    """A removed task is neither listed nor known."""
    store = Store([a_row("a"), a_row("b")])
    store.list_response("pending")
    store.remove("a")

    assert listed(store) == [a_row("b")]
    assert store.status_of("a") is None
    assert store.status_of("b") == "pending"


@pytest.mark.parametrize(
    ("order", "ids"),
    [("newest", ["c", "a", "b"]), ("oldest", ["b", "a", "c"]), ("added", list("abc"))],
)
def test_order(order: str, ids: list[str]) -> None:
    """The order of the real list is unknown, so each can be rehearsed."""
    moments = {"a": "2026-01-02", "b": "2026-01-01", "c": "2026-01-03"}
    store = Store(
        [a_row(key, created_at=at) for key, at in moments.items()], order=order
    )

    assert store.ids("pending") == ids


def test_unknown_order_is_refused() -> None:
    """A typing error in the order is no order."""
    with pytest.raises(ValueError, match="known: newest"):
        Store(order="random")


def test_row_cap_cuts_silently() -> None:
    """A capped list is short and says nothing of it."""
    store = Store([a_row(str(number)) for number in range(5)])

    assert len(store.list_response("pending", row_cap=2)) < len(
        store.list_response("pending")
    )
    assert listed(store, row_cap=2) == [a_row("0"), a_row("1")]


def test_odd_tasks_are_listed_as_they_are() -> None:
    """Null, text, a numeric id, a lone surrogate: all of it goes out as given."""
    odd: list[Json] = [None, "task", {"id": 7}, {"id": "x", "description": "\ud800"}]
    store = Store(odd)

    assert listed(store) == odd
    assert store.ids("pending") == ["x"]
    assert store.counts()["pending"] == 4


def test_lists_are_kept_until_something_changes() -> None:
    """The same list twice is the same object; a change makes another."""
    store = Store([a_row("a"), a_row("b")])
    first = store.list_response("pending")

    assert store.list_response("pending") is first
    store.settle("a", "approved", now=T0)
    assert listed(store) == [a_row("b")]


@given(
    asked=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["dismissed", "approved"])),
        max_size=20,
    )
)
def test_no_task_is_ever_settled_twice(asked: list[tuple[str, str]]) -> None:
    """Whatever is asked, each task has one effect at most, and the counts agree."""
    store = Store([a_row("a"), a_row("b")])
    for task_id, status in asked:
        try:
            store.settle(task_id, status, now=T0)
        except (TaskNotPending, TaskNotFound):
            continue

    settled = [effect.task_id for effect in store.effects]
    counts = store.counts()
    assert len(settled) == len(set(settled))
    assert counts["dismissed"] + counts["approved"] == len(settled)


@pytest.mark.parametrize("lists_reason", [False, True])
def test_the_reason_is_listed_if_told_so(*, lists_reason: bool) -> None:
    """A dismissed task shows its reason only where the sandbox is set to list it."""
    store = Store([a_row("a"), a_row("b")], lists_reason=lists_reason)
    store.settle("a", "dismissed", now=T0, reason="testing")
    store.settle("b", "dismissed", now=T0)
    a, b = store.tasks("dismissed")

    assert isinstance(a, dict)
    assert isinstance(b, dict)
    assert a.get("reason") == ("testing" if lists_reason else None)
    assert "reason" not in b
