"""``triaged veto``: keep single tasks from every rule."""

from collections.abc import Sequence

import click

from triaged.cli.control import insist, login_name, open_control, whose
from triaged.cli.fleet_use import FleetUse
from triaged.cli.options import (
    LEDGER_OPTIONS,
    Format,
    with_format,
    with_settings,
)
from triaged.cli.output import echo, echo_json, notice, print_table
from triaged.cli.task_ids import expand, lookup_in, printable, shorten, unknown_id
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.ledger.vetoes import Veto
from triaged.settings import Settings


@click.command
@click.argument("task_id", required=False)
@click.option("--remove", is_flag=True, help="Remove the veto of TASK_ID.")
@click.option("--list", "listing", is_flag=True, help="Show every veto.")
@with_format
@with_settings(*LEDGER_OPTIONS, fleet=FleetUse.RECORDED)
def veto(
    *,
    settings: Settings,
    task_id: str | None,
    remove: bool,
    listing: bool,
    form: Format,
) -> None:
    """Add, remove or list vetoes."""
    typed = (task_id or "").strip()
    if listing and (task_id is not None or remove):
        raise click.UsageError("--list shows every veto; drop the other arguments")
    if not listing and not typed:
        raise click.UsageError("Missing argument 'TASK_ID': which task to keep")
    with open_control(settings) as ledger:
        if listing:
            _show(ledger.vetoes.all(), ledger, form)
        elif remove:
            _remove(ledger, settings, typed)
        else:
            _add(ledger, settings, typed)


def _add(ledger: Ledger, settings: Settings, typed: str) -> None:
    found = expand(typed, ledger.task_ids)
    if found is None:
        where = f"the ledger of workspace {ledger.workspace} so far"
        notice(unknown_id(typed, ledger.task_ids, where))
    task_id = found or typed
    now = SystemClock().now()
    new = insist(settings, lambda: ledger.vetoes.add(task_id, by=login_name(), at=now))
    gone = ledger.dismissals.query(
        DismissalFilter(task_id=task_id, outcome=Outcome.CONFIRMED, last=1)
    )
    if gone:
        at = f"{gone[0].decided_at:%Y-%m-%d %H:%M} UTC"
        notice(f"{task_id} was dismissed already, at {at}")
    echo(f"{task_id} is vetoed." if new else f"{task_id} was already vetoed.")
    echo(whose(ledger, settings))


def _remove(ledger: Ledger, settings: Settings, typed: str) -> None:
    vetoed = lookup_in(ledger.vetoes.task_ids())
    task_id = expand(typed, vetoed) or typed
    removed = insist(settings, lambda: ledger.vetoes.remove(task_id))
    if removed:
        echo(f"{task_id} is no longer vetoed.")
    else:
        notice(unknown_id(typed, vetoed, "the vetoes"))
        echo(f"{task_id} had no veto.")
    echo(whose(ledger, settings))


def _show(vetoes: Sequence[Veto], ledger: Ledger, form: Format) -> None:
    if form is Format.JSON:
        echo_json(
            [
                {
                    "task_id": one.task_id,
                    "by": one.set_by or None,
                    "since": one.since.isoformat(),
                }
                for one in vetoes
            ]
        )
        return
    ids = shorten([one.task_id for one in vetoes], ledger.task_ids)
    if vetoes:
        print_table(
            ("task", "vetoed (UTC)", "by"),
            [
                (
                    printable(ids[one.task_id]),
                    f"{one.since:%Y-%m-%d %H:%M}",
                    one.set_by or "—",
                )
                for one in vetoes
            ],
        )
    echo(f"{len(vetoes)} vetoed.")
