"""``triaged history``: the ledger, for people and for scripts."""

import csv
import sys
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import click

from triaged.cli.history_agreement import show_agreement
from triaged.cli.history_holds import show_held
from triaged.cli.options import (
    API,
    LEDGER_OPTIONS,
    QUOTA_OPTIONS,
    RULES_OPTIONS,
    EnumChoice,
    with_settings,
)
from triaged.cli.output import console, echo, echo_json, table, truncate
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.ledger.database import FILE
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome
from triaged.rules.duration import parse_duration
from triaged.rules.task import parse_timestamp
from triaged.settings import Settings
from triaged.text import escape_unprintable


class HistoryFormat(StrEnum):
    """How the history is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@click.command
@click.option("--since", metavar="D", help="A duration such as 24h, or a moment.")
@click.option("--task", metavar="ID", help="Only this task.")
@click.option("--rule", metavar="R", help="Only what this rule wanted.")
@click.option("--reason", metavar="R", help="Only this reason code.")
@click.option("--outcome", type=EnumChoice(Outcome), help="Only this outcome.")
@click.option(
    "--held", is_flag=True, help="Instead: what is held, and when it will go."
)
@click.option(
    "--agreement",
    is_flag=True,
    help="Instead: what people did with what rules only observed; up to four calls,"
    " and none again within a quarter of an hour.",
)
@click.option(
    "--format",
    "form",
    type=EnumChoice(HistoryFormat),
    default=HistoryFormat.TABLE,
    show_default="table",
    help="How to print.",
)
@with_settings(*API, *RULES_OPTIONS, *QUOTA_OPTIONS, *LEDGER_OPTIONS)
def history(
    *,
    settings: Settings,
    since: str | None,
    task: str | None,
    rule: str | None,
    reason: str | None,
    outcome: Outcome | None,
    held: bool,
    agreement: bool,
    form: HistoryFormat,
) -> None:
    """Show what was dismissed, by whom, why, and what became of it."""
    if held or agreement:
        filters = (since, task, rule, reason, outcome, held and agreement)
        if form is HistoryFormat.CSV or any(filters):
            raise click.UsageError(
                "--held and --agreement show all there is, as a table or as JSON;"
                " drop the other flags"
            )
        as_json = form is HistoryFormat.JSON
        if agreement:
            sys.exit(show_agreement(settings, as_json=as_json))
        show_held(settings, as_json=as_json)
        return
    search = DismissalFilter(
        since=_parse_since(since),
        task_id=task,
        rule=rule,
        reason=reason,
        outcome=outcome,
    )
    entries: list[DismissalRecord] = []
    if (settings.state_dir / FILE).exists():
        with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
            entries = ledger.dismissals.query(search)
    else:
        echo(f"triaged: no ledger in {settings.state_dir} yet", error=True)
    if form is HistoryFormat.JSON:
        rows = [entry_json(entry) for entry in entries]
        echo_json(rows)
    elif form is HistoryFormat.CSV:
        _write_csv(entries)
    else:
        _show(entries)


def entry_json(entry: DismissalRecord) -> dict[str, Any]:
    """Return one dismissal as scripts read it; open intents are unknown."""
    return {
        "task_id": entry.task_id,
        "rule": entry.rule,
        "reason": entry.reason,
        "outcome": entry.outcome or Outcome.UNKNOWN,
        "decided_at": entry.decided_at.isoformat(),
        "settled_at": entry.resolved_at.isoformat() if entry.resolved_at else None,
        "source": entry.source,
        "type": entry.task.get("type"),
        "description": entry.task.get("description"),
        "cycle": entry.cycle,
        "request_id": entry.request_id,
        "detail": entry.detail,
        "rules_sha256": entry.rules_sha256,
    }


def _parse_since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return SystemClock().now() - parse_duration(text)
    except (ValueError, OverflowError):
        moment = parse_timestamp(text)
    if moment is None:
        raise click.BadParameter(
            f"expected a duration such as 24h or 7d, or a moment such as"
            f" 2026-03-01T00:00:00Z, found {text!r}",
            param_hint="--since",
        )
    return moment


def _write_csv(entries: Sequence[DismissalRecord]) -> None:
    rows = [entry_json(entry) for entry in entries]
    names = list(_COLUMNS)
    writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(row[name]) for name in names})


def _cell(value: object) -> str:
    """Write a cell that a spreadsheet will not take for a formula."""
    text = "" if value is None else escape_unprintable(str(value))
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _show(entries: Sequence[DismissalRecord]) -> None:
    rows = [
        (
            f"{entry.decided_at:%Y-%m-%d %H:%M:%S}",
            truncate(entry.task_id, 40),
            entry.rule or "—",
            entry.reason,
            entry.outcome or Outcome.UNKNOWN,
            entry.source,
            truncate(str(entry.task.get("description") or "—")),
        )
        for entry in entries
    ]
    if rows:
        headings = ("decided (UTC)", "task", "rule", "reason", "outcome", "by", "what")
        console().print(table(headings, rows))
    echo(f"{len(rows)} {'dismissal' if len(rows) == 1 else 'dismissals'}.")


_COLUMNS = (
    "task_id",
    "rule",
    "reason",
    "outcome",
    "decided_at",
    "settled_at",
    "source",
    "type",
    "description",
    "cycle",
    "request_id",
    "detail",
    "rules_sha256",
)
