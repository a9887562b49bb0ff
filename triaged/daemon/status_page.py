"""The page for people at ``/``: plain HTML, read-only, no script, nothing fetched.

It shows neither key nor metadata; every text that came from outside is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final

from triaged.daemon.health import Health
from triaged.ledger.decisions import DecisionRecord
from triaged.ledger.dismissals import DismissalRecord
from triaged.ledger.holds import Hold
from triaged.quota import QuotaSnapshot
from triaged.rules.rule import Ruleset
from triaged.text import escape_unprintable
from triaged.triage.report import CycleReport

# The style's hash could be pinned, but a page without scripts has no use for more.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)

_HELD_SHOWN: Final = 50

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
       padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
         border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
th, td { min-width: 5.5rem; } td[data-label^="When"] { white-space: nowrap; }
meter { width: 100%; height: 1.2rem; }
.warning { border-left: .3rem solid #c60; padding-left: .7rem; }
.quiet { opacity: .7; }
@media (max-width: 38rem) {
  thead { display: none; } tr { display: block; padding: .4rem 0;
    border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
  td { display: flex; gap: .6rem; border: 0; padding: .1rem 0; text-align: left; }
  td::before { content: attr(data-label); flex: 0 0 8rem; opacity: .7; }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPageData:
    """Everything the page shows, as of one moment."""

    workspace: str
    now: datetime
    dry_run: bool
    health: Health
    quota: QuotaSnapshot
    ruleset: Ruleset
    paused: str | None
    breaker: str | None
    spent: Mapping[str | None, int]
    observed: Mapping[str, int]
    held: Sequence[tuple[Hold, datetime]]
    recent: Sequence[DismissalRecord]
    left: Sequence[DecisionRecord]


def render_page(facts: StatusPageData) -> str:
    """Write the whole page."""
    title = f"triaged · {_text(facts.workspace)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="15"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"{_state(facts)}{_quota(facts.quota)}{_rules(facts)}{_held(facts)}"
        f"{_recent(facts.recent)}{_recently_left(facts.left)}"
        f'<p class="quiet">As of {_moment(facts.now)} · '
        '<a href="/metrics">metrics</a> · <a href="/readyz">readiness</a></p>'
        "</body></html>"
    )


def _state(facts: StatusPageData) -> str:
    warnings = list(facts.health.reasons_not_ready(facts.now))
    if facts.paused is not None:
        warnings.append("Dismissing is paused: " + (facts.paused or "by hand"))
    if facts.breaker is not None:
        warnings.append(f"The breaker is open: {facts.breaker}")
    if facts.health.rules_rejected:
        warnings.append(
            "The rules file on disk is refused; the rules loaded before stay in force: "
            + facts.health.rules_rejected
        )
    said = "".join(f'<p class="warning">{_text(text)}</p>' for text in warnings)
    last, pending = facts.health.last_report, "no list yet"
    if last is not None and last.listed:
        pending = f"{sum(last.pending.values())} tasks pending"
    mode = "dry run: nothing is dismissed" if facts.dry_run else "at work"
    paused = "not paused" if facts.paused is None else "paused"
    breaker = "closed" if facts.breaker is None else "open"
    return (
        f"{said}<p>{mode} · {paused} · breaker {breaker} · {pending} · next poll "
        f"{_moment(facts.health.next_poll_at)}</p>{_left(last)}"
    )


def _left(last: CycleReport | None) -> str:
    """Say why the last cycle left what it left."""
    if last is None or not last.left_by_cause:
        return ""
    counts = sorted(last.left_by_cause.items(), key=lambda left: -left[1])
    said = ", ".join(f"{number:,} {cause}" for cause, number in counts)
    return f"<p>Left in the last cycle: {said}.</p>"


def _quota(quota: QuotaSnapshot) -> str:
    return (
        "<h2>Quota of the day</h2>"
        f'<meter min="0" max="{quota.daily_limit}" low="{quota.reserved}" '
        f'value="{quota.remaining}"></meter>'
        f"<p>{quota.remaining:,} of {quota.daily_limit:,} calls left,"
        f" {quota.reserved:,} of them kept for people and other tools.</p>"
    )


def _rules(facts: StatusPageData) -> str:
    rows = [
        (
            rule.name,
            "leave" if rule.reason is None else f"dismiss as {rule.reason}",
            str(rule.mode),
            f"{facts.spent.get(rule.name, 0):,}",
            f"{facts.observed.get(rule.name, 0):,}",
        )
        for rule in facts.ruleset.rules
    ]
    headings = ("Rule", "Does", "Mode", "Dismissed today", "Observed today")
    return "<h2>Rules</h2>" + _table(headings, rows)


def _held(facts: StatusPageData) -> str:
    """Show which tasks a hold keeps waiting, and when it lets them go."""
    if not facts.held:
        return ""
    holds = {rule.name: rule.hold for rule in facts.ruleset.rules}
    rows = [
        (holding.task_id, holding.rule, _moment(since + holds[holding.rule]))
        for holding, since in sorted(facts.held, key=lambda held: held[1])
        if holding.rule in holds
    ]
    return "<h2>Held</h2>" + _table(("Task", "Rule", "Until"), rows[:_HELD_SHOWN])


def _recent(entries: Sequence[DismissalRecord]) -> str:
    if not entries:
        return "<h2>Last dismissals</h2><p>None yet.</p>"
    rows = [
        (
            f"{entry.decided_at:%Y-%m-%d %H:%M:%S}",
            _short(entry.task.get("description")),
            entry.rule or f"by {entry.source}",
            entry.reason,
            entry.outcome or "under way",
        )
        for entry in entries
    ]
    headings = ("When (UTC)", "Description", "Rule", "Reason", "Outcome")
    return "<h2>Last dismissals</h2>" + _table(headings, rows)


def _recently_left(judgements: Sequence[DecisionRecord]) -> str:
    """Show which tasks it was decided last to leave, and why."""
    if not judgements:
        return "<h2>Last decisions to leave</h2><p>None yet.</p>"
    rows = [
        (
            f"{record.decided_at:%Y-%m-%d %H:%M:%S}",
            record.task_id,
            _short(record.task.get("description")),
            record.cause or "",
            record.rule or "—",
        )
        for record in judgements
    ]
    headings = ("When (UTC)", "Task", "Description", "Cause", "Rule")
    return "<h2>Last decisions to leave</h2>" + _table(headings, rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{_cells(headings, row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(headings: Sequence[str], row: Sequence[str]) -> str:
    """Write cells that carry their heading, which a phone shows beside them."""
    return "".join(
        f'<td data-label="{escape(heading)}">{_text(cell)}</td>'
        for heading, cell in zip(headings, row, strict=True)
    )


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "not planned yet"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return text if len(text) <= 160 else text[:160] + "…"  # noqa: PLR2004


def _text(text: str) -> str:
    return escape(escape_unprintable(text))
