"""``triaged completion``: click's own completion scripts."""

import click
from click.shell_completion import get_completion_class

from triaged.cli.output import echo

_SHELLS = ("bash", "zsh", "fish")


@click.command
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(*, shell: str) -> None:
    """Print the script for one shell."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click knows no {shell}")
    root = click.get_current_context().find_root().command
    echo(found(root, {}, "triaged", "_TRIAGED_COMPLETE").source())
