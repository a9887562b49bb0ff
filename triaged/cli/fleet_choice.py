"""Which workspaces of a fleet a command is for: by name, by labels, or all."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.each_workspace import run_for_each
from triaged.cli.fleet_use import Choice, FleetUse
from triaged.cli.output import notice
from triaged.errors import ConfigError
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import LoadedFleet, Rejection, settings_of
from triaged.leadlex.api_key import KeySource
from triaged.ledger import Ledger
from triaged.rulesfile.problems import suggest
from triaged.settings import Settings

_SHOWN: Final = 5


def run(
    command: Callable[..., Any],
    settings: Settings,
    given: Mapping[str, Any],
    choice: Choice,
    use: FleetUse,
) -> Any:  # noqa: ANN401 - whatever the command returns
    """Run a command for the chosen workspaces; raise if it is not clear which."""
    if sum(map(bool, (choice.name, choice.labels, choice.is_all))) > 1:
        raise click.UsageError("give one of --workspace, -l and --all")
    if use.is_listed and choice.is_all:
        # Without reading the fleet: an emergency stop must not depend on its files.
        return command(settings=settings, chosen=None, **given)
    if use is FleetUse.WHOLE and choice.name is None:
        return command(settings=settings, **given)
    fleet = load_fleet(fleet_directory(settings), os.environ)
    if not (choice.is_all or choice.labels):
        one = _choose_one(fleet, settings, choice.name, use)
        own = {"chosen": [one]} if use.is_listed else {}
        return command(settings=settings if own else one, **own, **given)
    chosen, code = _choose_several(fleet, settings, choice, use)
    if not use.is_listed:
        return run_for_each(command, chosen, given, code)
    command(settings=settings, chosen=chosen, **given)
    sys.exit(code)


def _choose_several(
    fleet: LoadedFleet, settings: Settings, choice: Choice, use: FleetUse
) -> tuple[list[Settings], int]:
    """Return the settings of the chosen workspaces, by name, and an exit code.

    A daemon runs a workspace in its last good form while its entry is wrong, so it
    must not be missed without a word: the code then tells that some may be missing.

    Raises:
        UsageError: no workspace has the labels.
    """
    wanted = parse_labels(choice.labels)
    found = {
        each.name: settings_of(each, settings)
        for each in fleet.workspaces
        if has_labels(each.labels, wanted)
    }
    code = exit_codes.OK
    for rejection in fleet.rejections:
        labels, name = rejection.labels, rejection.name
        if labels is not None and not has_labels(labels, wanted):
            continue
        is_meant = labels is not None or not wanted or use is FleetUse.STOPPING
        if name is not None and is_meant and not use.needs_entry:
            found[name] = _of_ledger(settings, name, labels)
        else:
            code = exit_codes.CONFIG
        if name is None or labels is None or not use.is_listed:
            notice(_about(rejection, is_included=name in found, use=use))
    if not found:
        what = f" has {', '.join(choice.labels)}" if choice.labels else " can be used"
        why = f"no workspace in {settings.fleet}{what}"
        if code == exit_codes.OK:
            raise click.UsageError(why)
        notice(why)
        sys.exit(code)
    return [found[name] for name in sorted(found)], code


def _about(rejection: Rejection, *, is_included: bool, use: FleetUse) -> str:
    """Return what becomes of workspaces whose entry cannot be used, and why."""
    why = str(rejection.problems[0])
    if rejection.name is None:
        other = "triaged pause --all" if use is FleetUse.STOPPING else "--workspace"
        end = "" if use.needs_entry else f"; {other} reaches them"
        return f"workspaces without a readable name may be meant too{end}: {why}"
    if not is_included:
        return f"{rejection.name} is left out: {why}"
    if use.is_listed:
        return f"{rejection.name} is included, since it may be meant: {why}"
    return f"{rejection.name} is known from the ledger alone: {why}"


def _of_ledger(
    settings: Settings, name: str, labels: Mapping[str, str] | None = None
) -> Settings:
    """Return settings for commands that need nothing but the ledger."""
    return replace(
        settings,
        workspace=name,
        key=KeySource(),
        rules=(),
        fleet=None,
        is_of_fleet=True,
        labels=labels or {},
    )


def _choose_one(
    fleet: LoadedFleet, settings: Settings, name: str | None, use: FleetUse
) -> Settings:
    """Return the settings of the named workspace, or else of the only one.

    Raises:
        ConfigError: there is no such workspace, or its entry cannot be used.
        UsageError: none is named, and there are several.
    """
    if name is None:
        name = _only_name(fleet, settings)
    for each in fleet.workspaces:
        if each.name == name:
            return settings_of(each, settings)
    for rejection in fleet.rejections:
        if rejection.name == name:
            if use.needs_entry:
                raise ConfigError(rejection.problems)
            notice(_about(rejection, is_included=True, use=FleetUse.RECORDED))
            return _of_ledger(settings, name, rejection.labels)
    # Without an entry, it may be in a file that cannot be read, or be a former one.
    if not use.needs_entry and _has_run(settings, name):
        notice(f"no entry of {settings.fleet} names {name}; the ledger knows it")
        return _of_ledger(settings, name)
    hint = suggest(name, [each.name for each in fleet.workspaces])
    raise ConfigError.of_setting(
        "TRIAGED_WORKSPACE", f"there is no workspace {name!r} in {settings.fleet}{hint}"
    )


def _only_name(fleet: LoadedFleet, settings: Settings) -> str:
    """Return the name of the only workspace, whether its entry is usable or not."""
    names = [each.name for each in fleet.workspaces]
    rejected = [each.name for each in fleet.rejections]
    names += dict.fromkeys(filter(None, rejected))
    if len(names) == 1 and None not in rejected:
        return names[0]
    others = ", and others whose names cannot be read" if None in rejected else ""
    raise click.UsageError(
        f"{settings.fleet} describes {_several(names)}{others}; name one with"
        " --workspace (some commands also take -l and --all)"
    )


def _has_run(settings: Settings, name: str) -> bool:
    if not settings.ledger.may_exist():
        return False
    with Ledger.open(settings.ledger, workspace=name, create=False) as ledger:
        return name in ledger.workspaces()


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
    if len(names) == 1:
        return f"a workspace ({names[0]})"
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{len(names):,} workspaces ({', '.join(names[:_SHOWN])}{more})"
