"""``triaged check``: validate and test rules files before they are used."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from triaged.cli import exit_codes
from triaged.cli.options import RULES_OPTIONS, Format, with_format, with_settings
from triaged.cli.output import echo, echo_json
from triaged.clock import Clock, SystemClock
from triaged.errors import ConfigError, Problem, Severity
from triaged.rules.describe import rule_to_json, rule_to_sentence
from triaged.rulesfile.lint.missing_tests import MissingTests, NewTest
from triaged.rulesfile.lint.mutation import Mutant, find_survivors
from triaged.rulesfile.loader import LoadedRules, compile_rules, load, run_rule_tests
from triaged.rulesfile.problems import quote_for_message, suggest
from triaged.rulesfile.test_runner import TestReport
from triaged.settings import Settings
from triaged.text import escape_unprintable


@click.command
@click.argument(
    "files", metavar="[RULES]...", nargs=-1, type=click.Path(path_type=Path)
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
@with_settings(*RULES_OPTIONS)
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
    """Validate rules files and run the tests in them."""
    if explain_rule is not None:
        _explain_rule(explain_rule, files or settings.rules, form)
        return
    clock = SystemClock()
    now = clock.now()
    checked = _Checked()
    together: list[tuple[Path, ...]] = [(path,) for path in files]
    for paths in together or [settings.rules]:
        try:
            loaded: LoadedRules = load(*paths)
        except ConfigError as error:
            checked.problems += error.problems
            continue
        checked.problems += loaded.warnings
        report = run_rule_tests(loaded, compile_rules(loaded), now=now)
        checked.reports.append((loaded.file, report))
        if mutate and not report.failures:
            checked.add_survivors(loaded, clock)
        checked.rules += len(loaded.ruleset.rules)
    code = _code(checked, strict=strict)
    if form is Format.JSON:
        echo_json(_as_json(checked))
    else:
        _print_findings(checked, verbose=verbose)
        if not files and not settings.rules[0].exists():
            echo("triaged init writes a rules file to start with")
        _print_summary(checked, files or settings.rules, code)
    sys.exit(code)


def _explain_rule(name: str, files: Sequence[Path], form: Format) -> None:
    """Print the rule with this name from the first of the files that has it."""
    known: list[str] = []
    for path in files:
        try:
            ruleset = load(path).ruleset
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


@dataclass(slots=True)
class _Checked:
    """The findings in the files.

    ``wanted`` maps a problem to the test that would fix it; ``notes`` are not problems.
    """

    problems: list[Problem] = field(default_factory=list)
    reports: list[tuple[str, TestReport]] = field(default_factory=list)
    wanted: dict[Problem, NewTest] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    mutants_tried: int = 0
    mutants_skipped: int = 0
    rules: int = 0

    def add_survivors(self, loaded: LoadedRules, clock: Clock) -> None:
        """Warn of each condition that can be dropped while all tests pass."""
        survivors = find_survivors(
            loaded.tests,
            loaded.ruleset,
            now=clock.now(),
            elapsed=_stopwatch(clock),
        )
        missing = MissingTests(loaded.ruleset, loaded.tests)
        proposed = missing.propose(survivors.found, elapsed=_stopwatch(clock))
        for mutant, test in proposed:
            problem = _survived(mutant, loaded.file, known=test is not None)
            self.problems.append(problem)
            if test is not None:
                self.wanted[problem] = test
        self.mutants_tried += survivors.tried
        self.mutants_skipped += survivors.total - survivors.tried
        if survivors.tried < survivors.total:
            self.notes.append(
                f"{loaded.file}: note: --mutate tried {survivors.tried} of"
                f" {survivors.total} conditions; there was no time for the others"
            )


def _stopwatch(clock: Clock) -> Callable[[], float]:
    start = clock.monotonic()
    return lambda: clock.monotonic() - start


def _survived(mutant: Mutant, file: str, *, known: bool) -> Problem:
    if known:
        advice = "add this to tests:"
    elif mutant.rule is None:
        advice = (
            "add a test of a task that only this protects"
            " (expect: {decision: leave, cause: protected})"
        )
    else:
        advice = "add a test of a task that lacks only this, and expect it to stay"
    message = f"no test notices without {mutant.dropped}; {advice}"
    return Problem(file, 0, 0, mutant.subject, message, Severity.WARNING)


def _code(checked: _Checked, *, strict: bool) -> int:
    if any(problem.severity == "error" for problem in checked.problems):
        return exit_codes.CONFIG
    if any(report.failures for _, report in checked.reports):
        return exit_codes.TESTS_FAILED
    return exit_codes.CONFIG if strict and checked.problems else exit_codes.OK


def _print_findings(checked: _Checked, *, verbose: bool) -> None:
    """Print errors and failing tests first, then warnings, then notes."""
    for problem in checked.problems:
        if problem.severity is Severity.ERROR:
            echo(str(problem), colour="red")
    for file, report in checked.reports:
        for failure in report.failures:
            echo(f"{file}:{failure.line}: {failure}", colour="red")
    for problem in checked.problems:
        if problem.severity is Severity.WARNING:
            echo(str(problem), colour="yellow")
        if problem in checked.wanted:
            echo(str(checked.wanted[problem]))
    if verbose:
        for note in checked.notes:
            echo(note)


def _print_summary(checked: _Checked, paths: Sequence[Path], code: int) -> None:
    """Print the summary, which is always the last line."""
    passed = sum(report.passed for _, report in checked.reports)
    failed = sum(len(report.failures) for _, report in checked.reports)
    severities = [problem.severity for problem in checked.problems]
    errors, warnings = (
        severities.count(Severity.ERROR),
        severities.count(Severity.WARNING),
    )
    what = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    parts = [f"{what}: {_count(checked.rules, 'rule')}"] if checked.reports else [what]
    if checked.reports:
        parts.append(f"{passed} of {_count(passed + failed, 'test')} passed")
    if errors:
        parts.append(f"{_count(errors, 'error')}, so the rules do not load")
    if warnings:
        parts.append(_count(warnings, "warning"))
    if checked.mutants_skipped:
        parts.append(f"{_count(checked.mutants_skipped, 'condition')} not tried")
    colour = "red" if code else "yellow" if warnings else "green"
    separator = ", " if checked.reports else ": "
    echo(separator.join(parts), colour=colour, bold=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
        "mutants": {
            "tried": checked.mutants_tried,
            "skipped": checked.mutants_skipped,
        },
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
