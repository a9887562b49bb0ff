"""What a fresh list says of dismissals whose outcome nobody knew: a pure function."""

from collections.abc import Collection, Iterable, Sequence

from triaged.ledger.dismissals import DismissalRecord, Outcome


def split_pending(
    entries: Iterable[DismissalRecord], pending: Collection[str]
) -> tuple[list[DismissalRecord], list[DismissalRecord]]:
    """Split open entries into those still pending and those that are not any more."""
    waiting: list[DismissalRecord] = []
    vanished: list[DismissalRecord] = []
    for entry in entries:
        (waiting if entry.task_id in pending else vanished).append(entry)
    return waiting, vanished


def resolve_missing(
    vanished: Sequence[DismissalRecord],
    dismissed: Collection[str],
    confirmed: Collection[str],
) -> list[tuple[DismissalRecord, Outcome]]:
    """Give each its outcome; a task is dismissed once, however often we asked.

    ``confirmed`` are the tasks of which we know already that we dismissed them.
    """
    known = set(confirmed)
    found: list[tuple[DismissalRecord, Outcome]] = []
    # The last attempt first: before it was made, the task was seen pending.
    for entry in reversed(vanished):
        outcome = resolve_one(entry, dismissed)
        if outcome is Outcome.CONFIRMED and entry.task_id in known:
            outcome = Outcome.FAILED
        if outcome is Outcome.CONFIRMED:
            known.add(entry.task_id)
        found.append((entry, outcome))
    return found


def resolve_one(entry: DismissalRecord, dismissed: Collection[str]) -> Outcome:
    """Say what became of a task that is not pending any more.

    It is dismissed and we asked for that: ours.  It is not: somebody else was first.
    """
    if entry.task_id in dismissed:
        return Outcome.CONFIRMED
    return Outcome.ALREADY_HANDLED
