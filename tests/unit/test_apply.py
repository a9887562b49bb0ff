"""Tests of what of a plan still holds."""

from tests.builders import a_task
from triaged.cli.apply import compare
from triaged.cli.plan_file import Entry
from triaged.rules.task import Decision, LeaveCause, Task


def an_entry(task: Task, *, rule: str = "clutter") -> Entry:
    return Entry(task.id or "", task.content_hash(), rule, "testing")


def test_what_still_holds_is_due() -> None:
    """A task that is as it was, and wanted as it was, will be dismissed."""
    task = a_task()
    wanted = Decision(task, None, rule="clutter", reason="testing")

    assert compare([an_entry(task)], [wanted]) == ([wanted], [])


def test_what_changed_is_dropped_and_why() -> None:
    """Gone, changed, left now and wanted by another rule are told apart."""
    gone, changed, left, other = (a_task(id=f"task-{n}") for n in range(4))
    now = [
        Decision(a_task(id="task-1", description="new words"), None, "clutter"),
        Decision(left, LeaveCause.VETOED, rule="clutter", reason="testing"),
        Decision(other, None, rule="asked-twice", reason="duplicate"),
    ]
    due, dropped = compare([an_entry(t) for t in (gone, changed, left, other)], now)

    assert due == []
    assert [why for _, why in dropped] == [
        "no longer pending",
        "changed since",
        "left now: vetoed",
        "now wanted by asked-twice",
    ]
