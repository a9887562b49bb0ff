"""Plans as files: whole or refused."""

import contextlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from triaged.cli.plan_file import read_plan, write_plan
from triaged.errors import PlanRejected
from triaged.rules.task import Decision


def a_plan() -> str:
    decision = Decision(a_task(), None, "clutter", "testing")
    return write_plan(
        [decision], workspace="acme", api_url="https://x", made_at=T0, rules_sha256="ab"
    )


def test_a_plan_comes_back_as_it_was_written() -> None:
    """What is read is what was written: task, content, rule, reason."""
    plan = read_plan(a_plan())
    (entry,) = plan.entries

    assert (plan.workspace, plan.made_at, plan.rules_sha256) == ("acme", T0, "ab")
    assert entry.content_sha256 == a_task().content_hash()
    assert (entry.task_id, entry.rule, entry.reason) == ("task-1", "clutter", "testing")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"workspace": "other"}, "other"),
        ({"api_url": "https://y"}, "https://y"),
        ({"rules_sha256": "cd"}, "rules have changed"),
        ({"now": T0 + timedelta(days=1)}, "a day"),
        ({"now": T0 - timedelta(seconds=1)}, "a day"),
    ],
)
def test_a_plan_is_of_here_and_today(given: dict[str, object], word: str) -> None:
    """Another workspace, other rules or another day: refused, and said why."""
    fits: dict[str, object] = {
        "workspace": "acme",
        "api_url": "https://x",
        "rules_sha256": "ab",
        "now": T0,
    }
    read_plan(a_plan()).check(**fits)  # type: ignore[arg-type]

    with pytest.raises(PlanRejected, match=word):
        read_plan(a_plan()).check(**{**fits, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d["decisions"].extend(d["decisions"]), "a task twice"),
        (lambda d: d.update(version=True), "another version"),
        (lambda d: d.update(version="1"), "another version"),
        (lambda d: d.update(kind=["triaged-plan"]), "not a file that plan --out"),
        (lambda d: d.update(made_at="2026-03-01T00:00:00"), "not whole"),
        (lambda d: d.update(made_at=1e999), "not whole"),
        (lambda d: d.update(decisions={}), "not whole"),
        (lambda d: d.update(rules_sha256=""), "rules_sha256 is missing"),
        (lambda d: d["decisions"][0].update(task_id=7), "task_id is missing"),
        (lambda d: d["decisions"].append(None), "no dismissal"),
        (lambda d: d["decisions"][0].update(decision="leave"), "no dismissal"),
    ],
)
def test_a_plan_that_is_not_what_was_written_is_refused(
    change: Callable[[dict[str, Any]], object], why: str
) -> None:
    """Every entry is one dismissal of one task, and nothing is missing or guessed."""
    document = json.loads(a_plan())
    change(document)

    with pytest.raises(PlanRejected, match=why):
        read_plan(json.dumps(document))


def test_a_plan_that_an_editor_saved_is_read() -> None:
    """A byte order mark in front changes nothing."""
    assert read_plan("\ufeff" + a_plan()) == read_plan(a_plan())


CUTS = st.builds(lambda n: a_plan()[:n] + a_plan()[n + 3 :], st.integers(0))


@given(st.text() | CUTS)
def test_anything_else_is_refused(text: str) -> None:
    """Whatever a file holds, it is a plan or it is refused; nothing else comes out."""
    with contextlib.suppress(PlanRejected):
        read_plan(text)
