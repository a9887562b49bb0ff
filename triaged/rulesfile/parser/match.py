"""The match language: from the nodes of one match to a condition."""

from datetime import timedelta
from typing import Final, TypeVar

from triaged.rules.conditions import (
    Aged,
    All,
    AnyOf,
    Condition,
    Described,
    Duplicate,
    Equals,
    Keep,
    Matches,
    Metadata,
    Missing,
    Not,
    OneOf,
    Over,
    Test,
    TypeIs,
    Under,
)
from triaged.rules.duration import show_duration
from triaged.rules.patterns.re2_pattern import Re2Pattern
from triaged.rules.task import DOCUMENTED_TYPES
from triaged.rulesfile.parser.containers import (
    Field,
    Given,
    JsonValue,
    ListOf,
    MapOf,
    OneOrMany,
    Record,
    Reference,
    Then,
)
from triaged.rulesfile.parser.nodes import Mapping, Node, Sequence
from triaged.rulesfile.parser.references import Choice, Name
from triaged.rulesfile.parser.values import (
    Duration,
    Flag,
    Number,
    PatternText,
    Schema,
    Shape,
    Text,
    expected,
)
from triaged.rulesfile.problems import BAD, Bad, Place, Report, nearest, shown

T = TypeVar("T")

TYPE: Final = Name(
    "task type",
    "types",
    DOCUMENTED_TYPES,
    advice="other types must be declared in task_types",
)
_PATTERNS: Final = OneOrMany("a pattern", PatternText())

# What of a task can be compared as text; status is the same for all pending tasks.
_COMPARABLE: Final = ("type", "description", "metadata.…")


def _type_is(types: tuple[str, ...], _place: Place, _report: Report) -> TypeIs:
    return TypeIs(types)


def _described(
    patterns: tuple[Re2Pattern, ...], _place: Place, _report: Report
) -> Described:
    return Described(patterns)


def _aged(given: Given, place: Place, report: Report) -> Aged | Bad:
    over: timedelta | None = given.get("over")
    under: timedelta | None = given.get("under")
    if over is not None and under is not None and over >= under:
        bounds = f"over {show_duration(over)} and under {show_duration(under)}"
        return report.error(place, f"no age is {bounds}; swap them or drop one")
    return Aged(over, under)


AGE: Final = Then(
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
        Field("missing", Flag(), "The key is absent or null; false: it is there."),
    ),
    key_advice="a value inside a mapping has a dotted path, such as filters.country",
)


def _tests(given: Given, place: Place, report: Report) -> tuple[Test, ...] | Bad:
    over, under = given.get("over"), given.get("under")
    if over is not None and under is not None and over >= under:
        bounds = f"over {over} and under {under}"
        return report.error(place, f"no number is {bounds}; swap them or drop one")
    if given.get("missing") and len(given.values) > 1:
        others = ", ".join(name for name in given.values if name != "missing")
        message = f"missing: true leaves nothing for {others} to judge; drop one"
        return report.error(place, message)
    return tuple(_test(name, value) for name, value in given.values.items())


def _test(name: str, value: object) -> Test:
    """Make one operator's condition; the shapes above vouch for the value's type."""
    made = {
        "equals": Equals,
        "in": OneOf,
        "regex": Matches,
        "over": Over,
        "under": Under,
        "missing": Missing,
    }[name]
    test: Test = made(value)
    return test


_TESTS: Final = Then(_OPERATORS, _tests)


class _MetadataTests:
    """What a metadata value must be: itself, or operators that all must hold."""

    def read(self, node: Node, report: Report) -> tuple[Test, ...] | Bad:
        if isinstance(node, Mapping):
            return _TESTS.read(node, report)
        if isinstance(node, Sequence):
            what = "a value or a mapping of operators"
            return expected(what, node, report, "use in: [first, second]")
        value = _VALUE.read(node, report)
        return BAD if isinstance(value, Bad) else (Equals(value),)

    def schema(self) -> Schema:
        bare: Schema = {"type": ["string", "number", "boolean"]}
        return {"anyOf": [bare, _TESTS.schema()]}


def _metadata(
    tests: dict[str, tuple[Test, ...]], _place: Place, _report: Report
) -> tuple[Metadata, ...]:
    return tuple(Metadata(path, test) for path in tests for test in tests[path])


# --- duplicate ----------------------------------------------------------------------


class _FieldPath:
    """A text field of a task: type, description, or a path into the metadata."""

    def read(self, node: Node, report: Report) -> str | Bad:
        path = Text("a field").read(node, report)
        if isinstance(path, Bad):
            return BAD
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
            why = nearest(path, _COMPARABLE).removeprefix("; ")
        return report.error(node.place, f"cannot compare {shown(path)}: {why}")

    def schema(self) -> Schema:
        pattern = r"^(type|description|metadata(\.[^.]+)+)$"
        return {"type": "string", "pattern": pattern}


_DUPLICATE: Final = Record(
    "a mapping with of, and keep if you like",
    (
        Field(
            "of",
            ListOf(
                "a list of fields", _FieldPath(), advice="write [type, description]"
            ),
            "Fields whose texts must be equal: type, description, metadata.….",
            required=True,
        ),
        Field(
            "keep",
            Choice("task to keep", tuple(Keep)),
            "Which of several equal tasks stays; the oldest unless told otherwise.",
        ),
    ),
    advice="write duplicate: {of: [type, description]}",
)


def _duplicate(given: Given, place: Place, report: Report) -> Duplicate | Bad:
    of: tuple[str, ...] = given.get("of")
    twice = [path for index, path in enumerate(of) if path in of[:index]]
    if twice:
        return report.error(place, f"of names {shown(twice[0])} twice; once will do")
    return Duplicate(of, given.get("keep", Keep.OLDEST))


# --- the whole match ----------------------------------------------------------------


def _all(parts: tuple[Condition, ...], _place: Place, _report: Report) -> All:
    return All(parts)


def _any(parts: tuple[Condition, ...], _place: Place, _report: Report) -> AnyOf:
    return AnyOf(parts)


class _Negated:
    """The one match under ``not``."""

    def read(self, node: Node, report: Report) -> Not | Bad:
        if isinstance(node, Sequence):
            advice = "write not: {any: […]} or not: {all: […]}"
            return expected("one match", node, report, advice)
        part = MATCH.read(node, report)
        return BAD if isinstance(part, Bad) else Not(part)

    def schema(self) -> Schema:
        return MATCH.schema()


def _joined(given: Given, _place: Place, _report: Report) -> Condition:
    """AND the keys of one match, in the order of the file; one key stands alone."""
    parts: list[Condition] = []
    for value in given.values.values():
        parts.extend(value if isinstance(value, tuple) else (value,))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _find_match() -> Shape[Condition]:
    return WHOLE_MATCH


# Where a match may stand; its definition is below, for a match may contain matches.
MATCH: Final = Reference("match", _find_match)

_MATCHES: Final[ListOf[Condition]] = ListOf(
    "a list of matches", MATCH, advice="put each match behind a dash, or in [ ]"
)

WHOLE_MATCH: Final[Then[Given, Condition]] = Then(
    Record(
        "a match",
        (
            Field(
                "type",
                Then(OneOrMany("a task type", TYPE), _type_is),
                "The task's type: one, or a list of which any will do.",
            ),
            Field(
                "description",
                Then(_PATTERNS, _described),
                "An RE2 pattern that occurs in the description, or a list of which any"
                " will do. Case counts unless the pattern starts with (?i).",
            ),
            Field(
                "age", AGE, "How long ago the task was created, such as {over: 14d}."
            ),
            Field(
                "metadata",
                Then(
                    MapOf(
                        "a mapping of metadata keys",
                        _MetadataTests(),
                        advice="write metadata: {key: value}",
                    ),
                    _metadata,
                ),
                "Metadata keys or dotted paths, each with a value or with operators"
                " (equals, in, regex, over, under, missing) that all must hold.",
            ),
            Field(
                "duplicate",
                Then(_DUPLICATE, _duplicate),
                "Another pending task has the same texts, and is the one to keep.",
            ),
            Field("all", Then(_MATCHES, _all), "Matches that all must hold."),
            Field("any", Then(_MATCHES, _any), "Matches of which one must hold."),
            Field("not", _Negated(), "A match that must not hold."),
        ),
        advice="write keys such as type: or description:",
    ),
    _joined,
)
