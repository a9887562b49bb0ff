"""``triaged pause`` and ``resume``: stop dismissing, and start again."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import click

from triaged.cli.control import describe, insist, login_name, open_control, whose
from triaged.cli.fleet_use import FleetUse
from triaged.cli.options import LEDGER_OPTIONS, with_settings
from triaged.cli.output import echo, notice
from triaged.clock import SystemClock
from triaged.ledger.flags import FlagName
from triaged.ledger.opening import shared_databases
from triaged.settings import Settings

_SHOWN: Final = 5


@click.command
@click.option("--note", default="", metavar="T", help="Why; shown with the status.")
@with_settings(*LEDGER_OPTIONS, fleet=FleetUse.STOPPING)
def pause(*, settings: Settings, chosen: Sequence[Settings] | None, note: str) -> None:
    """Set the flag that every dismissal checks before it is sent."""
    _for_each(settings, chosen, partial(_pause, note=note))


@click.command
@with_settings(*LEDGER_OPTIONS, fleet=FleetUse.LISTED)
def resume(*, settings: Settings, chosen: Sequence[Settings] | None) -> None:
    """Clear the flag again."""
    _for_each(settings, chosen, _resume)


def _for_each(
    settings: Settings, chosen: Sequence[Settings] | None, step: Callable[..., None]
) -> None:
    if chosen is None:
        step(settings, whole_fleet=True)
        return
    with shared_databases():
        for one in chosen:
            if len(chosen) > 1:
                echo(one.workspace, bold=True)
            step(one)


def _pause(settings: Settings, *, note: str, whole_fleet: bool = False) -> None:
    now = SystemClock().now()
    with open_control(settings, whole_fleet=whole_fleet) as ledger:
        new = insist(
            settings,
            lambda: ledger.flags.set(
                FlagName.PAUSED, reason=note.strip(), by=login_name(), at=now
            ),
        )
        flag = ledger.flags.get(FlagName.PAUSED)
        where = whose(ledger, settings)
    end = "triaged resume --all" if whole_fleet else "triaged resume"
    echo(f"Dismissing is paused; {end} ends it." if new else "Still paused.")
    if flag is not None:
        echo(describe(flag))
    echo(where)


def _resume(settings: Settings, *, whole_fleet: bool = False) -> None:
    with open_control(settings, whole_fleet=whole_fleet) as ledger:
        was = insist(settings, lambda: ledger.flags.clear(FlagName.PAUSED))
        where = whose(ledger, settings)
        left = ledger.flags.get(FlagName.PAUSED)
        others = sorted(ledger.fleet_views().flags().paused) if whole_fleet else []
    echo("Dismissing resumed." if was else "It was not paused.")
    if left is not None:
        notice(
            "the whole fleet is paused, so nothing is dismissed until"
            " triaged resume --all"
        )
    if others:
        listed = ", ".join(others[:_SHOWN])
        more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
        notice(f"paused by themselves, and still so: {listed}{more}")
    echo(where)
