"""``triaged check`` and ``triaged schema``: rules files before they act."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from triaged.cli import exits
from triaged.cli.options import RULES, Format, with_format, with_settings
from triaged.clock import SystemClock
from triaged.errors import ConfigError, Problem, Severity
from triaged.render import say
from triaged.rulefile import rule_tests
from triaged.rulefile.load import LoadedRules, load
from triaged.rulefile.mutants import mutants
from triaged.rulefile.rule_tests import TestReport
from triaged.rulefile.schema import json_schema
from triaged.rules import compile_rules, test_rules
from triaged.settings import Settings


@click.command
@click.argument(
    "files", metavar="[RULES]...", nargs=-1, type=click.Path(path_type=Path)
)
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option(
    "--mutate",
    is_flag=True,
    help="Loosen each condition in turn; warn where no test in the file notices.",
)
@with_format
@with_settings(*RULES)
def check(
    *,
    settings: Settings,
    files: tuple[Path, ...],
    strict: bool,
    mutate: bool,
    form: Format,
) -> None:
    """Validate rules files and run the tests in them."""
    now = SystemClock().now()
    problems: list[Problem] = []
    reports: list[tuple[str, TestReport]] = []
    for path in files or [settings.rules]:
        try:
            loaded: LoadedRules = load(path)
        except ConfigError as error:
            problems += error.problems
            continue
        problems += loaded.warnings
        report = test_rules(loaded, compile_rules(loaded), now=now)
        reports.append((loaded.file, report))
        if mutate and not report.failures:
            problems += _survivors(loaded, now)
        if form is Format.TABLE:
            _say_loaded(loaded, report)
    if form is Format.JSON:
        say(json.dumps(_as_json(problems, reports), indent=2, ensure_ascii=False))
    else:
        _say_problems(problems, reports)
    sys.exit(_code(problems, reports, strict=strict))


@click.command
def schema() -> None:
    """Print the JSON Schema of the rules file, for editors."""
    say(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _survivors(loaded: LoadedRules, now: datetime) -> list[Problem]:
    """Warn of each condition that could be dropped with all tests staying green."""
    found = []
    for mutant in mutants(loaded.ruleset):
        report = rule_tests.run_tests(loaded.tests, mutant.ruleset, now=now)
        if not report.failures:
            advice = "add a test of a task that lacks only this, and expect it to stay"
            message = f"no test notices without {mutant.dropped}; {advice}"
            path = f"rule {mutant.rule}"
            found.append(Problem(loaded.file, 0, 0, path, message, Severity.WARNING))
    return found


def _code(
    problems: Sequence[Problem],
    reports: Sequence[tuple[str, TestReport]],
    *,
    strict: bool,
) -> int:
    if any(problem.severity == "error" for problem in problems):
        return exits.CONFIG
    if any(report.failures for _, report in reports):
        return exits.TESTS_FAILED
    return exits.CONFIG if strict and problems else exits.DONE


def _say_loaded(loaded: LoadedRules, report: TestReport) -> None:
    rules, tests = len(loaded.ruleset.rules), report.passed + len(report.failures)
    say(
        f"{loaded.file}: {rules} {'rule' if rules == 1 else 'rules'},"
        f" {report.passed} of {tests} {'test' if tests == 1 else 'tests'} passed"
    )


def _say_problems(
    problems: Sequence[Problem], reports: Sequence[tuple[str, TestReport]]
) -> None:
    for problem in problems:
        say(str(problem))
    for file, report in reports:
        for failure in report.failures:
            say(f"{file}:{failure.line}: {failure}")


def _as_json(
    problems: Sequence[Problem], reports: Sequence[tuple[str, TestReport]]
) -> dict[str, Any]:
    return {
        "problems": [
            {
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "path": problem.path,
                "message": problem.message,
                "severity": problem.severity,
            }
            for problem in problems
        ],
        "tests": {
            "passed": sum(report.passed for _, report in reports),
            "failed": sum(len(report.failures) for _, report in reports),
            "failures": [
                {
                    "file": file,
                    "line": failure.line,
                    "test": failure.test,
                    "expected": failure.expected,
                    "got": failure.got,
                }
                for file, report in reports
                for failure in report.failures
            ],
        },
    }
