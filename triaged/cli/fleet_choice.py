"""Which workspaces of a fleet a command is for: by name, by labels, or all."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.options import FleetUse
from triaged.cli.output import collected_json, echo, echo_json
from triaged.errors import ConfigError
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import FleetWorkspace, LoadedFleet, settings_of
from triaged.ledger import Ledger
from triaged.rulesfile.problems import suggest
from triaged.settings import Settings

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """What was given: a name, labels that all have to be there, or ``--all``."""

    name: str | None = None
    labels: tuple[str, ...] = ()
    is_all: bool = False


def run(
    command: Callable[..., Any],
    settings: Settings,
    given: Mapping[str, Any],
    choice: Choice,
    use: FleetUse,
) -> Any:  # noqa: ANN401 - whatever the command returns
    """Run a command for the chosen workspaces, or raise as ``choose`` does."""
    if sum(map(bool, (choice.name, choice.labels, choice.is_all))) > 1:
        raise click.UsageError("give one of --workspace, -l and --all")
    if use is FleetUse.LISTED and choice.is_all:
        # Without reading the fleet: an emergency stop must not depend on its files.
        return command(settings=settings, chosen=None, **given)
    if use is FleetUse.WHOLE and choice.name is None:
        return command(settings=settings, **given)
    if use is FleetUse.LISTED:
        chosen = _choose_to_control(settings, choice)
        return command(settings=settings, chosen=chosen, **given)
    chosen = choose(settings, choice)
    if choice.is_all or choice.labels:
        return _run_for_each(command, chosen, given)
    (one,) = chosen
    return command(settings=one, **given)


def _run_for_each(
    command: Callable[..., Any],
    workspaces: Sequence[Settings],
    given: Mapping[str, Any],
) -> None:
    """Run the command for each; JSON is one object, with a value for each workspace.

    The exit code is that of the first which did not end with 0.
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
            try:
                command(settings=settings, **given)
            except SystemExit as end:
                code = code or exit_codes.code_of_end(end)
        documents[settings.workspace] = printed[0] if printed else None
    if is_json:
        echo_json(documents)
    sys.exit(code)


def _choose_to_control(settings: Settings, choice: Choice) -> list[Settings]:
    """Return the settings of the chosen workspaces, for commands on the ledger alone.

    A daemon runs a workspace in its last good form while its file is wrong. It can be
    paused then too: its name is enough, and the ledger has to know it.
    """
    try:
        return choose(settings, choice)
    except ConfigError:
        if choice.name is None or not _has_run(settings, choice.name):
            raise
        return [replace(settings, workspace=choice.name, fleet=None, is_of_fleet=True)]


def _has_run(settings: Settings, name: str) -> bool:
    if not settings.ledger.may_exist():
        return False
    with Ledger.open(settings.ledger, workspace=name, create=False) as ledger:
        return name in ledger.workspaces()


def choose(settings: Settings, choice: Choice) -> list[Settings]:
    """Return the settings of the chosen workspaces, by name.

    Raises:
        ConfigError: there is no such workspace, or its file cannot be used.
        UsageError: none is named, or no workspace has the labels.
    """
    fleet = load_fleet(fleet_directory(settings), os.environ)
    found = sorted(_chosen(fleet, settings, choice), key=lambda each: each.name)
    return [settings_of(one, settings) for one in found]


def _chosen(
    fleet: LoadedFleet, settings: Settings, choice: Choice
) -> Iterable[FleetWorkspace]:
    if choice.is_all:
        return fleet.workspaces
    if choice.labels:
        wanted = parse_labels(choice.labels)
        found = [each for each in fleet.workspaces if has_labels(each.labels, wanted)]
        if not found:
            raise click.UsageError(
                f"no workspace in {settings.fleet} has {', '.join(choice.labels)}"
            )
        return found
    if choice.name is not None:
        return [_named(fleet, settings, choice.name)]
    if len(fleet.workspaces) == 1:
        return fleet.workspaces
    names = [each.name for each in fleet.workspaces]
    raise click.UsageError(
        f"{settings.fleet} describes {_several(names)}; name one with --workspace"
        " (some commands also take -l and --all)"
    )


def _named(fleet: LoadedFleet, settings: Settings, name: str) -> FleetWorkspace:
    for each in fleet.workspaces:
        if each.name == name:
            return each
    for rejection in fleet.rejections:
        if rejection.name == name:
            raise ConfigError(rejection.problems)
    hint = suggest(name, [each.name for each in fleet.workspaces])
    raise ConfigError.of_setting(
        "TRIAGED_WORKSPACE", f"there is no workspace {name!r} in {settings.fleet}{hint}"
    )


def parse_labels(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return the labels that were given as ``KEY=VALUE``."""
    labels = []
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            why = f"expected KEY=VALUE, found {text!r}"
            raise click.BadParameter(why, param_hint="-l")
        labels.append((key, value))
    return labels


def has_labels(labels: Mapping[str, str], wanted: Iterable[tuple[str, str]]) -> bool:
    """Return whether all wanted labels are there."""
    return all(labels.get(key) == value for key, value in wanted)


def fleet_directory(settings: Settings) -> Path:
    """Return the directory of the fleet's files; without one the usage is wrong."""
    if settings.fleet is None:
        raise click.UsageError("this needs a fleet: set TRIAGED_FLEET")
    return settings.fleet


def _several(names: Sequence[str]) -> str:
    if not names:
        return "no workspace that can be used"
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{len(names):,} workspaces ({', '.join(names[:_SHOWN])}{more})"
