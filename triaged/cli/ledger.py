"""``triaged ledger``: make, upgrade and copy a ledger in PostgreSQL."""

from pathlib import Path

import click

from triaged.cli.options import Parsed, with_settings
from triaged.cli.output import echo
from triaged.clock import SystemClock
from triaged.errors import ConfigError
from triaged.ledger.location import LedgerLocation, parse_ledger_url
from triaged.settings import Settings


def _place(text: str) -> LedgerLocation:
    """Return a state directory, or a database; a URL with a password is not shown."""
    if "://" not in text:
        return LedgerLocation(Path(text))
    return LedgerLocation(Path(), parse_ledger_url(text))


@click.group
def ledger() -> None:
    """Stand for the commands on whole ledgers."""


@ledger.command(
    help="Make the tables in the database of TRIAGED_LEDGER_URL, as their owner.\n\n"
    "They stand in a schema of their own, triaged. Tables that are there stay."
)
@click.option(
    "--grant",
    metavar="ROLE",
    help="Give this role the rights of a daemon: it reads and writes rows, no more.",
)
@with_settings("ledger_url")
def init(*, settings: Settings, grant: str | None) -> None:
    """Make the tables, and grant a role its rights."""
    from triaged.ledger.opening import prepare_postgres  # noqa: PLC0415 - rare

    done = prepare_postgres(_url(settings), create=True, role=grant)
    if done.before == 0:
        echo(f"{done.location}: a ledger of version {done.after} is ready.")
    else:
        echo(f"{done.location}: there is a ledger already, of version {done.after}.")
    if grant is not None:
        echo(f"The role {grant} may read and write its rows.")


@ledger.command(
    help="Bring the tables to the version of this program, as their owner.\n\n"
    "Run it before the new daemons start: those of the version before can go on"
    " meanwhile, so one after the other may be replaced."
)
@click.option(
    "--grant", metavar="ROLE", help="Give this role the rights to new tables too."
)
@with_settings("ledger_url")
def upgrade(*, settings: Settings, grant: str | None) -> None:
    """Add what newer versions need."""
    from triaged.ledger.opening import prepare_postgres  # noqa: PLC0415 - rare

    done = prepare_postgres(_url(settings), create=False, role=grant)
    if done.after > done.known:
        echo(
            f"{done.location}: of version {done.after}, which is newer than this"
            f" program's version {done.known}; its tables were not changed."
        )
    elif done.before == done.after:
        echo(f"{done.location}: already of version {done.after}.")
    else:
        echo(f"{done.location}: from version {done.before} to {done.after}.")


@ledger.command(
    help="Copy a whole ledger: SQLite to PostgreSQL, or back.\n\n"
    "FROM and TO are a state directory or a postgresql:// URL. The target must be"
    " empty. It all happens in one transaction, in which each row is read back and"
    " compared; stop the daemons first."
)
@click.argument("source", metavar="FROM", type=Parsed(_place))
@click.argument("target", metavar="TO", type=Parsed(_place))
def copy(*, source: LedgerLocation, target: LedgerLocation) -> None:
    """Copy all rows of all workspaces, and compare them."""
    from triaged.ledger.copying import copy_ledger  # noqa: PLC0415 - rare

    if str(source) == str(target):
        raise click.UsageError("FROM and TO are the same place")
    done = copy_ledger(source, target, now=SystemClock().now())
    for table, rows in done.rows.items():
        if rows:
            echo(f"{rows:>10,}  {table}")
    echo(f"{done.total:>10,}  rows copied from {source} to {target}, and compared")


def _url(settings: Settings) -> str:
    if settings.ledger_url is None:
        raise ConfigError.of_setting(
            "TRIAGED_LEDGER_URL",
            "say where: a URL such as postgresql://triaged@db.example/triaged",
        )
    return settings.ledger_url
