"""Runs a command for several workspaces of a fleet, one after the other."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from triaged.cli import exit_codes
from triaged.cli.fleet_use import NotHere
from triaged.cli.output import collected_json, echo, echo_json, notice
from triaged.errors import LedgerError, TriagedError
from triaged.ledger.opening import shared_databases
from triaged.settings import Settings


def run_for_each(
    command: Callable[..., Any],
    workspaces: Sequence[Settings],
    given: Mapping[str, Any],
    code: int,
) -> None:
    """Run the command for each; JSON is one object, with a value for each workspace.

    What is wrong with one of them costs no other. The exit code is that of the first
    which did not end with 0, or else ``code``.
    """
    if str(given.get("form")) == "csv" or given.get("watch"):
        flag = "--watch" if given.get("watch") else "csv"
        raise click.UsageError(f"{flag} is for one workspace: give --workspace")
    codes: list[int] = []
    documents: dict[str, Any] = {}
    is_json = str(given.get("form")) == "json"
    with shared_databases():
        for number, settings in enumerate(workspaces):
            if not is_json:
                gap = "\n" if number else ""
                echo(f"{gap}{settings.workspace}", bold=True)
            with collected_json() as printed:
                codes.append(_run(command, settings, given))
            documents[settings.workspace] = printed[0] if printed else None
    if is_json:
        echo_json(documents)
    sys.exit(next(filter(None, codes), code))


def _run(
    command: Callable[..., Any], settings: Settings, given: Mapping[str, Any]
) -> int:
    """Run the command for one workspace; return its exit code."""
    try:
        command(settings=settings, **given)
    except SystemExit as end:
        return exit_codes.code_of_end(end)
    except LedgerError:
        raise  # It is the ledger of all.
    except TriagedError as error:
        notice(f"{settings.workspace}: {error}")
        return exit_codes.exit_code_for(error)
    except NotHere as error:
        notice(f"{settings.workspace}: {error.format_message()}")
        return error.exit_code
    return exit_codes.OK
