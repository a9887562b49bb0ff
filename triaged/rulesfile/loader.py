"""Loads rules files; used by ``check``, at start and at every reload alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from triaged.errors import ConfigError, Problem, RuleTestsFailed
from triaged.rules.compiled import CompiledRuleset
from triaged.rules.decide import decide as decide_plainly
from triaged.rules.evidence import rules_in_force
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import (
    DOCUMENTED_REASONS,
    DOCUMENTED_TYPES,
    Changes,
    Decision,
    Task,
)
from triaged.rulesfile import test_runner as rule_tests
from triaged.rulesfile.document import RuleTest
from triaged.rulesfile.lint.checks import find_errors, find_warnings
from triaged.rulesfile.lists import ListContent, ListFileError, parse_list
from triaged.rulesfile.parser.file import read_file
from triaged.rulesfile.parser.nodes import MAX_BYTES, compose
from triaged.rulesfile.problems import ProblemCollector, sorted_by_location
from triaged.rulesfile.sources import (
    bundle,
    content_hash,
    list_names,
    read_lists,
    unbundle,
)
from triaged.rulesfile.test_runner import DecideFunction, TestReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRules:
    """The content of a rules file; ``source`` is the text of the file and its lists.

    ``reasons`` and ``task_types`` are the documented ones and those that the file
    declares; ``lines`` maps each rule to its line, and ``lists`` names the list files.
    """

    ruleset: Ruleset
    tests: tuple[RuleTest, ...]
    warnings: tuple[Problem, ...]
    source: str
    file: str
    reasons: tuple[str, ...]
    task_types: tuple[str, ...]
    lines: Mapping[str, int]
    lists: tuple[str, ...] = ()


def load(path: Path) -> LoadedRules:
    """Load a rules file.

    Raises:
        ConfigError: it cannot be read or is invalid; carries every problem.

    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        problem = Problem(str(path), 0, 0, "", f"cannot be read: {why}")
        raise ConfigError([problem]) from error
    return parse(data, str(path), read_lists(path, list_names(data)))


def parse(
    data: bytes, file: str, lists: Mapping[str, bytes | ListFileError] | None = None
) -> LoadedRules:
    """Parse the bytes of a rules file and of the lists that it names.

    ``file`` is its name in messages.

    Raises:
        ConfigError: they cannot be used; with every problem.

    """
    report = ProblemCollector(file)
    report.lists = {name: _parsed(name, read) for name, read in (lists or {}).items()}
    draft = read_file(compose(data, report), report)
    types = tuple(dict.fromkeys((*DOCUMENTED_TYPES, *draft.task_types)))
    find_errors(draft, types, report)
    report.raise_if_wrong()
    find_warnings(draft, types, report)
    return LoadedRules(
        ruleset=Ruleset(
            rules=tuple(placed.rule for placed in draft.rules),
            protect=tuple(placed.condition for placed in draft.protect),
            safety=draft.safety,
            sha256=content_hash(data, lists or {}),
        ),
        tests=draft.tests,
        warnings=sorted_by_location(report.warnings),
        source=bundle(data, lists or {}),
        file=file,
        reasons=tuple(dict.fromkeys((*DOCUMENTED_REASONS, *draft.reasons))),
        task_types=types,
        lines={placed.rule.name: placed.place.line for placed in draft.rules},
        lists=tuple(lists or ()),
    )


def parse_bundle(source: str, file: str) -> LoadedRules:
    """Parse rules from a bundle of a rules file and its lists, without reading files.

    Raises:
        ConfigError: they cannot be used; with every problem.

    """
    data, lists = unbundle(source)
    return parse(data, file, lists)


def _parsed(name: str, read: bytes | ListFileError) -> ListContent | ListFileError:
    try:
        return read if isinstance(read, ListFileError) else parse_list(read, name)
    except ListFileError as error:
        return error


def run_tests(
    loaded: LoadedRules, *, now: datetime, decide: DecideFunction = decide_plainly
) -> TestReport:
    """Run the tests of a file; tests that set no time run at ``now``."""
    return rule_tests.run_tests(loaded.tests, loaded.ruleset, now=now, decide=decide)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRules:
    """A loaded rules file and its compiled ruleset."""

    ruleset: Ruleset
    engine: CompiledRuleset
    source: str
    # Compiling takes long, and modes seldom change.
    _variants: dict[tuple[Mode, ...], "CompiledRules"] = field(
        default_factory=dict, repr=False, compare=False
    )

    def in_force(self, changes: Changes) -> "CompiledRules":
        """Return the rules with promotions and demotions applied."""
        ruleset = rules_in_force(self.ruleset, changes)
        if ruleset is self.ruleset:
            return self
        modes = tuple(rule.mode for rule in ruleset.rules)
        if modes not in self._variants:
            self._variants[modes] = replace(
                self,
                ruleset=ruleset,
                engine=CompiledRuleset(ruleset, build_prefilter),
                _variants={},
            )
        return self._variants[modes]


def compile_rules(loaded: LoadedRules) -> CompiledRules:
    """Compile loaded rules."""
    engine = CompiledRuleset(loaded.ruleset, build_prefilter)
    return CompiledRules(ruleset=loaded.ruleset, engine=engine, source=loaded.source)


def load_rules(path: Path, *, now: datetime) -> tuple[CompiledRules, LoadedRules]:
    """Load a rules file and run its tests, as done at start and at every reload.

    Raises:
        ConfigError: the file cannot be used.
        RuleTestsFailed: a test in it fails.

    """
    loaded = load(path)
    rules = compile_rules(loaded)
    report = run_rule_tests(loaded, rules, now=now)
    if report.failures:
        raise RuleTestsFailed(
            f"{loaded.file}:{failure.line}: {failure}" for failure in report.failures
        )
    return rules, loaded


def run_rule_tests(
    loaded: LoadedRules, rules: CompiledRules, *, now: datetime
) -> TestReport:
    """Run the tests of a rules file with the compiled engine that also decides."""

    def decide(
        ruleset: Ruleset, tasks: Sequence[Task], /, *, now: datetime
    ) -> Sequence[Decision]:
        if ruleset is not loaded.ruleset:  # the test replaces the lists of the file
            return decide_plainly(ruleset, tasks, now=now)
        return rules.engine.decide(tasks, now=now)

    return run_tests(loaded, now=now, decide=decide)
