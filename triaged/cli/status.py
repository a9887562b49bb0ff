"""``triaged status``: one screen from the ledger and the daemon's lock."""

import sys
import threading
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.fleet_use import FleetUse
from triaged.cli.options import (
    LEDGER_OPTIONS,
    QUOTA_OPTIONS,
    Format,
    with_format,
    with_settings,
)
from triaged.cli.output import echo, echo_json
from triaged.cli.status_report import no_ledger, read_status
from triaged.cli.status_screen import show_status
from triaged.cli.streams import flush_output
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.settings import Settings

_REDRAW_SECONDS: Final = 2.0
# Cursor home, then clear to the end: flickers less than clearing first.
_REDRAW: Final = "\x1b[H\x1b[J"


@click.command
@click.option("--watch", is_flag=True, help="Redraw every two seconds until Ctrl-C.")
@with_format
@with_settings(*QUOTA_OPTIONS, *LEDGER_OPTIONS, fleet=FleetUse.RECORDED)
def status(*, settings: Settings, watch: bool, form: Format) -> None:
    """Print the status, once or again and again."""
    try:
        while True:
            report = _read(settings)
            if watch and form is Format.TABLE and sys.stdout.isatty():
                sys.stdout.write(_REDRAW)
            if form is Format.JSON:
                echo_json(report)
            else:
                show_status(report)
            if not watch:
                break
            flush_output()
            threading.Event().wait(_REDRAW_SECONDS)
    except KeyboardInterrupt:
        echo("", error=True)
        sys.exit(exit_codes.OK)
    sys.exit(exit_codes.OK if report["healthy"] else exit_codes.FAILED)


def _read(settings: Settings) -> dict[str, Any]:
    if not settings.ledger.may_exist():
        return no_ledger(settings)
    with Ledger.open_existing(
        settings.ledger,
        workspace=settings.workspace,
        is_of_fleet=settings.is_of_fleet,
    ) as ledger:
        return read_status(ledger, settings, SystemClock())
