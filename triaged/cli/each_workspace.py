"""Runs a command for several workspaces of a fleet, one after the other."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from triaged.cli import exit_codes
from triaged.cli.output import collected_json, echo, echo_json
from triaged.settings import Settings


def run_for_each(
    command: Callable[..., Any],
    workspaces: Sequence[Settings],
    given: Mapping[str, Any],
) -> None:
    """Run the command for each; JSON is one object, with a value for each workspace.

    The exit code is that of the first which did not end with 0.

    Raises:
        UsageError: what the command prints, or how long it runs, is for one workspace.
    """
    if str(given.get("form")) == "csv" or given.get("watch"):
        flag = "--watch" if given.get("watch") else "csv"
        raise click.UsageError(f"{flag} is for one workspace: give --workspace")
    code = exit_codes.OK
    documents: dict[str, Any] = {}
    is_json = str(given.get("form")) == "json"
    for number, settings in enumerate(workspaces):
        if not is_json:
            gap = "\n" if number else ""
            echo(f"{gap}{settings.workspace}", bold=True)
        with collected_json() as printed:
            one = _code_of(command, settings, given)
        code = code or one
        documents[settings.workspace] = printed[0] if printed else None
    if is_json:
        echo_json(documents)
    sys.exit(code)


def _code_of(
    command: Callable[..., Any], settings: Settings, given: Mapping[str, Any]
) -> int:
    try:
        command(settings=settings, **given)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return exit_codes.OK
