"""Renders the state of a sandbox as an HTML page without scripts or remote content."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import islice
from typing import Final

import jinja2
from markupsafe import Markup
from starlette.responses import Response

from triaged.sandbox.state import SandboxState
from triaged.sandbox.store import format_timestamp

_ROWS: Final = 20

Rows = Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    columns: tuple[str, ...]
    rows: Rows


def render(state: SandboxState) -> Response:
    """Render the state, the newest calls and changes first."""
    style = _style()
    text = _template().render(
        style=style,
        now=format_timestamp(state.clock.now()),
        sections=_sections(state),
    )
    # Ids are external data, and lone surrogates cannot be encoded in UTF-8.
    body = text.encode(errors="replace")
    return Response(body, media_type="text/html", headers=_headers(style))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("triaged.sandbox"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html")


@cache
def _style() -> Markup:
    path = resources.files("triaged.sandbox") / "templates" / "page.css"
    return Markup(path.read_text())  # noqa: S704 - a file of this package


def _headers(style: str) -> dict[str, str]:
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{style_hash}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _sections(state: SandboxState) -> list[_Section]:
    return [
        _Section("Tasks", ("status", "count"), [*state.store.counts().items()]),
        _Section("Quota", ("window", "limit", "remaining"), _quota(state)),
        _Section("Faults to come", ("fault",), [[f] for f in state.faults.active()]),
        _Section("Last calls", ("at", "call", "status", "fault"), _calls(state)),
        _Section("Last changes", ("at", "task", "status", "reason"), _changes(state)),
    ]


def _quota(state: SandboxState) -> Rows:
    day = state.limits.peek(state.seconds())
    minute = state.limits.left_in_minute(state.seconds())
    return [
        ("minute", _number(state.settings.minute_limit), _number(minute)),
        ("day", _number(day.limit), _number(day.remaining)),
    ]


def _calls(state: SandboxState) -> Rows:
    return [
        (
            format_timestamp(call.at),
            f"{call.operation} {call.task_id or ''}",
            call.status,
            call.fault or "",
        )
        for call in islice(reversed(state.calls), _ROWS)
    ]


def _changes(state: SandboxState) -> Rows:
    return [
        (format_timestamp(each.at), each.task_id, each.status, each.reason or "")
        for each in islice(reversed(state.store.effects), _ROWS)
    ]


def _number(limit: int | None) -> str:
    return "unlimited" if limit is None else str(limit)
