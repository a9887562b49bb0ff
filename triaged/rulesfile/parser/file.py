"""The type of the whole rules file, and its JSON Schema for editors."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeGuard

from triaged.rules.conditions import Condition
from triaged.rules.task import DOCUMENTED_REASONS, DOCUMENTED_TYPES, Json
from triaged.rulesfile.document import LocatedMatch, RulesDocument
from triaged.rulesfile.parser.containers import Built, Field, ListOf, Mapped, Record
from triaged.rulesfile.parser.match import MATCH_REF, MATCH_TYPE
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar
from triaged.rulesfile.parser.nodes import Sequence as SequenceNode
from triaged.rulesfile.parser.references import REASON_CODE
from triaged.rulesfile.parser.rule import UNLIMITED_HINT, RuleType
from triaged.rulesfile.parser.scalars import Kind, describe, kind_at
from triaged.rulesfile.parser.tests import TEST
from triaged.rulesfile.parser.values import (
    Duration,
    Number,
    Schema,
    String,
    report_unexpected,
)
from triaged.rulesfile.problems import Invalid, Location, ProblemCollector

SCHEMA_ID: Final = "https://triaged.dev/schema/rules-v1.json"
VERSION: Final = 1


class Version:
    """The version of the file format, which is 1."""

    def read(self, node: Node, report: ProblemCollector) -> int | Invalid:
        if _is_integer(node) and node.value == str(VERSION):
            return VERSION
        return report_unexpected(
            str(VERSION), node, report, f"write version: {VERSION}"
        )

    def schema(self) -> Schema:
        return {"const": VERSION}


def _is_integer(node: Node) -> TypeGuard[Scalar]:
    return isinstance(node, Scalar) and kind_at(node) is Kind.INTEGER


VERSION_FIELD: Final = Field(
    "version",
    Version(),
    "The format of this file: 1.",
    title="Format version",
    required=True,
)
_SAFETY: Final = Record(
    "a mapping of caps",
    (
        Field(
            "max_dismissals_per_cycle",
            Number(0, hint=UNLIMITED_HINT),
            "Dismiss at most this many tasks in one cycle; the rest waits. Default 25.",
        ),
        Field(
            "max_dismissals_per_day",
            Number(0, hint=UNLIMITED_HINT),
            "Dismiss at most this many tasks in one UTC day. Default 200.",
        ),
        Field(
            "max_share_of_pending",
            Number(0, 1, decimal=True, hint="0.5 is one half"),
            "When the rules want more than this share of all pending tasks, and more"
            " than 20, nothing is dismissed. Default 0.5.",
        ),
        Field(
            "min_age",
            Duration(),
            "Younger tasks are left to people. Default 10m.",
            title="Minimum age",
        ),
    ),
)


def _located(
    condition: Condition, place: Location, _report: ProblemCollector
) -> LocatedMatch:
    return LocatedMatch(condition, place)


_PROTECTED: Final[Mapped[Condition, LocatedMatch]] = Mapped(MATCH_REF, _located)
_FILE: Final = Record(
    "a mapping with version and rules",
    (
        VERSION_FIELD,
        Field(
            "task_types",
            ListOf(
                "a list of task types",
                String("a task type"),
                allow_empty=True,
                hint="write [one, two]",
            ),
            "Task types that rules may name beyond the documented ones: "
            + ", ".join(DOCUMENTED_TYPES)
            + ".",
        ),
        Field(
            "reasons",
            ListOf(
                "a list of reason codes",
                REASON_CODE,
                allow_empty=True,
                hint="write [one, two]",
            ),
            "Reason codes that rules may give beyond the documented ones: "
            + ", ".join(DOCUMENTED_REASONS)
            + ".",
        ),
        Field(
            "safety",
            Built(_SAFETY, lambda given: given.values),
            "Safety limits, all on by default; a cap of 0 dismisses nothing.",
            title="Safety limits",
        ),
        Field(
            "protect",
            ListOf(
                "a list of matches",
                _PROTECTED,
                keep_valid=True,
                hint="put each match behind a dash, or in [ ]",
            ),
            "Matches; a task that one of them holds for, or cannot be judged by, is"
            " never dismissed.",
            title="Protected tasks",
        ),
        Field(
            "rules",
            ListOf(
                "a list of rules",
                RuleType(),
                keep_valid=True,
                hint="put each rule behind a dash",
            ),
            "The rules, in order; the first enforced rule that holds decides.",
            required=True,
        ),
        Field(
            "tests",
            ListOf(
                "a list of tests",
                TEST,
                keep_valid=True,
                hint="put each test behind a dash",
            ),
            "Tests, run by check, at start and at every reload. They judge rules and"
            " protect, not caps, holds or min_age.",
        ),
    ),
    advice="write version: 1 and rules:",
)
# A file that others with rules are used with, for one client's protection, say.
_PART: Final = Record(
    _FILE.what,
    tuple(replace(each, required=each is VERSION_FIELD) for each in _FILE.fields),
    advice=_FILE.advice,
)


def declare_names(nodes: Sequence[Node], report: ProblemCollector) -> None:
    """Collect the names that files used as one declare, for each to refer to."""
    rules: dict[str, Location | None] = {}
    report.declared_names["rules"] = rules
    report.declared_names["types"] = dict.fromkeys(DOCUMENTED_TYPES)
    report.declared_names["reasons"] = dict.fromkeys(DOCUMENTED_REASONS)
    for node in nodes:
        _collect_declarations(node, "task_types", "types", report)
        _collect_declarations(node, "reasons", "reasons", report)
        # A name that is taken again, or unusable, is reported when the rule is read.
        for listed in _values_of(node, "rules"):
            for rule in listed.items if isinstance(listed, SequenceNode) else ():
                for name in _values_of(rule, "name"):
                    if isinstance(name, Scalar):
                        rules.setdefault(name.value, name.place)


def _collect_declarations(
    node: Node, field: str, kind: str, report: ProblemCollector
) -> None:
    shape = next(known.shape for known in _FILE.fields if known.name == field)
    for value in _values_of(node, field):
        # Problems are discarded here; they are reported when the key is read in order.
        names = shape.read(value, ProblemCollector(report.file))
        known = report.declared_names[kind]
        report.declared_names[kind] = (
            None
            if isinstance(names, Invalid) or known is None
            else known | dict.fromkeys(names)
        )


def keys_of(node: Node) -> set[str]:
    """Return the keys of a file as written."""
    pairs = node.pairs if isinstance(node, Mapping) else ()
    return {key.value for key, _ in pairs if isinstance(key, Scalar)}


def _values_of(node: Node, key: str) -> Iterator[Node]:
    pairs = node.pairs if isinstance(node, Mapping) else ()
    yield from (v for k, v in pairs if isinstance(k, Scalar) and k.value == key)


def read_file(
    node: Node, report: ProblemCollector, *, with_rules: bool = False
) -> RulesDocument:
    """Read a file, after ``declare_names``, as far as possible despite problems.

    ``with_rules``: others that it is used with have rules, so that it may have none.

    Raises:
        ConfigError: it is not a rules file, or has another format version.
    """
    check_version(node, report)
    # One with nothing but a version may be cut off.
    is_part = with_rules and bool(keys_of(node) - {"version"})
    given = (_PART if is_part else _FILE).read_partly(node, report)
    if isinstance(given, Invalid):
        report.abort()
    renamed = {"safety": "limits"}
    return RulesDocument(
        **{renamed.get(k, k): v for k, v in given.values.items() if k != "version"}
    )


def check_version(node: Node, report: ProblemCollector) -> None:
    """Check the version first, since other checks apply to this format only.

    Raises:
        ConfigError: it is another version.
    """
    for value in _values_of(node, "version"):
        if _is_integer(value) and value.value != str(VERSION):
            message = f"expected {VERSION}, found {describe(value)}"
            report.error(value.place, f"{message}; this program reads format 1 only")
            report.abort()


def json_schema() -> dict[str, Json]:
    """Return the JSON Schema (2020-12) of the rules file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Rules of triaged, version 1",
        "description": "Which pending Lexi tasks to dismiss, and why.",
        **_FILE.schema(),
        "$defs": {"match": MATCH_TYPE.schema()},
    }
