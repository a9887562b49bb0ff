"""The match language: from the nodes of one match to a condition."""

from datetime import timedelta
from typing import Final, TypeVar

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionMatches,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    Keep,
    LessThan,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Regex,
    TypeIn,
)
from triaged.rules.duration import format_duration
from triaged.rules.patterns.re2_pattern import Re2Pattern
from triaged.rules.task import DOCUMENTED_TYPES
from triaged.rulesfile.parser.containers import (
    DictOf,
    Field,
    JsonValue,
    ListOf,
    Mapped,
    OneOrMany,
    ParsedMapping,
    Record,
    Ref,
)
from triaged.rulesfile.parser.nodes import Mapping, Node, Sequence
from triaged.rulesfile.parser.references import EnumType, NameReference
from triaged.rulesfile.parser.values import (
    Boolean,
    Duration,
    FieldType,
    Number,
    RegexType,
    Schema,
    String,
    report_unexpected,
)
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    Location,
    ProblemCollector,
    quote_for_message,
    suggest,
)

T = TypeVar("T")

TYPE: Final = NameReference(
    "task type",
    "types",
    DOCUMENTED_TYPES,
    hint="other types must be declared in task_types",
)
_PATTERNS: Final = OneOrMany("a pattern", RegexType())

# What of a task can be compared as text; status is the same for all pending tasks.
_COMPARABLE: Final = ("type", "description", "metadata.…")


def _type_is(
    types: tuple[str, ...], _place: Location, _report: ProblemCollector
) -> TypeIn:
    return TypeIn(types)


def _described(
    patterns: tuple[Re2Pattern, ...], _place: Location, _report: ProblemCollector
) -> DescriptionMatches:
    return DescriptionMatches(patterns)


def _aged(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> AgeBetween | Invalid:
    over: timedelta | None = given.get("over")
    under: timedelta | None = given.get("under")
    if over is not None and under is not None and over >= under:
        bounds = f"over {format_duration(over)} and under {format_duration(under)}"
        return report.error(place, f"no age is {bounds}; swap them or drop one")
    return AgeBetween(over, under)


AGE: Final = Mapped(
    Record(
        "a mapping with over, under or both",
        (
            Field("over", Duration(), "Older than this, strictly."),
            Field("under", Duration(), "Younger than this, strictly."),
        ),
        advice="write age: {over: 14d}",
    ),
    _aged,
)

# --- metadata -----------------------------------------------------------------------

_NUMBER: Final = Number(decimal=True)
_VALUE: Final = JsonValue()
_OPERATORS: Final = Record(
    "a value or a mapping of operators",
    (
        Field("equals", _VALUE, "The value is this one, of the same JSON type."),
        Field("in", ListOf("a list of values", _VALUE), "The value is one of these."),
        Field("regex", _PATTERNS, "The value is a text in which a pattern occurs."),
        Field("over", _NUMBER, "The value is a number above this one."),
        Field("under", _NUMBER, "The value is a number below this one."),
        Field("missing", Boolean(), "The key is absent or null; false: it is there."),
    ),
    key_advice="a value inside a mapping has a dotted path, such as filters.country",
)


def _tests(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> tuple[MetadataTest, ...] | Invalid:
    over, under = given.get("over"), given.get("under")
    if over is not None and under is not None and over >= under:
        bounds = f"over {over} and under {under}"
        return report.error(place, f"no number is {bounds}; swap them or drop one")
    if given.get("missing") and len(given.values) > 1:
        others = ", ".join(name for name in given.values if name != "missing")
        message = f"missing: true leaves nothing for {others} to judge; drop one"
        return report.error(place, message)
    return tuple(_test(name, value) for name, value in given.values.items())


def _test(name: str, value: object) -> MetadataTest:
    """Make one operator's condition; the shapes above vouch for the value's type."""
    made = {
        "equals": Equals,
        "in": In,
        "regex": Regex,
        "over": GreaterThan,
        "under": LessThan,
        "missing": Missing,
    }[name]
    test: MetadataTest = made(value)
    return test


_TESTS: Final = Mapped(_OPERATORS, _tests)


class _MetadataTests:
    """What a metadata value must be: itself, or operators that all must hold."""

    def read(
        self, node: Node, report: ProblemCollector
    ) -> tuple[MetadataTest, ...] | Invalid:
        if isinstance(node, Mapping):
            return _TESTS.read(node, report)
        if isinstance(node, Sequence):
            what = "a value or a mapping of operators"
            return report_unexpected(what, node, report, "use in: [first, second]")
        value = _VALUE.read(node, report)
        return INVALID if isinstance(value, Invalid) else (Equals(value),)

    def schema(self) -> Schema:
        bare: Schema = {"type": ["string", "number", "boolean"]}
        return {"anyOf": [bare, _TESTS.schema()]}


def _metadata(
    tests: dict[str, tuple[MetadataTest, ...]],
    _place: Location,
    _report: ProblemCollector,
) -> tuple[MetadataMatches, ...]:
    return tuple(MetadataMatches(path, test) for path in tests for test in tests[path])


# --- duplicate ----------------------------------------------------------------------


class _FieldPath:
    """A text field of a task: type, description, or a path into the metadata."""

    def read(self, node: Node, report: ProblemCollector) -> str | Invalid:
        path = String("a field").read(node, report)
        if isinstance(path, Invalid):
            return INVALID
        top, dot, rest = path.partition(".")
        if path in {"type", "description"}:
            return path
        if top == "metadata" and all(part.strip() for part in rest.split(".")):
            return path
        if path == "metadata" or (top == "metadata" and dot):
            why = "it is no text; name a key in it: metadata.campaign_id"
        elif path in {"id", "status", "created_at"}:
            why = "it tells equal tasks nothing; use type, description or metadata.…"
        else:
            why = suggest(path, _COMPARABLE).removeprefix("; ")
        return report.error(
            node.place, f"cannot compare {quote_for_message(path)}: {why}"
        )

    def schema(self) -> Schema:
        pattern = r"^(type|description|metadata(\.[^.]+)+)$"
        return {"type": "string", "pattern": pattern}


_DUPLICATE: Final = Record(
    "a mapping with of, and keep if you like",
    (
        Field(
            "of",
            ListOf("a list of fields", _FieldPath(), hint="write [type, description]"),
            "Fields whose texts must be equal: type, description, metadata.….",
            required=True,
        ),
        Field(
            "keep",
            EnumType("task to keep", tuple(Keep)),
            "Which of several equal tasks stays; the oldest unless told otherwise.",
        ),
    ),
    advice="write duplicate: {of: [type, description]}",
)


def _duplicate(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> DuplicateOf | Invalid:
    of: tuple[str, ...] = given.get("of")
    twice = [path for index, path in enumerate(of) if path in of[:index]]
    if twice:
        return report.error(
            place, f"of names {quote_for_message(twice[0])} twice; once will do"
        )
    return DuplicateOf(of, given.get("keep", Keep.OLDEST))


# --- the whole match ----------------------------------------------------------------


def _all(
    parts: tuple[Condition, ...], _place: Location, _report: ProblemCollector
) -> AllOf:
    return AllOf(parts)


def _any(
    parts: tuple[Condition, ...], _place: Location, _report: ProblemCollector
) -> AnyOf:
    return AnyOf(parts)


class _NotType:
    """The one match under ``not``."""

    def read(self, node: Node, report: ProblemCollector) -> Not | Invalid:
        if isinstance(node, Sequence):
            advice = "write not: {any: […]} or not: {all: […]}"
            return report_unexpected("one match", node, report, advice)
        part = MATCH_REF.read(node, report)
        return INVALID if isinstance(part, Invalid) else Not(part)

    def schema(self) -> Schema:
        return MATCH_REF.schema()


def _all_of_keys(
    given: ParsedMapping, _place: Location, _report: ProblemCollector
) -> Condition:
    """AND the keys of one match, in the order of the file; one key stands alone."""
    parts: list[Condition] = []
    for value in given.values.values():
        parts.extend(value if isinstance(value, tuple) else (value,))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _match_type() -> FieldType[Condition]:
    return MATCH_TYPE


# Where a match may stand; its definition is below, for a match may contain matches.
MATCH_REF: Final = Ref("match", _match_type)

_MATCHES: Final[ListOf[Condition]] = ListOf(
    "a list of matches", MATCH_REF, hint="put each match behind a dash, or in [ ]"
)

MATCH_TYPE: Final[Mapped[ParsedMapping, Condition]] = Mapped(
    Record(
        "a match",
        (
            Field(
                "type",
                Mapped(OneOrMany("a task type", TYPE), _type_is),
                "The task's type: one, or a list of which any will do.",
            ),
            Field(
                "description",
                Mapped(_PATTERNS, _described),
                "An RE2 pattern that occurs in the description, or a list of which any"
                " will do. Case counts unless the pattern starts with (?i).",
            ),
            Field(
                "age", AGE, "How long ago the task was created, such as {over: 14d}."
            ),
            Field(
                "metadata",
                Mapped(
                    DictOf(
                        "a mapping of metadata keys",
                        _MetadataTests(),
                        hint="write metadata: {key: value}",
                    ),
                    _metadata,
                ),
                "Metadata keys or dotted paths, each with a value or with operators"
                " (equals, in, regex, over, under, missing) that all must hold.",
            ),
            Field(
                "duplicate",
                Mapped(_DUPLICATE, _duplicate),
                "Another pending task has the same texts, and is the one to keep.",
            ),
            Field("all", Mapped(_MATCHES, _all), "Matches that all must hold."),
            Field("any", Mapped(_MATCHES, _any), "Matches of which one must hold."),
            Field("not", _NotType(), "A match that must not hold."),
        ),
        advice="write keys such as type: or description:",
    ),
    _all_of_keys,
)
