"""``triaged completion``: click's own completion scripts."""

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from triaged.cli.output import echo

_SHELLS: Final = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(*, shell: str) -> None:
    """Print the script for one shell."""
    root = click.get_current_context().find_root().command
    echo(_SHELLS[shell](root, {}, "triaged", "_TRIAGED_COMPLETE").source())
