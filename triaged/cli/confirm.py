"""Asks for confirmation before irreversible actions."""

import signal
import sys

import click

from triaged.cli.output import echo
from triaged.cli.streams import flush_output


def confirm(question: str) -> bool:
    """Ask for confirmation; anything but yes is a no, including Ctrl-C and Ctrl-D.

    Raise a ``UsageError`` if there is neither a terminal nor input.
    """
    # What the question is about comes first, also where a pipe buffers it.
    flush_output()
    # asyncio's own handler would delay Ctrl-C until the line is complete.
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
