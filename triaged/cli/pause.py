"""``triaged veto``, ``pause`` and ``resume``: a person's word over the rules."""

import click

from triaged.cli.options import LEDGER_OPTIONS, with_settings
from triaged.cli.output import echo
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.settings import Settings


@click.command
@click.option("--note", default="", help="Why, for whoever reads the status page.")
@with_settings(*LEDGER_OPTIONS)
def pause(*, settings: Settings, note: str) -> None:
    """Stop dismissing, at once and over restarts; deciding goes on."""
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        new = ledger.flags.set(FlagName.PAUSED, note=note, at=SystemClock().now())
    echo(f"Dismissing is paused{'' if new else ', as before'}; triaged resume ends it.")


@click.command
@with_settings(*LEDGER_OPTIONS)
def resume(*, settings: Settings) -> None:
    """Dismiss again after a pause."""
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        was = ledger.flags.clear(FlagName.PAUSED)
    echo("Dismissing goes on." if was else "It was not paused.")
