"""``triaged veto``: keep one task from every rule."""

import click

from triaged.cli.options import LEDGER_OPTIONS, with_settings
from triaged.cli.output import echo
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.settings import Settings


@click.command
@click.argument("task_id")
@click.option("--remove", is_flag=True, help="Take the veto back.")
@with_settings(*LEDGER_OPTIONS)
def veto(*, settings: Settings, task_id: str, remove: bool) -> None:
    """Keep one task: no rule may dismiss it, from now on."""
    if not task_id.strip():
        raise click.UsageError("the TASK_ID is empty; say which task to keep")
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        if remove:
            removed = ledger.flags.remove_veto(task_id)
            again = "is judged by the rules again" if removed else "had no veto"
            echo(f"{task_id} {again}.")
            return
        new = ledger.flags.veto(task_id, at=SystemClock().now())
    echo(f"{task_id} is kept{'' if new else ', as before'}.")
