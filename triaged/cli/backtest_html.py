"""A backtest as one self-contained HTML file that can be read on a phone."""

from datetime import datetime
from html import escape
from typing import Final

from triaged.rules.explain import ConditionResult
from triaged.text import escape_unprintable
from triaged.triage.backtest import Backtest, FalsePositive, Record

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 0 auto;
       padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; }
.bar { display: flex; height: 1.1rem; border-radius: .3rem; overflow: hidden;
       background: color-mix(in srgb, currentColor 12%, transparent); }
.agree { background: #2a7; } .against { background: #d43; }
.quiet { opacity: .75; margin: .2rem 0; } li { margin: .3rem 0; }
ul { padding-left: 1.2rem; } summary { cursor: pointer; margin: .4rem 0; }
"""
_MARKS: Final = {True: "✓", False: "✗", None: "?"}
_SHOWN: Final = 300


def render_backtest(result: Backtest, *, workspace: str, at: datetime) -> str:
    """Write the whole page."""
    title = f"Backtest of {_text(workspace)}"
    sections = "".join(_section(record) for record in result.records)
    notes = "".join(f"<li>{_text(note)}</li>" for note in limitations(result))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{at:%Y-%m-%d %H:%M} UTC · people approved {result.approved} and"
        f" dismissed {result.dismissed} tasks, not counting {result.ours} that triaged"
        f" dismissed itself.</p>{sections}"
        f"<h2>What this cannot know</h2><ul>{notes}</ul></body></html>\n"
    )


def limitations(result: Backtest) -> list[str]:
    """Say what the figures do not tell."""
    notes = [
        "A task that people have not decided on yet is not here.",
        "The API does not say who dismissed a task, nor what it leaves out of a list.",
    ]
    if result.unknown_times:
        notes.append(
            f"When {result.unknown_times} of the tasks were decided is not known; their"
            " age is taken as of now, which is older than it was."
        )
    if result.uses_duplicates:
        notes.append(
            "Which other tasks were pending then is not known, so conditions on"
            " duplicates hold for none."
        )
    return notes


def summary(record: Record) -> str:
    """Say in a line how a rule fares."""
    agreement = record.agreement
    if not agreement.total:
        return "would have dismissed none of them"
    return (
        f"would have dismissed {agreement.total}: people dismissed"
        f" {agreement.dismissed}, approved {agreement.approved}; agreement {agreement}"
    )


def _section(record: Record) -> str:
    bar = ""
    if record.agreement.value is not None:
        agree = 100 * record.agreement.value
        bar = (
            f'<div class="bar" role="img" aria-label="{agree:.0f} % agreement">'
            f'<div class="agree" style="width:{agree:.2f}%"></div>'
            f'<div class="against" style="width:{100 - agree:.2f}%"></div></div>'
        )
    examples = "".join(_example(example) for example in record.false_positives)
    listed = f"<p>Approved by people, though:</p>{examples}" if examples else ""
    return (
        f"<h2>{_text(record.rule)}</h2>{bar}"
        f'<p class="quiet">{_text(summary(record))} · {record.mode}</p>{listed}'
    )


def _example(example: FalsePositive) -> str:
    """Show a task that speaks against the rule; why the rule wants it unfolds."""
    task = example.task
    return (
        f"<details><summary>{_text(_short(task.description or '—'))}"
        f' <span class="quiet">{_text(task.id or "—")}</span></summary>'
        f"<ul>{_verdict(example.verdict)}</ul></details>"
    )


def _verdict(verdict: ConditionResult) -> str:
    said = f"{verdict.condition}: wanted {verdict.expected}; saw {verdict.actual}"
    parts = "".join(_verdict(part) for part in verdict.children)
    inner = f"<ul>{parts}</ul>" if parts else ""
    return f"<li>{_MARKS[verdict.result]} {_text(said)}{inner}</li>"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _text(text: str) -> str:
    return escape(escape_unprintable(text))
