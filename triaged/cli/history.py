"""``triaged history``: the ledger, for people and for scripts."""

import csv
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import click

from triaged.cli.control import open_ledger
from triaged.cli.fleet_use import FleetUse
from triaged.cli.options import (
    CALL_OPTIONS,
    EnumChoice,
    Format,
    with_format_of,
    with_settings,
)
from triaged.cli.output import count_of, echo, echo_json, notice, print_table, truncate
from triaged.cli.task_ids import expand, printable, shorten, unknown_id
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome
from triaged.rules.duration import parse_duration
from triaged.rules.task import parse_timestamp
from triaged.settings import Settings
from triaged.text import escape_unprintable

# The fields of a dismissal as JSON and CSV, in their order.
_FIELDS: Final[Mapping[str, Callable[[DismissalRecord], object]]] = {
    "task_id": lambda entry: entry.task_id,
    "rule": lambda entry: entry.rule,
    "reason": lambda entry: entry.reason,
    # An intent without an outcome is unknown.
    "outcome": lambda entry: entry.outcome or Outcome.UNKNOWN,
    "decided_at": lambda entry: entry.decided_at.isoformat(),
    "settled_at": lambda entry: (
        entry.resolved_at.isoformat() if entry.resolved_at else None
    ),
    "source": lambda entry: entry.source,
    "type": lambda entry: entry.task.get("type"),
    "description": lambda entry: entry.task.get("description"),
    "cycle": lambda entry: entry.cycle,
    "request_id": lambda entry: entry.request_id,
    "detail": lambda entry: entry.detail,
    "rules_sha256": lambda entry: entry.rules_sha256,
}


@click.command
@click.option("--since", metavar="D", help="A duration such as 24h, or a timestamp.")
@click.option("--task", metavar="ID", help="Only this task: its id or a unique prefix.")
@click.option("--rule", metavar="R", help="Only what this rule wanted.")
@click.option("--reason", metavar="R", help="Only this reason code.")
@click.option("--outcome", type=EnumChoice(Outcome), help="Only this outcome.")
@click.option(
    "--observed",
    is_flag=True,
    help="Instead: what observing rules, dry runs and audits would have dismissed.",
)
@click.option("--held", is_flag=True, help="Instead: what is on hold, and until when.")
@click.option(
    "--agreement",
    is_flag=True,
    help="Instead: what people did with what rules only observed; up to four API"
    " calls, not repeated within 15 minutes.",
)
@click.option(
    "--refresh", is_flag=True, help="With --agreement: ask the API in any case."
)
@with_format_of(Format.TABLE, Format.JSON, Format.CSV)
@with_settings(*CALL_OPTIONS, fleet=FleetUse.RECORDED)
def history(
    *,
    settings: Settings,
    since: str | None,
    task: str | None,
    rule: str | None,
    reason: str | None,
    outcome: Outcome | None,
    observed: bool,
    held: bool,
    agreement: bool,
    refresh: bool,
    form: Format,
) -> None:
    """Show what was dismissed, by which rule or person, and the outcome."""
    if observed + held + agreement > 1:
        raise click.UsageError("give one of --observed, --held and --agreement")
    if refresh and not agreement:
        raise click.UsageError("--refresh goes with --agreement")
    if held or agreement:
        if form is Format.CSV or any((since, task, rule, reason, outcome)):
            raise click.UsageError(
                "--held and --agreement show everything, as a table or as JSON;"
                " drop the other flags"
            )
        _show_apart(settings, form, agreement=agreement, refresh=refresh)
        return
    if observed and outcome:
        raise click.UsageError("what was only observed has no --outcome")
    moment = _parse_since(since)
    if not settings.ledger.may_exist():
        notice(f"no ledger in {settings.state_dir} yet")
        _print_nothing(form, observed=observed)
        return
    with open_ledger(settings) as ledger:
        task_id = None if task is None else _whole_id(task, ledger)
        if observed:
            _show_observed(
                ledger, form, since=moment, task_id=task_id, rule=rule, reason=reason
            )
            return
        wanted = DismissalFilter(
            since=moment, task_id=task_id, rule=rule, reason=reason, outcome=outcome
        )
        entries = ledger.dismissals.query(wanted)
        rows = [{name: of(entry) for name, of in _FIELDS.items()} for entry in entries]
        _print(rows, form, _FIELDS, lambda: _show(entries, ledger))


def _show_apart(
    settings: Settings, form: Format, *, agreement: bool, refresh: bool
) -> None:
    """Show the views that need more modules, imported here for a faster start."""
    as_json = form is Format.JSON
    if agreement:
        from triaged.cli.history_agreement import show_agreement  # noqa: PLC0415

        sys.exit(show_agreement(settings, as_json=as_json, refresh=refresh))
    from triaged.cli.history_holds import show_held  # noqa: PLC0415

    show_held(settings, as_json=as_json)


def _print_nothing(form: Format, *, observed: bool) -> None:
    from triaged.cli import history_observed  # noqa: PLC0415 - starts are faster

    columns: Collection[str] = history_observed.COLUMNS if observed else _FIELDS
    what = "observations" if observed else "dismissals"
    _print([], form, columns, lambda: echo(f"0 {what}."))


def _show_observed(
    ledger: Ledger, form: Format, *, since: datetime | None, **wanted: str | None
) -> None:
    from triaged.cli import history_observed  # noqa: PLC0415 - starts are faster

    rows = history_observed.observed_rows(ledger, since=since, **wanted)
    show = partial(history_observed.show_observed, rows, ledger)
    _print(rows, form, history_observed.COLUMNS, show)


def _whole_id(typed: str, ledger: Ledger) -> str:
    found = expand(typed, ledger.task_ids)
    if found is None:
        why = unknown_id(typed, ledger.task_ids, "the ledger")
        notice(why)
    return found or typed


def _print(
    rows: Sequence[dict[str, Any]],
    form: Format,
    columns: Collection[str],
    as_table: Callable[[], None],
) -> None:
    if form is Format.JSON:
        echo_json(rows)
    elif form is Format.CSV:
        _write_csv(rows, columns)
    else:
        as_table()


def _parse_since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return SystemClock().now() - parse_duration(text)
    except (ValueError, OverflowError):
        moment = parse_timestamp(text)
    if moment is None:
        raise click.BadParameter(
            f"expected a duration such as 24h or 7d, or a timestamp such as"
            f" 2026-03-01T00:00:00Z, found {text!r}",
            param_hint="--since",
        )
    return moment


def _write_csv(rows: Sequence[dict[str, Any]], columns: Collection[str]) -> None:
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(row[name]) for name in columns})


def _cell(value: object) -> str:
    """Format a CSV cell so that a spreadsheet does not treat it as a formula."""
    text = "" if value is None else escape_unprintable(str(value))
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _show(entries: Sequence[DismissalRecord], ledger: Ledger) -> None:
    ids = shorten([entry.task_id for entry in entries], ledger.task_ids)
    rows = [
        (
            f"{entry.decided_at:%Y-%m-%d %H:%M:%S}",
            printable(ids[entry.task_id]),
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
        print_table(headings, rows)
    echo(f"{count_of(len(rows), 'dismissal')}.")
