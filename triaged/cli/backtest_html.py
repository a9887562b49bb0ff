"""Renders a backtest as one self-contained, responsive HTML file."""

from datetime import datetime
from pathlib import Path
from typing import Final

from triaged.text import escape_unprintable
from triaged.triage.backtest import Backtest, Record

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SYMBOLS: Final = {True: "✓", False: "✗", None: "?"}


def render_backtest(result: Backtest, *, workspace: str, at: datetime) -> str:
    """Render the whole page."""
    import jinja2  # noqa: PLC0415 - not needed for table and JSON

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = escape_unprintable
    return environment.get_template("backtest.html").render(
        result=result,
        workspace=workspace,
        at=f"{at:%Y-%m-%d %H:%M}",
        notes=limitations(result),
        summary=summary,
        symbols=_SYMBOLS,
        style=(_TEMPLATES / "backtest.css").read_text(encoding="utf-8"),
    )


def limitations(result: Backtest) -> list[str]:
    """Return sentences about what the figures do not show."""
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
    """Return one line on how often people decided as the rule would."""
    agreement = record.agreement
    if not agreement.total:
        return "would have dismissed none of them"
    return (
        f"would have dismissed {agreement.total}: people dismissed"
        f" {agreement.dismissed}, approved {agreement.approved}; agreement {agreement}"
    )
