"""What a list says of dismissals whose outcome is not known: pure functions.

A list resolves something only when it is complete, and only what was sent so long
before it that it cannot take effect any more.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.ledger.dismissals import DismissalRecord, Outcome
from triaged.rules.task import Json, Task

# A call has 60 seconds in all, and its server and every proxy as long again to act.
EFFECT_TIMEOUT: Final = timedelta(seconds=120)

_REASON_KEYS: Final = (
    "dismiss_reason",
    "dismissal_reason",
    "dismissed_reason",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The outcome that a list gives to a dismissal.

    With ``recheck`` the outcome is the most likely one: a later list may correct it.
    """

    record: DismissalRecord
    outcome: Outcome
    detail: str | None = None
    recheck: bool = False


def resolve_pending(
    records: Iterable[DismissalRecord],
    pending: Collection[str],
    *,
    requested_at: datetime,
) -> tuple[list[Resolution], list[DismissalRecord]]:
    """Fail what is pending still and too old to act; return that, and what is missing.

    ``requested_at`` is when the list of pending tasks was asked for.
    """
    failed: list[Resolution] = []
    missing: list[DismissalRecord] = []
    for record in records:
        if record.task_id not in pending:
            missing.append(record)
        elif requested_at - record.decided_at >= EFFECT_TIMEOUT:
            detail = "still pending in a later list"
            failed.append(Resolution(record, Outcome.FAILED, detail, recheck=True))
    return failed, missing


def resolve_missing(
    missing: Sequence[DismissalRecord],
    dismissed: Mapping[str, Task],
    confirmed: Collection[str],
) -> list[Resolution]:
    """Return each task that is not pending any more its outcome.

    ``dismissed`` is the complete list of dismissed tasks by id; ``confirmed`` are the
    tasks that are known to be dismissed by this program: a task is dismissed once,
    however many attempts there were.
    """
    known = set(confirmed)
    found: list[Resolution] = []
    # The last attempt first: before it was made, the task was seen pending.
    by_time = sorted(missing, key=lambda each: each.decided_at)
    for record in reversed(by_time):
        resolution = _resolve(record, dismissed.get(record.task_id))
        if resolution.outcome is Outcome.CONFIRMED:
            if record.task_id in known:
                resolution = Resolution(record, Outcome.FAILED)
            known.add(record.task_id)
        elif record.outcome is Outcome.FAILED:
            # It did fail: nothing is left to check.
            resolution = Resolution(record, Outcome.FAILED)
        found.append(resolution)
    return found


def _resolve(record: DismissalRecord, task: Task | None) -> Resolution:
    if task is None:
        detail = "neither pending nor dismissed: handled in another way"
        return Resolution(record, Outcome.ALREADY_HANDLED, detail)
    listed = _listed_reason(task.raw)
    if listed is not None and listed != record.reason:
        detail = f"dismissed by another client, as {listed[:100]}"
        return Resolution(record, Outcome.ALREADY_HANDLED, detail)
    return Resolution(record, Outcome.CONFIRMED, "listed as dismissed")


def _listed_reason(task: Mapping[str, Json]) -> str | None:
    """Return the reason code that a list shows for a dismissed task, if any."""
    for key in _REASON_KEYS:
        value = task.get(key)
        if isinstance(value, str) and value:
            return value
    return None
