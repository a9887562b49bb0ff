"""Plans as files: whole or refused."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from triaged.engine.model import Decision
from triaged.errors import PlanRefused
from triaged.planfile import read_plan, write_plan


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
    assert entry.content_sha256 == a_task().digest()
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

    with pytest.raises(PlanRefused, match=word):
        read_plan(a_plan()).check(**{**fits, **given})  # type: ignore[arg-type]


CUTS = st.builds(lambda n: a_plan()[:n] + a_plan()[n + 3 :], st.integers(0))


@given(st.text() | CUTS)
def test_anything_else_is_refused(text: str) -> None:
    """Whatever a file holds, it is a plan or it is refused; nothing else comes out."""
    with contextlib.suppress(PlanRefused):
        read_plan(text)
