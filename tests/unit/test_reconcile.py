"""Tests of what a fresh list says of dismissals whose outcome nobody knew."""

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.ledger.dismissals import DismissalRecord, Outcome, Source
from triaged.triage.reconcile import resolve_one, split_pending


def an_entry(task_id: str) -> DismissalRecord:
    """Return an intent that was found without outcome."""
    return DismissalRecord(
        id=f"entry-{task_id}",
        task_id=task_id,
        rule="clutter",
        reason="testing",
        source=Source.DAEMON,
        cycle="cycle-1",
        decided_at=T0,
        outcome=None,
        resolved_at=None,
        request_id=None,
        detail=None,
        rules_sha256="",
        content_sha256="",
        task={},
        trace=None,
    )


def test_only_what_is_listed_still_waits() -> None:
    """A task in the list of pending ones may be tried again, any other has gone."""
    entries = [an_entry(task_id) for task_id in ("a", "b", "c")]

    waiting, vanished = split_pending(entries, {"b", "elsewhere"})

    assert waiting == [entries[1]]
    assert vanished == [entries[0], entries[2]]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.sets(st.sampled_from("ab")))
def test_each_open_dismissal_is_either(ids: list[str], pending: set[str]) -> None:
    """None is lost and none is both, and the order stays."""
    entries = [an_entry(task_id) for task_id in ids]

    waiting, vanished = split_pending(entries, pending)

    assert [e for e in entries if e in waiting] == waiting
    assert [e for e in entries if e not in waiting] == vanished


def test_among_the_dismissed_it_was_ours() -> None:
    """We asked and it is dismissed, so the dismissal counts as ours."""
    assert resolve_one(an_entry("a"), {"a", "b"}) is Outcome.CONFIRMED


def test_neither_pending_nor_dismissed_was_somebody_else() -> None:
    """A task that a person approved meanwhile is never counted as dismissed."""
    assert resolve_one(an_entry("a"), {"b"}) is Outcome.ALREADY_HANDLED
