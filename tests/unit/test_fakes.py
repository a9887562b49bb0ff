"""Tests of what the LeadLex in memory does beyond the contract suite."""

import pytest

from tests.fakes import InMemoryLeadLex
from triaged.leadlex.errors import NoResponse, NotPending, TaskNotFound


@pytest.fixture
def leadlex() -> InMemoryLeadLex:
    leadlex = InMemoryLeadLex()
    leadlex.add("a", "b")
    return leadlex


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("has_effect", "status"), [(False, "pending"), (True, "dismissed")]
)
async def test_a_scripted_error_is_raised_once(
    leadlex: InMemoryLeadLex, *, has_effect: bool, status: str
) -> None:
    """A scripted error comes with an effect only if told so; the next call works."""
    leadlex.errors = [NoResponse("dismiss")]
    leadlex.effect_before_error = has_effect
    with pytest.raises(NoResponse):
        await leadlex.dismiss("a", "testing")
    after_error = leadlex.tasks["a"]["status"]
    await leadlex.dismiss("b", "testing")

    assert after_error == status
    assert leadlex.dismissed == (["a", "b"] if has_effect else ["b"])


@pytest.mark.anyio
async def test_a_scripted_effect_is_subject_to_the_contract(
    leadlex: InMemoryLeadLex,
) -> None:
    """No script dismisses a task that is unknown or no longer pending."""
    leadlex.errors = [NoResponse("dismiss"), NoResponse("dismiss")]
    leadlex.effect_before_error = True
    leadlex.tasks["a"]["status"] = "approved"
    with pytest.raises(NotPending):
        await leadlex.dismiss("a", "testing")
    with pytest.raises(TaskNotFound):
        await leadlex.dismiss("c", "testing")

    assert leadlex.dismissed == []


@pytest.mark.anyio
async def test_hooks_run_within_the_call(leadlex: InMemoryLeadLex) -> None:
    """What a hook changes is what that call sees, and each call is recorded."""

    async def approve_b(status: str) -> None:
        leadlex.tasks["b"]["status"] = "approved" if status == "pending" else status

    leadlex.before_list = approve_b
    listed = await leadlex.list_tasks()
    leadlex.before_dismiss = leadlex.tasks.clear
    with pytest.raises(TaskNotFound):
        await leadlex.dismiss("a", "testing")

    assert [task.id for task in listed.tasks] == ["a"]
    assert leadlex.calls == ["list pending", "dismiss a"]


@pytest.mark.anyio
async def test_a_list_is_a_snapshot(leadlex: InMemoryLeadLex) -> None:
    """A listed task does not change with the task of the server."""
    listed = await leadlex.list_tasks()
    leadlex.tasks["a"]["description"] = "other"

    assert listed.tasks[0].raw["description"] == "[TEST] a"
