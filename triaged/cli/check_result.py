"""The findings of ``triaged check``, and how they are printed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from triaged.cli.output import count_of, echo
from triaged.clock import Clock
from triaged.errors import Problem, Severity
from triaged.fleet.workspace import LoadedFleet
from triaged.rulesfile.lint.missing_tests import MissingTests, NewTest
from triaged.rulesfile.lint.mutation import Mutant, find_survivors
from triaged.rulesfile.loader import LoadedRules
from triaged.rulesfile.test_runner import TestReport

MAX_REFUSED: Final = 20


@dataclass(slots=True)
class CheckResult:
    """The findings in the files.

    ``wanted`` maps a problem to the test that would fix it; ``notes`` are not problems.
    ``unusable`` are rules files that do not load together, or fail a test.
    """

    problems: list[Problem] = field(default_factory=list)
    reports: list[tuple[str, TestReport]] = field(default_factory=list)
    wanted: dict[Problem, NewTest] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    mutants_tried: int = 0
    mutants_skipped: int = 0
    rules: int = 0
    fleets: tuple[LoadedFleet, ...] = ()
    unusable: set[tuple[Path, ...]] = field(default_factory=set)

    @property
    def usable(self) -> list[str]:
        return [
            workspace.name
            for fleet in self.fleets
            for workspace in fleet.workspaces
            if workspace.rules not in self.unusable
        ]

    @property
    def refused(self) -> list[str]:
        """What would not run: workspaces by name, or the file where there is none."""
        names = [
            rejection.name or rejection.problems[0].file
            for fleet in self.fleets
            for rejection in fleet.rejections
        ]
        usable = set(self.usable)
        names += [
            workspace.name
            for fleet in self.fleets
            for workspace in fleet.workspaces
            if workspace.name not in usable
        ]
        return names

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


def print_findings(checked: CheckResult, *, verbose: bool) -> None:
    """Print errors and failing tests first, then warnings, then notes."""
    for problem in checked.problems:
        if problem.severity is Severity.ERROR:
            echo(str(problem), colour="red")
    _print_failures(checked)
    for problem in checked.problems:
        if problem.severity is Severity.WARNING:
            echo(str(problem), colour="yellow")
        if problem in checked.wanted:
            echo(str(checked.wanted[problem]))
    if verbose:
        for note in checked.notes:
            echo(note)
    if checked.refused:
        names = list(dict.fromkeys(checked.refused))
        shown = ", ".join(names[:MAX_REFUSED])
        more = len(names) - MAX_REFUSED
        echo(f"refused: {shown}{f' and {more} more' if more > 0 else ''}", colour="red")


def _print_failures(checked: CheckResult) -> None:
    for file, report in checked.reports:
        for failure in report.failures:
            where = f" (in {file})" if file != failure.file else ""
            echo(f"{failure.file}:{failure.line}: {failure}{where}", colour="red")


def print_summary(checked: CheckResult, paths: Sequence[Path], code: int) -> None:
    """Print the summary, which is always the last line.

    ``paths`` are what was checked, and ``code`` the exit code, which gives the colour.
    """
    passed = sum(report.passed for _, report in checked.reports)
    failed = sum(len(report.failures) for _, report in checked.reports)
    severities = [problem.severity for problem in checked.problems]
    errors, warnings = (
        severities.count(Severity.ERROR),
        severities.count(Severity.WARNING),
    )
    what = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    parts = [what]
    if checked.fleets:
        parts = [f"{what}: {count_of(len(checked.usable), 'usable workspace')}"]
        parts += [f"{len(checked.refused)} refused"] if len(checked.refused) else []
    elif checked.reports:
        parts = [f"{what}: {count_of(checked.rules, 'rule')}"]
    if checked.reports:
        parts.append(f"{passed} of {count_of(passed + failed, 'test')} passed")
    if errors:
        lost = "" if checked.fleets else ", so the rules do not load"
        parts.append(f"{count_of(errors, 'error')}{lost}")
    if warnings:
        parts.append(count_of(warnings, "warning"))
    if checked.mutants_skipped:
        parts.append(f"{count_of(checked.mutants_skipped, 'condition')} not tried")
    colour = "red" if code else "yellow" if warnings else "green"
    separator = ", " if checked.reports or checked.fleets else ": "
    echo(separator.join(parts), colour=colour, bold=True)


def result_to_json(checked: CheckResult) -> dict[str, Any]:
    """Return all findings, with the keys of ``--format json``."""
    reports = checked.reports
    workspaces = {"usable": checked.usable, "refused": checked.refused}
    return {
        "problems": [_problem_json(problem, checked) for problem in checked.problems],
        "tests": {
            "passed": sum(report.passed for _, report in reports),
            "failed": sum(len(report.failures) for _, report in reports),
            "failures": [
                {
                    "file": failure.file,
                    **({} if file == failure.file else {"rules": file}),
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
        **({"workspaces": workspaces} if checked.fleets else {}),
    }


def _problem_json(problem: Problem, checked: CheckResult) -> dict[str, Any]:
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
