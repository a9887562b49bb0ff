"""``triaged veto``: keep one task from every rule."""

import click

from triaged.cli.options import LEDGER, with_settings
from triaged.cli.output import say
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.settings import Settings


@click.command
@click.argument("task_id")
@click.option("--lift", is_flag=True, help="Take the veto back.")
@with_settings(*LEDGER)
def veto(*, settings: Settings, task_id: str, lift: bool) -> None:
    """Keep one task: no rule may dismiss it, from now on."""
    if not task_id.strip():
        raise click.UsageError("the TASK_ID is empty; say which task to keep")
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        if lift:
            lifted = ledger.marks.lift_veto(task_id)
            again = "is judged by the rules again" if lifted else "had no veto"
            say(f"{task_id} {again}.")
            return
        new = ledger.marks.veto(task_id, at=SystemClock().now())
    say(f"{task_id} is kept{'' if new else ', as before'}.")
