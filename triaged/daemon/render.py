"""Renders the templates of the pages: HTML without scripts or remote content.

All text from outside is escaped. The filters format codes, ids and timestamps.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from triaged.ledger.dismissals import Outcome
from triaged.rules.task import LeaveCause, parse_timestamp
from triaged.text import escape_unprintable

_TEMPLATES: Final = Path(__file__).parent / "templates"
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


def content_security_policy(*, forms: bool) -> str:
    """Return the policy of all pages; ``forms`` allows those of the page itself."""
    target = "'self'" if forms else "'none'"
    return (
        "default-src 'none'; style-src 'self'; base-uri 'none';"
        f" form-action {target}; frame-ancestors 'none'"
    )


@cache
def stylesheet() -> str:
    """Return the one stylesheet of all pages."""
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")


def render(template: str, **facts: Any) -> str:  # noqa: ANN401 - whatever is shown
    """Render a template of this package; text from outside is escaped."""
    return _environment().get_template(template).render(**facts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {
        "cause": lambda cause: _CAUSES.get(cause, _words(cause)),
        "outcome": lambda outcome: _OUTCOMES.get(outcome, str(outcome)),
        "state": _words,
        "short_id": _short_id,
        "shorten": _shorten,
        "day": lambda moment: f"{moment:%Y-%m-%d}",
        # To the minute, for a narrow column.
        "minute": lambda moment: f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}",
        "utc": _utc,
        "stored_utc": _stored_utc,
        "when": _when,
        "number": lambda value: f"{value:,}",
        "quote": lambda text: quote(text, safe=""),
    }
    return environment


def _printable(value: object) -> object:
    """Escape control characters in every string that a template prints."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_unprintable(value)
    return value


def _words(code: str) -> str:
    return code.replace("_", " ")


def _short_id(task_id: str) -> str:
    return task_id if len(task_id) <= _WHOLE_ID else task_id[:_ID_PREFIX] + "…"


def _shorten(text: str) -> str:
    return text if len(text) <= _DESCRIPTION else text[:_DESCRIPTION] + "…"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _stored_utc(text: str) -> str:
    """Format a timestamp of the ledger; other text stays as it is."""
    moment = parse_timestamp(text)
    return text if moment is None else _utc(moment)


def _when(moment: datetime | None) -> str:
    """Format a timestamp in the daemon's local time and in UTC."""
    if moment is None:
        return "—"
    local = moment.astimezone()
    if not local.utcoffset():
        return f"{moment.astimezone(UTC):%H:%M:%S} UTC"
    return f"{local:%H:%M:%S %Z} ({moment.astimezone(UTC):%H:%M:%S} UTC)"
