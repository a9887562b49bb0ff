"""``triaged check`` and ``triaged schema``: rules files before they act."""

import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.options import RULES_OPTIONS, Format, with_format, with_settings
from triaged.cli.output import echo, echo_json
from triaged.clock import SystemClock
from triaged.errors import ConfigError, Problem, Severity
from triaged.rulesfile.lint.missing_tests import Killers, NewTest
from triaged.rulesfile.lint.mutation import Mutant, MutationRunner, mutants
from triaged.rulesfile.lint.overlaps import Overlap, find_overlaps
from triaged.rulesfile.loader import LoadedRules, compile_rules, load, run_rule_tests
from triaged.rulesfile.test_runner import TestReport
from triaged.settings import Settings

# A terminal shows so many overlaps; JSON has them all.
_MOST_NOTES: Final = 20
# Nobody adds more tests at a time; for more, check again.
_MOST_TESTS: Final = 500


@click.command
@click.argument(
    "files", metavar="[RULES]...", nargs=-1, type=click.Path(path_type=Path)
)
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option(
    "--mutate",
    is_flag=True,
    help="Loosen each condition in turn; print the test to add where none notices.",
)
@with_format
@with_settings(*RULES_OPTIONS)
def check(
    *,
    settings: Settings,
    files: tuple[Path, ...],
    strict: bool,
    mutate: bool,
    form: Format,
) -> None:
    """Validate rules files and run the tests in them; name rules that overlap."""
    now = SystemClock().now()
    checked = _Checked()
    for path in files or [settings.rules]:
        try:
            loaded: LoadedRules = load(path)
        except ConfigError as error:
            checked.problems += error.problems
            continue
        checked.problems += loaded.warnings
        report = run_rule_tests(loaded, compile_rules(loaded), now=now)
        checked.reports.append((loaded.file, report))
        if mutate and not report.failures:
            checked.add_survivors(loaded, now)
        checked.add_overlaps(loaded)
        if form is Format.TABLE:
            _say_loaded(loaded, report)
    if form is Format.JSON:
        echo_json(_as_json(checked))
    else:
        _say_problems(checked)
        _say_overlaps(checked)
    sys.exit(_code(checked, strict=strict))


@dataclass(slots=True)
class _Checked:
    """What was found in the files: ``wanted`` has the test that would mend a problem.

    Overlaps are no problems: the order of the rules settles them.
    """

    problems: list[Problem] = field(default_factory=list)
    reports: list[tuple[str, TestReport]] = field(default_factory=list)
    wanted: dict[Problem, NewTest] = field(default_factory=dict)
    overlaps: list[tuple[str, int, Overlap]] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)

    def add_survivors(self, loaded: LoadedRules, now: datetime) -> None:
        """Warn of each condition that could be dropped with all tests staying green."""
        trials = MutationRunner(loaded.tests, loaded.ruleset, now=now)
        killers = Killers(loaded.ruleset, loaded.tests, loaded.task_types)
        for mutant in mutants(loaded.ruleset):
            if trials.survives(mutant):
                enough = len(self.wanted) == _MOST_TESTS
                test = None if enough else killers.find(mutant)
                problem = _survived(mutant, loaded.file, known=test is not None)
                self.problems.append(problem)
                if test is not None:
                    self.wanted[problem] = test

    def add_overlaps(self, loaded: LoadedRules) -> None:
        """Note rules that disagree on a task."""
        overlaps = find_overlaps(loaded.ruleset, loaded.tests, loaded.task_types)
        self.overlaps += [
            (loaded.file, loaded.lines[one.rule], one) for one in overlaps.found
        ]
        self.cut += [loaded.file] if overlaps.cut else []


def _survived(mutant: Mutant, file: str, *, known: bool) -> Problem:
    advice = (
        "add this to tests:"
        if known
        else "add a test of a task that lacks only this, and expect it to stay"
    )
    message = f"no test notices without {mutant.dropped}; {advice}"
    return Problem(file, 0, 0, f"rule {mutant.rule}", message, Severity.WARNING)


def _code(checked: _Checked, *, strict: bool) -> int:
    if any(problem.severity == "error" for problem in checked.problems):
        return exit_codes.CONFIG
    if any(report.failures for _, report in checked.reports):
        return exit_codes.TESTS_FAILED
    return exit_codes.CONFIG if strict and checked.problems else exit_codes.OK


def _say_loaded(loaded: LoadedRules, report: TestReport) -> None:
    rules, tests = len(loaded.ruleset.rules), report.passed + len(report.failures)
    echo(
        f"{loaded.file}: {rules} {'rule' if rules == 1 else 'rules'},"
        f" {report.passed} of {tests} {'test' if tests == 1 else 'tests'} passed"
    )


def _say_problems(checked: _Checked) -> None:
    for problem in checked.problems:
        echo(str(problem))
        if problem in checked.wanted:
            echo(str(checked.wanted[problem]))
    for file, report in checked.reports:
        for failure in report.failures:
            echo(f"{file}:{failure.line}: {failure}")


def _say_overlaps(checked: _Checked) -> None:
    """Name the overlaps that no test in the file shows its author to know."""
    untested = [one for one in checked.overlaps if not one[2].tested]
    for file, line, overlap in untested[:_MOST_NOTES]:
        echo(
            f"{file}:{line}: note: {overlap.rule} means this as well, but"
            f" {overlap.earlier} before it decides: {overlap.example}"
        )
    more = len(untested) - _MOST_NOTES
    if more > 0:
        echo(f"note: {more} more overlaps; --format json lists them")
    for file in checked.cut:
        echo(
            f"{file}: note: too many pairs of rules; not all were searched for overlaps"
        )


def _as_json(checked: _Checked) -> dict[str, Any]:
    reports = checked.reports
    return {
        "problems": [_problem_json(problem, checked) for problem in checked.problems],
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
        "overlaps": [
            {
                "file": file,
                "line": line,
                "rule": overlap.rule,
                "earlier": overlap.earlier,
                "tested": overlap.tested,
                **overlap.example.as_json(),
            }
            for file, line, overlap in checked.overlaps
        ],
        "overlaps_cut": bool(checked.cut),
    }


def _problem_json(problem: Problem, checked: _Checked) -> dict[str, Any]:
    test = checked.wanted.get(problem)
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "severity": problem.severity,
        **({} if test is None else {"test": test.entry}),
    }
