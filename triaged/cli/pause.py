"""``triaged pause`` and ``resume``: stop dismissing, and start again."""

import click

from triaged.cli.control import describe, insist, login_name, open_control, whose
from triaged.cli.options import LEDGER_OPTIONS, with_settings
from triaged.cli.output import echo
from triaged.clock import SystemClock
from triaged.ledger.flags import FlagName
from triaged.settings import Settings


@click.command
@click.option("--note", default="", metavar="T", help="Why; shown with the status.")
@with_settings(*LEDGER_OPTIONS)
def pause(*, settings: Settings, note: str) -> None:
    """Set the flag that every dismissal checks before it is sent."""
    now = SystemClock().now()
    with open_control(settings) as ledger:
        new = insist(
            settings,
            lambda: ledger.flags.set(
                FlagName.PAUSED, reason=note.strip(), by=login_name(), at=now
            ),
        )
        flag = ledger.flags.get(FlagName.PAUSED)
        where = whose(ledger, settings)
    echo("Dismissing is paused; triaged resume ends it." if new else "Still paused.")
    if flag is not None:
        echo(describe(flag))
    echo(where)


@click.command
@with_settings(*LEDGER_OPTIONS)
def resume(*, settings: Settings) -> None:
    """Clear the flag again."""
    with open_control(settings) as ledger:
        was = insist(settings, lambda: ledger.flags.clear(FlagName.PAUSED))
        where = whose(ledger, settings)
    echo("Dismissing resumed." if was else "It was not paused.")
    echo(where)
