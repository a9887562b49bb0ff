"""The generated tasks look like a workspace, and are the same each time."""

import uuid
from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.rules.task import DOCUMENTED_TYPES, parse_task
from triaged.sandbox.tasks import Fields, generate

TASKS = generate(1, 1_000, T0, settled_ratio=1.0)
PENDING, SETTLED = TASKS[:1_000], TASKS[1_000:]


def text(task: Fields) -> str:
    return str(task["description"])


def age(task: Fields) -> timedelta:
    return T0 - datetime.fromisoformat(str(task["created_at"]))


def is_clutter(task: Fields) -> bool:
    return text(task).lower().startswith(("[test]", "test", "lorem"))


def is_stale(task: Fields) -> bool:
    metadata = task.get("metadata")
    limit = metadata.get("limit") if isinstance(metadata, dict) else None
    return isinstance(limit, int) and limit > 1_000 and age(task) > timedelta(days=14)


def test_seed_decides() -> None:
    """The same seed gives the same tasks, another seed others."""
    assert generate(5, 50, T0, settled_ratio=0.5) == generate(
        5, 50, T0, settled_ratio=0.5
    )
    assert generate(5, 50, T0) != generate(6, 50, T0)


@given(seed=st.integers(0, 99), count=st.integers(0, 12))
def test_any_count_can_be_made(seed: int, count: int) -> None:
    """There are exactly as many as asked for, with ids of their own."""
    tasks = generate(seed, count, T0, settled_ratio=1)

    assert len({task["id"] for task in tasks}) == 2 * count


def test_fields_are_the_documented_ones() -> None:
    """Each task has the fields of the documents and can be read by the engine."""
    known = {"id", "type", "status", "description", "created_at", "metadata"}

    for task in TASKS:
        assert known - {"metadata"} <= set(task) <= known
        assert task["type"] in DOCUMENTED_TYPES
        assert uuid.UUID(str(task["id"])).version == 4
        assert str(task["created_at"]).endswith("Z")
        assert parse_task(task).created_at is not None
        assert timedelta() < age(task) < timedelta(days=366)


def test_mix() -> None:
    """About a fifth is clutter, a fifth stale searches, and some are duplicates."""
    texts = Counter(" ".join(text(task).split()).casefold() for task in PENDING)
    repeated = sum(count - 1 for count in texts.values())

    assert sum(map(is_clutter, PENDING)) == pytest.approx(200, abs=30)
    assert sum(map(is_stale, PENDING)) == pytest.approx(200, abs=20)
    assert repeated > 150


def test_awkward_content_is_there() -> None:
    """Non-ASCII, quotes, newlines, long texts, missing metadata and the board."""
    everything = "\n".join(map(text, PENDING))

    for sample in ("Müller", "Zürich", "—", "東京", '"', "\n", "board", "testing lab"):
        assert sample in everything
    assert max(map(len, map(text, PENDING))) > 500
    assert any("metadata" not in task for task in PENDING)
    assert any(task.get("metadata", {}) is None for task in PENDING)
    assert set(DOCUMENTED_TYPES) == {task["type"] for task in PENDING}


def test_ages_range_from_minutes_to_a_year() -> None:
    """Some tasks are too young to touch, some are older than any rule allows for."""
    ages = sorted(map(age, PENDING))

    assert ages[0] < timedelta(hours=1)
    assert ages[-1] > timedelta(days=300)


def test_history_shows_what_people_did() -> None:
    """Settled tasks come on top, and people mostly dismissed what is clutter."""
    clutter = Counter(task["status"] for task in SETTLED if is_clutter(task))
    rest = Counter(task["status"] for task in SETTLED if not is_clutter(task))

    assert {task["status"] for task in PENDING} == {"pending"}
    assert clutter["dismissed"] > 0.8 * clutter.total()
    assert set(rest) == {"approved", "completed", "failed", "dismissed"}
