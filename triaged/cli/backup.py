"""``triaged backup``: a verified copy of the ledger, even while a daemon runs."""

from pathlib import Path

import click

from triaged.cli.fleet_use import FleetUse
from triaged.cli.options import LEDGER_OPTIONS, with_settings
from triaged.cli.output import echo
from triaged.ledger import backup as copies
from triaged.settings import Settings


@click.command
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Check FILE instead of writing it.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@with_settings(*LEDGER_OPTIONS, fleet=FleetUse.WHOLE)
def backup(*, settings: Settings, file: Path, verify: bool, overwrite: bool) -> None:
    """Copy the ledger, or verify a copy."""
    if verify and overwrite:
        raise click.UsageError("--verify writes nothing, so there is no --overwrite")
    if settings.ledger_url is not None and not verify:
        raise click.UsageError(
            "the ledger is in PostgreSQL: back it up with pg_dump, or copy it to a"
            " directory with triaged ledger copy"
        )
    if verify:
        found = copies.verify(file)
    else:
        found = copies.back_up(settings.state_dir, file, overwrite=overwrite)
    count = found.dismissals
    dismissals = "1 dismissal" if count == 1 else f"{count:,} dismissals"
    last = f", the last of {found.last_decided_at}" if found.last_decided_at else ""
    echo(f"{file}: a whole ledger of version {found.version} with {dismissals}{last}")
