"""Formats codes, ids and timestamps for the status page."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from triaged.ledger.dismissals import Outcome
from triaged.rules.task import LeaveCause, parse_timestamp

_CAUSES: Final[Mapping[str, str]] = {
    LeaveCause.NO_RULE: "no rule matched",
    LeaveCause.LEAVE_RULE: "kept by a rule",
    LeaveCause.PROTECTED: "protected",
    LeaveCause.YOUNG: "too young",
    LeaveCause.HELD: "on hold",
    LeaveCause.OVER_CAP: "waiting for a cap",
    LeaveCause.BREAKER: "breaker open",
    LeaveCause.PAUSED: "paused",
    LeaveCause.VETOED: "vetoed",
    LeaveCause.NOT_PENDING: "no longer pending",
    LeaveCause.MALFORMED: "cannot be read",
    LeaveCause.AUDIT: "left for audit",
}
_OUTCOMES: Final[Mapping[str | None, str]] = {
    None: "in flight",
    Outcome.CONFIRMED: "dismissed",
    Outcome.ALREADY_HANDLED: "already handled",
    Outcome.GONE: "no longer there",
    Outcome.REJECTED: "rejected by LeadLex",
    Outcome.UNKNOWN: "not known yet",
    Outcome.FAILED: "failed",
}
_WHOLE_ID: Final = 12
_ID_PREFIX: Final = 8
_DESCRIPTION: Final = 160


def cause_words(cause: str) -> str:
    """Return why a task was left, in words."""
    return _CAUSES.get(cause, cause.replace("_", " "))


def outcome_words(outcome: str | None) -> str:
    """Return the outcome of a dismissal, in words."""
    return _OUTCOMES.get(outcome, str(outcome))


def short_id(task_id: str) -> str:
    """Return an id, shortened to a prefix if it is long."""
    return task_id if len(task_id) <= _WHOLE_ID else task_id[:_ID_PREFIX] + "…"


def shorten(text: str) -> str:
    """Return a description, shortened to fit into a table."""
    return text if len(text) <= _DESCRIPTION else text[:_DESCRIPTION] + "…"


def utc(moment: datetime) -> str:
    """Return a timestamp in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def stored_utc(text: str) -> str:
    """Return a stored timestamp in UTC, to the second; other text as it is."""
    moment = parse_timestamp(text)
    return text if moment is None else utc(moment)


def minute(moment: datetime) -> str:
    """Return a timestamp in UTC, to the minute, for a narrow column."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def when(moment: datetime | None) -> str:
    """Return a timestamp in the daemon's local time and in UTC."""
    if moment is None:
        return "—"
    local = moment.astimezone()
    if not local.utcoffset():
        return f"{moment.astimezone(UTC):%H:%M:%S} UTC"
    return f"{local:%H:%M:%S %Z} ({moment.astimezone(UTC):%H:%M:%S} UTC)"


def state_words(state: str) -> str:
    """Return the state of a workspace in words."""
    return state.replace("_", " ")
