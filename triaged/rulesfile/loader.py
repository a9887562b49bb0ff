"""Loads rules files; used by ``check``, at start and at every reload alike."""

import contextlib
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
from triaged.rulesfile.document import RulesDocument, RuleTest, combine
from triaged.rulesfile.lint.checks import find_errors, find_warnings
from triaged.rulesfile.lists import ListContent, ListFileError, parse_list
from triaged.rulesfile.parser.file import declare_names, keys_of, read_file
from triaged.rulesfile.parser.nodes import Node, compose
from triaged.rulesfile.problems import ProblemCollector
from triaged.rulesfile.sources import (
    SourceFile,
    bundle,
    read_source,
    ruleset_hash,
    unbundle,
)
from triaged.rulesfile.test_runner import DecideFunction, TestReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRules:
    """The content of rules files; ``source`` is the text of the files and their lists.

    ``file`` names them in messages; ``reasons`` include the documented ones.
    """

    ruleset: Ruleset
    tests: tuple[RuleTest, ...]
    warnings: tuple[Problem, ...]
    source: str
    file: str
    reasons: tuple[str, ...]


def load(*paths: Path) -> LoadedRules:
    """Load a rules file, or several in order that are used as one.

    Raises:
        ConfigError: one cannot be read or is invalid; carries every problem of all.
    """
    report = ProblemCollector("", files=list(dict.fromkeys(map(str, paths))))
    files = []
    for path in dict.fromkeys(paths):
        try:
            files.append(read_source(path))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            problem = Problem(str(path), 0, 0, "", f"cannot be read: {why}")
            report.problems.append(problem)
    report.problems += [
        Problem(str(path), 0, 0, "", "this file is named twice; its rules count once")
        for path in dict.fromkeys(paths)
        if paths.count(path) > 1
    ]
    return _parse(files, report)


def parse(
    data: bytes, file: str, lists: Mapping[str, bytes | ListFileError] | None = None
) -> LoadedRules:
    """Parse a rules file, named ``file`` in messages, and its lists.

    Raises:
        ConfigError: they cannot be used; with every problem.
    """
    return parse_files([SourceFile(file, data, lists or {})])


def parse_files(files: Sequence[SourceFile]) -> LoadedRules:
    """Parse rules files that are used as one, in order; raises as ``parse`` does."""
    return _parse(files, ProblemCollector("", files=[file.name for file in files]))


def parse_bundle(source: str, file: str) -> LoadedRules:
    """Parse what ``bundle`` made, without reading files; raises as ``parse`` does."""
    return parse_files(unbundle(source, file))


def _parse(files: Sequence[SourceFile], report: ProblemCollector) -> LoadedRules:
    report.lists = {
        file.name: {name: _parsed(name, read) for name, read in file.lists.items()}
        for file in files
    }
    documents = _read_documents(files, report)
    if report.is_full or len(documents) < len(report.files):
        # What is missing would make the rest look wrong.
        report.abort()
    draft = combine(documents)
    types = tuple(dict.fromkeys((*DOCUMENTED_TYPES, *draft.task_types)))
    find_errors(draft, types, report)
    if report.problems:
        report.abort()
    find_warnings(draft, types, report)
    return LoadedRules(
        ruleset=Ruleset(
            rules=tuple(placed.rule for placed in draft.rules),
            protect=tuple(placed.condition for placed in draft.protect),
            safety=draft.safety,
            sha256=ruleset_hash(files),
        ),
        tests=draft.tests,
        warnings=report.in_order(report.warnings),
        source=bundle(files),
        file=" + ".join(report.files),
        reasons=tuple(dict.fromkeys((*DOCUMENTED_REASONS, *draft.reasons))),
    )


def _read_documents(
    files: Sequence[SourceFile], report: ProblemCollector
) -> list[RulesDocument]:
    """Read each file as far as possible; one that cannot be read is left out."""
    roots: list[tuple[SourceFile, Node]] = []
    for file in files:
        report.begin(file.name)
        # The report keeps the problems, and the next file may have others.
        with contextlib.suppress(ConfigError):
            roots.append((file, compose(file.data, report)))
    declare_names([root for _, root in roots], report)
    if len(roots) < len(report.files):
        report.declared_names.update(dict.fromkeys(report.declared_names))
    with_rules = len(roots) < len(report.files) or any(
        "rules" in keys_of(root) for _, root in roots
    )
    documents: list[RulesDocument] = []
    for file, root in roots:
        report.begin(file.name)
        with contextlib.suppress(ConfigError):
            documents.append(read_file(root, report, with_rules=with_rules))
        if report.is_full:
            break
    return documents


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
    """Loaded rules files and their compiled ruleset."""

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


def load_rules(*paths: Path, now: datetime) -> tuple[CompiledRules, LoadedRules]:
    """Load rules files and run their tests, as done at start and at every reload.

    Raises:
        ConfigError: a file cannot be used.
        RuleTestsFailed: a test in one fails.
    """
    loaded = load(*paths)
    rules = compile_rules(loaded)
    report = run_rule_tests(loaded, rules, now=now)
    if report.failures:
        raise RuleTestsFailed(
            f"{failure.file}:{failure.line}: {failure}" for failure in report.failures
        )
    return rules, loaded


def run_rule_tests(
    loaded: LoadedRules, rules: CompiledRules, *, now: datetime
) -> TestReport:
    """Run the tests of rules files with the compiled engine that also decides."""

    def decide(
        ruleset: Ruleset, tasks: Sequence[Task], /, *, now: datetime
    ) -> Sequence[Decision]:
        if ruleset is not loaded.ruleset:  # the test replaces the lists of the file
            return decide_plainly(ruleset, tasks, now=now)
        return rules.engine.decide(tasks, now=now)

    return run_tests(loaded, now=now, decide=decide)
