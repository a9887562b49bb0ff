"""The one question before what cannot be undone."""

import signal
import sys

import click

from triaged.cli.output import echo
from triaged.cli.streams import flush_output


def confirm(question: str) -> bool:
    """Ask; anything but a yes is a no, Ctrl-C and Ctrl-D too.

    Raises:
        click.UsageError: there is no terminal and no answer.
    """
    # What the question is about comes first, also where a pipe buffers it.
    flush_output()
    # asyncio's own handler would keep Ctrl-C from us until the line is ended.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yes = click.confirm(question, err=True)
    except click.Abort:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "no answer, so nothing was dismissed; scripts use --yes"
            ) from None
        echo("", error=True)
        yes = False
    finally:
        signal.signal(signal.SIGINT, handler)
    if not yes:
        echo("Nothing was dismissed.")
    return yes
