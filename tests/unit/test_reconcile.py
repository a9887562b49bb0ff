"""Tests of what a list says of dismissals whose outcome is not known."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from triaged.ledger.dismissals import DismissalRecord, Outcome, Source
from triaged.triage.reconcile import EFFECT_TIMEOUT, resolve_missing, resolve_pending

LATER: Final = T0 + EFFECT_TIMEOUT


def a_record(task_id: str, **changes: object) -> DismissalRecord:
    """Return an intent that was found without outcome."""
    record = DismissalRecord(
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
    return replace(record, **changes)  # type: ignore[arg-type]


def test_pending_after_the_last_moment_to_act_is_failed() -> None:
    """A task that is pending in a list taken late enough was not dismissed, so far."""
    records = [a_record(task_id) for task_id in ("a", "b", "c")]

    failed, missing = resolve_pending(records, {"b", "elsewhere"}, requested_at=LATER)

    (resolution,) = failed
    assert (resolution.record, resolution.outcome) == (records[1], Outcome.FAILED)
    assert resolution.recheck
    assert missing == [records[0], records[2]]


def test_a_call_that_may_still_act_is_not_failed() -> None:
    """A list taken earlier settles nothing: the call may take effect after it."""
    early = LATER - timedelta.resolution

    assert resolve_pending([a_record("a")], {"a"}, requested_at=early) == ([], [])


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.sets(st.sampled_from("ab")))
def test_each_unresolved_dismissal_is_either(ids: list[str], pending: set[str]) -> None:
    """None is lost and none is both, and the order stays."""
    records = [a_record(task_id) for task_id in ids]

    failed, missing = resolve_pending(records, pending, requested_at=LATER)
    waiting = [each.record for each in failed]

    assert [r for r in records if r in waiting] == waiting
    assert [r for r in records if r not in waiting] == missing


def resolve(record: DismissalRecord, *, is_dismissed: bool) -> Outcome:
    task = a_task(id="a", status="dismissed")
    dismissed = {"a": task} if is_dismissed else {}
    (resolution,) = resolve_missing([record], dismissed, ())
    return resolution.outcome


def test_among_the_dismissed_without_a_reason_it_is_confirmed() -> None:
    """It was sent and is dismissed, and the list does not say by another client."""
    assert resolve(a_record("a"), is_dismissed=True) is Outcome.CONFIRMED


def test_a_listed_reason_tells_whose_it_was() -> None:
    """The reason that was sent confirms it; another one is another client's."""
    dismissed = {
        reason: {"a": replace(task, raw={**task.raw, "reason": reason})}
        for reason in ("testing", "not_relevant")
        for task in [a_task(id="a", status="dismissed")]
    }

    outcomes = {
        reason: resolve_missing([a_record("a")], tasks, ())[0].outcome
        for reason, tasks in dismissed.items()
    }

    assert outcomes == {
        "testing": Outcome.CONFIRMED,
        "not_relevant": Outcome.ALREADY_HANDLED,
    }


def test_neither_pending_nor_dismissed_was_handled_otherwise() -> None:
    """A task that a person approved meanwhile is never counted as dismissed."""
    assert resolve(a_record("a"), is_dismissed=False) is Outcome.ALREADY_HANDLED


def test_a_failed_call_that_took_effect_is_confirmed() -> None:
    """A dismissal of the server is not denied, however late it shows."""
    record = a_record("a", outcome=Outcome.FAILED, recheck=True)

    assert resolve(record, is_dismissed=True) is Outcome.CONFIRMED
    assert resolve(record, is_dismissed=False) is Outcome.FAILED


def test_a_task_is_dismissed_once() -> None:
    """Of several attempts at one task the last one counts, unless one did already."""
    first, second = a_record("a", id="1"), a_record("a", id="2")
    dismissed = {"a": a_task(id="a", status="dismissed")}

    both = resolve_missing([first, second], dismissed, ())
    neither = resolve_missing([first, second], dismissed, {"a"})

    assert [(r.record.id, r.outcome) for r in both] == [
        ("2", Outcome.CONFIRMED),
        ("1", Outcome.FAILED),
    ]
    assert {r.outcome for r in neither} == {Outcome.FAILED}


def test_each_outcome_says_what_the_list_showed() -> None:
    """People read it in the history, and each resolution is about its own record."""
    pending, gone, ours = a_record("pending"), a_record("gone"), a_record("ours")
    theirs, odd = a_record("theirs"), a_record("odd")
    failed, _ = resolve_pending([pending], {"pending"}, requested_at=LATER)
    listed = {
        "ours": a_task(id="ours", status="dismissed"),
        "theirs": a_task(id="theirs", status="dismissed", reason="x" * 101),
        "odd": a_task(id="odd", status="dismissed", reason=7),
    }
    found = resolve_missing([gone, ours, theirs, odd], listed, ())

    details = {each.record.task_id: each.detail for each in (*failed, *found)}
    assert details == {
        "pending": "still pending in a later list",
        "gone": "neither pending nor dismissed: handled in another way",
        "ours": "listed as dismissed",
        "theirs": f"dismissed by another client, as {'x' * 100}",
        "odd": "listed as dismissed",
    }


def test_an_attempt_that_failed_stays_so_about_its_record() -> None:
    """Whatever else was dismissed, the resolution names the attempt that it is of."""
    record = a_record("a", outcome=Outcome.FAILED)
    (resolution,) = resolve_missing([record], {}, ())

    assert (resolution.record, resolution.outcome) == (record, Outcome.FAILED)
