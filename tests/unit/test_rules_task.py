"""Reading listed entries: what cannot be judged becomes None, and nothing raises."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from triaged.rules.task import (
    MAX_METADATA_DEPTH,
    Json,
    LeaveCause,
    is_unreadable,
    parse_task,
    parse_timestamp,
    replace_invalid_unicode,
)

_any_text = st.text(st.characters(exclude_categories=()))
_json: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _any_text,
    lambda parts: st.lists(parts) | st.dictionaries(_any_text, parts),
    max_leaves=8,
)


def _nested(depth: int) -> Json:
    value: Json = "deep"
    for _ in range(depth):
        value = {"a": value}
    return value


def test_ordinary() -> None:
    """An ordinary task is read as listed, its moment in UTC."""
    task = a_task(created_at="2026-02-01T02:00:00+02:00", metadata={"limit": 20})

    assert task.id == "task-1"
    assert task.type == "prospect_search"
    assert task.created_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert task.metadata == {"limit": 20}
    assert task.is_pending


@pytest.mark.parametrize("value", [None, [], "task", 7, {}])
def test_no_task_at_all(value: Json) -> None:
    """Whatever is no object is a task of which nothing is known."""
    task = parse_task(value)

    assert (task.id, task.type, task.status, task.description) == (None,) * 4
    assert task.created_at is None
    assert task.metadata is None
    assert not task.is_pending


@pytest.mark.parametrize(
    "task_id", [None, "", " \t", 7, True, ["a"], ".", "..", "a\ud800", "\udc00", "a\0b"]
)
def test_unusable_id(task_id: Json) -> None:
    """An id that is no text, blank, a path segment or invalid says nothing."""
    assert a_task(id=task_id).id is None


@pytest.mark.parametrize("task_id", ["a b", "\u00e9", "...", "\U0001f600", "a/b"])
def test_usable_id(task_id: str) -> None:
    """An id is taken as it is, odd as it may be."""
    assert a_task(id=task_id).id == task_id


def test_lone_surrogates() -> None:
    """Invalid Unicode is replaced wherever it stands, and pairs are joined."""
    task = parse_task(
        {
            "id": "1",
            "description": "a\ud800b\ud83d\ude00",
            "metadata": {"k\udfff": ["\ud800", {"x": "\udc00"}]},
        }
    )

    assert task.description == "a\ufffdb\U0001f600"
    assert task.metadata == {"k\ufffd": ["\ufffd", {"x": "\ufffd"}]}


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_cannot_be_represented_is_marked(number: float) -> None:
    """A number that no JSON number is stays there, unreadable, and can be stored."""
    task = a_task(metadata={"limit": number, "n": 1.5, "none": None})

    metadata = task.metadata or {}
    assert is_unreadable(metadata["limit"])
    assert (metadata["n"], metadata["none"]) == (1.5, None)
    assert parse_task(json.loads(json.dumps(task.raw))) == task


def test_depth() -> None:
    """Metadata may nest, but what is nested beyond reason cannot be read."""
    fine = a_task(metadata=_nested(MAX_METADATA_DEPTH))
    too_deep = a_task(metadata=_nested(MAX_METADATA_DEPTH + 5))

    assert "unreadable" not in json.dumps(fine.raw)
    assert "unreadable" in json.dumps(too_deep.raw)
    assert too_deep.description == fine.description


def test_texts_are_composed() -> None:
    """Text and metadata are in NFC, keys as well; the raw task is as listed."""
    task = a_task(description="cafe\u0301", metadata={"e\u0301": ["u\u0308"]})

    assert task.description == "caf\u00e9"
    assert task.metadata == {"\u00e9": ["\u00fc"]}
    assert task.raw["description"] == "cafe\u0301"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-03-01T00:00:00Z", T0),
        (" 2026-03-01T00:00:00.000+00:00 ", T0),
        ("2026-02-28T23:30:00-00:30", T0),
        ("2026-03-01T00:00:00.000001Z", T0 + timedelta(microseconds=1)),
        ("2026-03-01t00:00:00z", T0),
        ("2026-03-01 00:00:00z", T0),
        ("2026-03-01T00:00:00.123456789z", T0 + timedelta(microseconds=123456)),
        ("2026-02-28T23:59:60Z", T0),
        ("2026-03-01T01:59:60+02:00", T0),
        ("9999-12-31T23:59:60Z", None),
        ("2026-03-01T00:60:00Z", None),
        ("2026-03-01T00:00:00", None),
        ("2026-03-01", None),
        ("2026-13-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("\ufffd", None),
        ("", None),
        (1772323200, None),
        (None, None),
    ],
)
def test_moments(value: Json, moment: datetime | None) -> None:
    """A moment is ISO 8601 with a zone, within what a clock can show."""
    assert parse_timestamp(value) == moment


@given(_json)
def test_reading_never_raises(value: Json) -> None:
    """Whatever JSON comes, it is read, and every text can be encoded."""
    task = parse_task({"id": "1", "description": value, "metadata": {"k": value}})

    assert (task.description or "").encode().decode() == (task.description or "")
    assert len(task.content_hash()) == 64


@given(_any_text)
def test_valid_text(text: str) -> None:
    """Repaired text is valid, and valid text stays as it is."""
    repaired = replace_invalid_unicode(text)

    assert repaired.encode().decode() == repaired
    assert replace_invalid_unicode(repaired) == repaired


def test_digest() -> None:
    """The digest tells what a person would see apart, not the order or the rest."""
    task = a_task(metadata={"a": 1, "b": 2})

    assert task.content_hash() == a_task(metadata={"b": 2, "a": 1}).content_hash()
    assert (
        task.content_hash()
        == a_task(metadata={"a": 1, "b": 2}, seen=True).content_hash()
    )
    assert task.content_hash() != a_task(metadata={"a": 1, "b": 3}).content_hash()


def test_causes_are_the_contract_s() -> None:
    """The causes are a closed set: dashboards are written against it."""
    assert {str(cause) for cause in LeaveCause} == {
        *("no_rule", "leave_rule", "protected", "young", "held", "over_cap"),
        *("breaker", "paused", "vetoed", "not_pending", "malformed", "audit"),
    }


def test_the_digest_is_the_same_in_every_version() -> None:
    """The ledger compares it with what another version wrote: it never changes."""
    task = parse_task(
        {
            "id": "task-1",
            "type": "prospect_search",
            "status": "pending",
            "description": "Find Müller & Söhne",
            "created_at": "2026-03-01T00:00:00Z",
            "metadata": {"limit": 20, "filters": {"country": "DE"}, "source": None},
        }
    )

    assert task.content_hash() == (
        "cfe1ef49df41744afc77061627df199a3e7b5ff79d5e80825c5c1ab4847d4c30"
    )


@pytest.mark.parametrize(
    ("more", "read"), [(-1, True), (0, True), (1, False), (2, False)]
)
def test_depth_ends_at_its_edge(more: int, read: bool) -> None:
    """Nesting up to the limit is read, the first level beyond it is not."""
    nested: Json = "bottom"
    for _ in range(MAX_METADATA_DEPTH + more):
        nested = [nested]

    task = parse_task({"id": "a", "metadata": {"x": nested}})

    assert ("unreadable" not in json.dumps(task.raw)) is read


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+09:00", "-03:30"])
def test_moments_are_kept_in_utc(zone: str) -> None:
    """Whatever zone a moment was written in, and whatever the machine's is."""
    moment = parse_timestamp(f"2026-03-01T12:00:00{zone}")

    assert moment is not None
    assert moment.tzinfo is UTC
