"""The state of a sandbox as a page for people: no script, nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Final

from starlette.responses import Response

from triaged.sandbox.state import SandboxState
from triaged.sandbox.store import render_moment

_SHOWN: Final = 20
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
       padding: 0 1rem; color: #1d2330; background: #fff }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5rem }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; vertical-align: top;
         border-bottom: 1px solid #d9dde5; overflow-wrap: anywhere }
@media (prefers-color-scheme: dark) { body { color: #e6e9ef; background: #14171d }
       th, td { border-color: #333a46 } }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def render(world: SandboxState) -> Response:
    """Render what the sandbox remembers, newest first."""
    sections = "".join(
        (
            _section("Tasks", ("status", "count"), world.store.counts().items()),
            _section("Quota", ("window", "limit", "left"), _quota(world)),
            _section("Faults to come", ("fault",), _faults(world)),
            _section("Last calls", ("at", "call", "answer", "fault"), _calls(world)),
            _section("Last effects", ("at", "task", "became", "reason"), _made(world)),
        )
    )
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="refresh" content="2"><title>LeadLex sandbox</title>'
        f"<style>{_STYLE}</style></head><body><h1>LeadLex sandbox</h1>"
        f"<p>Nothing here is real. It is {render_moment(world.clock.now())}.</p>"
        f"{sections}</body></html>"
    )
    # Ids come from outside, and a lone surrogate has no UTF-8.
    body = text.encode(errors="replace")
    return Response(body, media_type="text/html", headers=_HEADERS)


def _section(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _quota(world: SandboxState) -> list[tuple[object, ...]]:
    allowance = world.limits.peek(world.seconds())
    minute = world.limits.left_in_minute(world.seconds())
    return [
        ("minute", _number(world.settings.minute_limit), _number(minute)),
        ("day", _number(allowance.limit), _number(allowance.remaining)),
    ]


def _faults(world: SandboxState) -> list[tuple[object, ...]]:
    return [(fault,) for fault in world.faults.active()]


def _calls(world: SandboxState) -> list[tuple[object, ...]]:
    return [
        (
            render_moment(call.at),
            f"{call.operation} {call.task_id or ''}",
            call.status,
            call.fault or "",
        )
        for call in islice(reversed(world.calls), _SHOWN)
    ]


def _made(world: SandboxState) -> list[tuple[object, ...]]:
    return [
        (render_moment(effect.at), effect.task_id, effect.status, effect.reason or "")
        for effect in islice(reversed(world.store.effects), _SHOWN)
    ]


def _number(limit: int | None) -> str:
    return "unlimited" if limit is None else str(limit)
