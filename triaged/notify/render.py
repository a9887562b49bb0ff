"""Renders digest and alerts as plain text and HTML.

All texts from tasks, LeadLex and people are shortened, made visible and harmless here,
and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from triaged.daily_time import DailyTime
from triaged.notify.message import Message
from triaged.notify.neutral import neutralize, shorten, without_links
from triaged.triage.alerts import Alert, AlertKind
from triaged.triage.digest import Digest

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent / "templates"
_ID_LENGTH: Final = 40
_PROBLEM_LENGTH: Final = 400


def render_digest(digest: Digest, *, at: DailyTime, page_url: str | None) -> Message:
    """Render the digest, with times in the zone of the setting."""
    return _message("digest", _digest_subject(digest), at, page_url, digest=digest)


def render_alerts(
    alerts: Sequence[Alert], *, workspace: str, at: DailyTime, page_url: str | None
) -> Message:
    """Render one or more events as one message."""
    what = headline(alerts[0]) if len(alerts) == 1 else f"{len(alerts)} events"
    message = _message(
        "alerts",
        f"triaged {workspace}: {what}",
        at,
        page_url,
        alerts=sorted(alerts, key=lambda alert: (alert.at, alert.name)),
        headline=headline,
        workspace=workspace,
    )
    is_warning = any(alert.kind is not AlertKind.PROMOTED for alert in alerts)
    return replace(message, is_warning=is_warning)


def render_test(
    *, workspace: str, now: datetime, at: DailyTime, page_url: str | None
) -> Message:
    """Render the message of ``triaged notify --test``."""
    subject = f"triaged {workspace}: test message"
    return _message("test", subject, at, page_url, workspace=workspace, now=now, at=at)


def headline(alert: Alert) -> str:
    """Return one event in a few words."""
    match alert.kind:
        case AlertKind.BREAKER:
            return "the breaker opened"
        case AlertKind.KEY:
            return "LeadLex refuses the API key"
        case AlertKind.DEMOTED:
            return f"rule {alert.rule} only observes again"
        case AlertKind.PROMOTED:
            return f"rule {alert.rule} begins to dismiss"


def _digest_subject(digest: Digest) -> str:
    problems, changes = len(digest.problems), len(digest.changes)
    parts = (
        (problems, "1 problem" if problems == 1 else f"{problems} problems"),
        (digest.dismissed_total, f"{digest.dismissed_total:,} dismissed"),
        (digest.planned_total, f"{digest.planned_total:,} planned"),
        (digest.observed_total, f"{digest.observed_total:,} observed"),
        (changes, "1 rule changed" if changes == 1 else f"{changes} rules changed"),
    )
    said = ", ".join(text for number, text in parts if number)
    return f"triaged {digest.workspace}: {said or 'nothing happened'}"


def _message(
    template: str,
    subject: str,
    at: DailyTime,
    page_url: str | None,
    /,
    **facts: object,
) -> Message:
    facts |= {"zone": at.zone, "page_url": page_url}

    def rendered(ending: str) -> str:
        environment = _environment(at, page_url, is_plain=ending == "txt")
        return environment.get_template(f"{template}.{ending}").render(**facts)

    return Message(subject=subject, text=rendered("txt"), html=rendered("html"))


@lru_cache(maxsize=8)
def _environment(
    at: DailyTime, page_url: str | None, *, is_plain: bool
) -> "Environment":
    # Imported here: most commands and a daemon without notifications need none of it.
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    zone = at.tzinfo
    harmless = neutralize if is_plain else without_links

    def link(task_id: str) -> str:
        path = quote(task_id.encode(errors="replace"), safe="")
        # Valid in a URL, and markup in chats all the same.
        return f"{page_url}/tasks/{path.replace('~', '%7E').replace('_', '%5F')}"

    environment.filters |= {
        "local": lambda moment: f"{moment.astimezone(zone):%Y-%m-%d %H:%M}",
        "external": lambda text: harmless(shorten(text)),
        "sentence": lambda text: harmless(shorten(text, limit=_PROBLEM_LENGTH)),
        "short_id": lambda task_id: harmless(shorten(task_id, limit=_ID_LENGTH)),
        "link": link,
        "words": lambda code: code.replace("_", " "),
    }
    return environment
