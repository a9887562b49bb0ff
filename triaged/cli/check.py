"""``triaged check``: validate and test rules and fleets before they are used."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from triaged.cli import exit_codes
from triaged.cli.check_result import (
    CheckResult,
    print_findings,
    print_summary,
    result_to_json,
)
from triaged.cli.options import Format, with_format, with_settings
from triaged.cli.output import echo, echo_json
from triaged.clock import SystemClock
from triaged.errors import ConfigError
from triaged.fleet.files import is_fleet_file
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import LoadedFleet
from triaged.rules.describe import rule_to_json, rule_to_sentence
from triaged.rulesfile.loader import LoadedRules, compile_rules, load, run_rule_tests
from triaged.rulesfile.problems import quote_for_message, suggest
from triaged.settings import Settings
from triaged.text import escape_unprintable


@click.command
@click.argument(
    "files",
    metavar="[RULES | FLEET_DIR]...",
    nargs=-1,
    type=click.Path(path_type=Path),
)
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option(
    "--mutate",
    is_flag=True,
    help="Loosen each condition in turn; print the test to add where none notices.",
)
@click.option(
    "--explain-rule", metavar="NAME", help="Print the rule as a sentence, and end."
)
@click.option("-v", "--verbose", is_flag=True, help="Print notes too.")
@with_format
@with_settings("rules", "fleet")
def check(
    *,
    settings: Settings,
    files: tuple[Path, ...],
    strict: bool,
    mutate: bool,
    explain_rule: str | None,
    verbose: bool,
    form: Format,
) -> None:
    """Validate rules files and run the tests in them; of a fleet, check all of it."""
    subject = _subject(files, settings)
    if explain_rule is not None:
        _explain_rule(explain_rule, subject.rules, form)
        return
    clock = SystemClock()
    now = clock.now()
    checked = CheckResult(fleets=subject.fleets)
    for fleet in subject.fleets:
        checked.problems += fleet.problems
    for paths in subject.rules:
        try:
            loaded: LoadedRules = load(*paths)
        except ConfigError as error:
            checked.problems += error.problems
            checked.unusable.add(paths)
            continue
        checked.problems += loaded.warnings
        report = run_rule_tests(loaded, compile_rules(loaded), now=now)
        checked.reports.append((loaded.file, report))
        if report.failures:
            checked.unusable.add(paths)
        elif mutate:
            checked.add_survivors(loaded, clock)
        checked.rules += len(loaded.ruleset.rules)
    # Workspaces share files, and with them their problems.
    checked.problems = list(dict.fromkeys(checked.problems))
    code = _code(checked, strict=strict)
    if form is Format.JSON:
        echo_json(result_to_json(checked))
    else:
        print_findings(checked, verbose=verbose)
        if subject.is_default and not settings.rules[0].exists():
            echo("triaged init writes a rules file to start with")
        print_summary(checked, subject.paths, code)
    sys.exit(code)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is to be checked: fleets, and the rules files that are used together.

    ``paths`` are as given. ``is_default`` if nothing was given, and no fleet is set.
    """

    paths: tuple[Path, ...]
    fleets: tuple[LoadedFleet, ...]
    rules: tuple[tuple[Path, ...], ...]
    is_default: bool


def _subject(files: tuple[Path, ...], settings: Settings) -> _Subject:
    if not files and settings.fleet is None:
        return _Subject(settings.rules, (), (settings.rules,), is_default=True)
    paths = files or (settings.fleet or Path(),)
    fleets: list[LoadedFleet] = []
    together: list[tuple[Path, ...]] = []
    for path in paths:
        if path.is_dir() or not files:
            fleet = load_fleet(path, os.environ)
            fleets.append(fleet)
            together += fleet.rules
        elif is_fleet_file(path.name):
            raise click.UsageError(
                f"{path} is a fleet file; check its directory:"
                f" triaged check {path.parent}"
            )
        else:
            together.append((path,))
    return _Subject(paths, tuple(fleets), tuple(together), is_default=False)


def _explain_rule(
    name: str, together: Sequence[tuple[Path, ...]], form: Format
) -> None:
    """Print the rule with this name from the first of the files that has it."""
    known: list[str] = []
    for paths in together:
        try:
            ruleset = load(*paths).ruleset
        except ConfigError as error:
            for problem in error.problems:
                echo(str(problem))
            sys.exit(exit_codes.CONFIG)
        if (rule := ruleset.rule(name)) is not None:
            sentence = rule_to_sentence(rule)
            if form is Format.JSON:
                echo_json({"rule": rule_to_json(rule), "sentence": sentence})
            else:
                echo(escape_unprintable(sentence))
            return
        known += [rule.name for rule in ruleset.rules]
    unknown = f"unknown rule {quote_for_message(name)}{suggest(name, known)}"
    raise click.BadParameter(unknown, param_hint="--explain-rule")


def _code(checked: CheckResult, *, strict: bool) -> int:
    if any(problem.severity == "error" for problem in checked.problems):
        return exit_codes.CONFIG
    if any(report.failures for _, report in checked.reports):
        return exit_codes.TESTS_FAILED
    return exit_codes.CONFIG if strict and checked.problems else exit_codes.OK
