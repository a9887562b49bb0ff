"""Rules ready to decide by: the one way from a file to an engine.

``check``, start and every reload come through ``load_rules``, the tests in the file
included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from triaged.engine.index import Engine
from triaged.engine.model import Decision, Task
from triaged.engine.rules import Ruleset
from triaged.errors import RulesTestsFailed
from triaged.prefilter import build_prefilter
from triaged.rulefile.load import LoadedRules, load, run_tests
from triaged.rulefile.rule_tests import TestReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One loaded rules file, ready to decide by."""

    ruleset: Ruleset
    engine: Engine
    text: str


def compile_rules(loaded: LoadedRules) -> Rules:
    """Make loaded rules ready to decide by."""
    engine = Engine(loaded.ruleset, build_prefilter)
    return Rules(ruleset=loaded.ruleset, engine=engine, text=loaded.text)


def load_rules(path: Path, *, now: datetime) -> tuple[Rules, LoadedRules]:
    """Load a rules file and run the tests in it: the same at start and at reload.

    Raises:
        ConfigError: the file cannot be used.
        RulesTestsFailed: a test in it fails.
    """
    loaded = load(path)
    rules = compile_rules(loaded)
    report = test_rules(loaded, rules, now=now)
    if report.failures:
        raise RulesTestsFailed(
            f"{loaded.file}:{failure.line}: {failure}" for failure in report.failures
        )
    return rules, loaded


def test_rules(loaded: LoadedRules, rules: Rules, *, now: datetime) -> TestReport:
    """Run the tests of a rules file on the very engine that will decide."""

    def decide(
        _: Ruleset, tasks: Sequence[Task], /, *, now: datetime
    ) -> Sequence[Decision]:
        return rules.engine.decide(tasks, now=now)

    return run_tests(loaded, now=now, decide=decide)
