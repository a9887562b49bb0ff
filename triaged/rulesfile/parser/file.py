"""The type of the whole rules file, and its JSON Schema for editors."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from triaged.rules.rule import Mode, Promotion, Rule
from triaged.rules.task import DOCUMENTED_REASONS, DOCUMENTED_TYPES, Json
from triaged.rulesfile.document import LocatedMatch, LocatedRule, RulesDocument
from triaged.rulesfile.parser.containers import (
    Field,
    ListOf,
    Mapped,
    ParsedMapping,
    Record,
)
from triaged.rulesfile.parser.match import MATCH_REF, MATCH_TYPE
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar
from triaged.rulesfile.parser.nodes import Sequence as SequenceNode
from triaged.rulesfile.parser.references import (
    REASON_CODE,
    RULE_NAME,
    EnumType,
    NameDeclaration,
    NameReference,
)
from triaged.rulesfile.parser.scalars import Kind, describe, kind_at
from triaged.rulesfile.parser.snippets import RULE as RULE_SNIPPETS
from triaged.rulesfile.parser.synonyms import IN_RULE
from triaged.rulesfile.parser.tests import TEST
from triaged.rulesfile.parser.values import (
    Boolean,
    Duration,
    Integer,
    Number,
    Schema,
    String,
    report_unexpected,
)
from triaged.rulesfile.problems import INVALID, Invalid, Location, ProblemCollector

SCHEMA_ID: Final = "https://triaged.dev/schema/rules-v1.json"
VERSION: Final = 1
_NO_ACTION: Final = "neither dismiss nor leave; write dismiss: REASON or leave: true"
_UNLIMITED_HINT: Final = "no value means unlimited; 0 dismisses nothing"


class Version:
    """The version of the file format, which is 1."""

    def read(self, node: Node, report: ProblemCollector) -> int | Invalid:
        is_number = isinstance(node, Scalar) and kind_at(node) is Kind.INTEGER
        if is_number and isinstance(node, Scalar) and node.value == str(VERSION):
            return VERSION
        return report_unexpected(
            str(VERSION), node, report, f"write version: {VERSION}"
        )

    def schema(self) -> Schema:
        return {"const": VERSION}


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
            Integer(0, hint=_UNLIMITED_HINT),
            "Dismiss at most this many tasks in one cycle; the rest waits. Default 25.",
        ),
        Field(
            "max_dismissals_per_day",
            Integer(0, hint=_UNLIMITED_HINT),
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


def _limits(
    given: ParsedMapping, _place: Location, _report: ProblemCollector
) -> dict[str, Any]:
    return given.values


_PROMOTE: Final = Record(
    "a mapping with agreement and tasks",
    (
        Field(
            "agreement",
            Number(0, 1, decimal=True, hint="0.9 is nine tenths"),
            "The least agreement with people, by the lower end of its interval.",
            title="Least agreement",
            required=True,
        ),
        Field(
            "tasks",
            Integer(1),
            "How many observed tasks people must have settled.",
            title="Settled tasks",
            required=True,
        ),
    ),
    advice="write promote: {agreement: 0.9, tasks: 40}",
)


def _promotion(
    given: ParsedMapping, _place: Location, _report: ProblemCollector
) -> Promotion:
    return Promotion(**given.values)


_RULE: Final = Record(
    "a rule",
    (
        Field(
            "name",
            NameDeclaration("rule", "rules", RULE_NAME),
            "A unique name of a-z, 0-9 and -; it becomes a metric label.",
            required=True,
        ),
        Field("note", String("a note"), "Who asked for the rule, and why."),
        Field(
            "mode",
            EnumType("mode", tuple(Mode)),
            "enforce (default); observe: recorded and counted, never dismissed; off.",
        ),
        Field(
            "hold",
            Duration(),
            "The match must have held for so long, in every cycle, before it acts.",
            title="Hold before dismissing",
        ),
        Field(
            "max_per_day",
            Integer(0, hint=_UNLIMITED_HINT),
            "Dismiss at most this many tasks by this rule in one UTC day.",
        ),
        Field(
            "promote",
            Mapped(_PROMOTE, _promotion),
            "Begin to act once people agreed with what the rule observed.",
            title="Promotion",
        ),
        Field(
            "audit",
            Number(0, 1, decimal=True, hint="0.05 is one in twenty"),
            "Once it acts, this share of its matches is left to people, to judge it.",
            title="Audited share",
        ),
        Field("match", MATCH_REF, "Which tasks the rule is about.", required=True),
        Field(
            "dismiss",
            NameReference(
                "reason",
                "reasons",
                DOCUMENTED_REASONS,
                hint="other codes must be declared in reasons",
                form=REASON_CODE,
            ),
            "Dismiss the tasks, with this reason code.",
            title="Dismiss with this reason",
        ),
        Field(
            "leave",
            Boolean(must_be_true=True),
            "Leave the tasks to people; later rules do not see them.",
            title="Leave to people",
        ),
    ),
    synonyms=IN_RULE,
    more={
        "oneOf": [
            {"required": ["dismiss"], "errorMessage": _NO_ACTION},
            {"required": ["leave"], "errorMessage": _NO_ACTION},
        ],
        **RULE_SNIPPETS,
    },
)


class _Rule:
    """A rule: the record above, with checks of how its keys may be combined."""

    def read(self, node: Node, report: ProblemCollector) -> LocatedRule | Invalid:
        given = _RULE.read_partly(node, report)
        if isinstance(given, Invalid):
            return INVALID
        sound = _check_action(given, report)
        if not given.complete or not sound:
            return INVALID
        rule = Rule(
            reason=given.get("dismiss"),
            **{k: v for k, v in given.values.items() if k not in {"dismiss", "leave"}},
        )
        return LocatedRule(rule, given.place, given.locations["match"])

    def schema(self) -> Schema:
        return _RULE.schema()


_FOR_DISMISSALS: Final = ("hold", "max_per_day", "promote", "audit")


def _check_action(given: ParsedMapping, report: ProblemCollector) -> bool:
    dismisses, leaves = "dismiss" in given.locations, "leave" in given.locations
    if dismisses and leaves:
        message = "both dismiss and leave; a rule does one of them, drop the other"
        report.error(given.locations["leave"], message)
    if not dismisses and not leaves and not given.suggested_keys & {"dismiss", "leave"}:
        report.error(given.place, _NO_ACTION)
    useless = [name for name in _FOR_DISMISSALS if name in given.locations]
    for name in useless if leaves and not dismisses else ():
        message = f"a rule that leaves has no use for {name}; drop it"
        report.error(given.locations[name], message)
    return dismisses != leaves and not (leaves and useless)


def _located(
    condition: object, place: Location, _report: ProblemCollector
) -> LocatedMatch:
    return LocatedMatch(condition, place)  # type: ignore[arg-type]


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
            Mapped(_SAFETY, _limits),
            "Safety limits, all on by default; a cap of 0 dismisses nothing.",
            title="Safety limits",
        ),
        Field(
            "protect",
            ListOf(
                "a list of matches",
                Mapped(MATCH_REF, _located),
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
                _Rule(),
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


def declare_names(nodes: Sequence[Node], report: ProblemCollector) -> None:
    """Collect the names of all files that are used as one, in order.

    So each of them can refer to what another declares.
    """
    report.declared_names["rules"] = {}
    report.declared_names["types"] = dict.fromkeys(DOCUMENTED_TYPES)
    report.declared_names["reasons"] = dict.fromkeys(DOCUMENTED_REASONS)
    for node in nodes:
        _collect_declarations(node, report)
        _collect_rule_names(node, report)


def read_file(node: Node, report: ProblemCollector) -> RulesDocument:
    """Read the whole file, as far as possible despite problems.

    Requires ``declare_names``.

    Raises:
        ConfigError: it is not a rules file, or has another format version.
    """
    check_version(node, report)
    given = _FILE.read_partly(node, report)
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
    pairs = node.pairs if isinstance(node, Mapping) else ()
    for key, value in pairs:
        if isinstance(key, Scalar) and key.value == "version":
            other = isinstance(value, Scalar) and kind_at(value) is Kind.INTEGER
            if other and isinstance(value, Scalar) and value.value != str(VERSION):
                message = f"expected {VERSION}, found {describe(value)}"
                advice = "this program reads format 1 only"
                report.error(value.place, f"{message}; {advice}")
                report.abort()


def _collect_declarations(node: Node, report: ProblemCollector) -> None:
    """Collect the declared types and reasons before they are referred to."""
    pairs = node.pairs if isinstance(node, Mapping) else ()
    for kind, field in (("types", "task_types"), ("reasons", "reasons")):
        shape = next(known.shape for known in _FILE.fields if known.name == field)
        for key, value in pairs:
            if not isinstance(key, Scalar) or key.value != field:
                continue
            # Problems are discarded here; they are reported when the key is read in
            # order.
            names = shape.read(value, ProblemCollector(report.file))
            known = report.declared_names[kind]
            report.declared_names[kind] = (
                None
                if isinstance(names, Invalid) or known is None
                else known | dict.fromkeys(names)
            )


def _collect_rule_names(node: Node, report: ProblemCollector) -> None:
    """Collect the rule names; a name that is taken again is reported when it is read.

    An unusable name is no name to refer to, and is reported then too.
    """
    known = report.declared_names["rules"]
    for rule in _items_of(node, "rules"):
        for name in _values_of(rule, "name"):
            if known is not None and isinstance(name, Scalar):
                known.setdefault(name.value, name.place)


def _items_of(node: Node, key: str) -> Iterator[Node]:
    for value in _values_of(node, key):
        yield from value.items if isinstance(value, SequenceNode) else ()


def _values_of(node: Node, key: str) -> Iterator[Node]:
    pairs = node.pairs if isinstance(node, Mapping) else ()
    yield from (v for k, v in pairs if isinstance(k, Scalar) and k.value == key)


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
