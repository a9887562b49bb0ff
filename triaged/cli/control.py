"""``triaged veto``, ``pause`` and ``resume``: a person's word over the rules."""

import click

from triaged.cli.options import LEDGER, with_settings
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.ledger.marks import MarkName
from triaged.render import say
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


@click.command
@click.option("--note", default="", help="Why, for whoever reads the status page.")
@with_settings(*LEDGER)
def pause(*, settings: Settings, note: str) -> None:
    """Stop dismissing, at once and over restarts; deciding goes on."""
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        new = ledger.marks.put(MarkName.PAUSED, note=note, at=SystemClock().now())
    say(f"Dismissing is paused{'' if new else ', as before'}; triaged resume ends it.")


@click.command
@with_settings(*LEDGER)
def resume(*, settings: Settings) -> None:
    """Dismiss again after a pause."""
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        was = ledger.marks.remove(MarkName.PAUSED)
    say("Dismissing goes on." if was else "It was not paused.")
