"""Parses the operators on values: on the description and on metadata."""

from typing import Final

from triaged.rules.conditions import (
    Blank,
    Condition,
    DescriptionIs,
    Equals,
    GreaterThan,
    LessThan,
    MetadataMatches,
    MetadataTest,
    Missing,
    Regex,
)
from triaged.rules.task import nfc
from triaged.rulesfile.lists import find_hidden
from triaged.rulesfile.parser.containers import (
    Built,
    DictOf,
    Field,
    Mapped,
    OneOrMany,
    ParsedMapping,
    Record,
)
from triaged.rulesfile.parser.literals import LITERAL, InType, WordsType
from triaged.rulesfile.parser.nodes import Mapping, Node, Sequence
from triaged.rulesfile.parser.snippets import IN_OPERATORS as OPERATOR_SNIPPETS
from triaged.rulesfile.parser.synonyms import IN_OPERATORS
from triaged.rulesfile.parser.values import (
    Boolean,
    Number,
    RegexType,
    Schema,
    String,
    report_unexpected,
)
from triaged.rulesfile.problems import INVALID, Invalid, Location, ProblemCollector

PATTERNS: Final = OneOrMany("a pattern", RegexType())
_NUMBER: Final = Number(decimal=True)

# --- the description ------------------------------------------------------------------


def _equal(text: str, place: Location, report: ProblemCollector) -> Equals | Invalid:
    if problem := find_hidden(text):
        return report.error(place, problem)
    return Equals(nfc(text))


_REGEX: Final = Field(
    "regex",
    Built(PATTERNS, Regex),
    "The value is a text in which a pattern occurs.",
    title="Pattern",
)
_WORDS: Final = Field(
    "words",
    WordsType(),
    "One of these words or phrases stands in the text as a whole; case and spacing do"
    " not count. {file: NAME} reads them from a file, one a line.",
    title="Words or phrases",
)
_BLANK: Final = Field(
    "blank",
    Built(Boolean(), Blank),
    "The text is empty or white space only; false: it is not.",
)
_TEXT_OPERATORS: Final = Record(
    "a pattern, a list of patterns, or a mapping of text operators",
    (
        _REGEX,
        _WORDS,
        Field(
            "equals",
            Mapped(String("a string"), _equal),
            "The text is this one.",
            title="Equal to",
        ),
        _BLANK,
    ),
    synonyms=IN_OPERATORS,
    snippets=OPERATOR_SNIPPETS,
)


class DescriptionType:
    """Patterns combined by OR, or text operators combined by AND."""

    def read(
        self, node: Node, report: ProblemCollector
    ) -> tuple[Condition, ...] | Invalid:
        if not isinstance(node, Mapping):
            patterns = PATTERNS.read(node, report)
            if isinstance(patterns, Invalid):
                return patterns
            return (DescriptionIs(Regex(patterns)),)
        given = _TEXT_OPERATORS.read(node, report)
        if isinstance(given, Invalid) or not _leaves_room(given, report):
            return INVALID
        return tuple(map(DescriptionIs, given.values.values()))

    def schema(self) -> Schema:
        return {"anyOf": [PATTERNS.schema(), _TEXT_OPERATORS.schema()]}


def _leaves_room(given: ParsedMapping, report: ProblemCollector) -> bool:
    """Report ``missing: true`` or ``blank: true`` beside contradicting operators."""
    for name, test in given.values.items():
        others = ", ".join(other for other in given.values if other != name)
        if others and isinstance(test, Missing | Blank) and test.expected:
            message = f"{name}: true leaves nothing for {others} to judge; drop one"
            report.error(given.place, message)
            return False
    return True


# --- metadata -------------------------------------------------------------------------


_EQUALS: Final = Built(LITERAL, Equals)
_OPERATORS: Final = Record(
    "a value or a mapping of operators",
    (
        Field(
            "equals",
            _EQUALS,
            "The value is this one, of the same JSON type.",
            title="Equal to",
        ),
        Field(
            "in",
            InType(),
            "The value is one of these. {file: NAME} reads texts from a file.",
            title="One of these",
        ),
        _REGEX,
        _WORDS,
        _BLANK,
        Field(
            "over",
            Built(_NUMBER, GreaterThan),
            "The value is a number above this one.",
            title="Above",
        ),
        Field(
            "under",
            Built(_NUMBER, LessThan),
            "The value is a number below this one.",
            title="Below",
        ),
        Field(
            "missing",
            Built(Boolean(), Missing),
            "The key is absent or null; false: it is there.",
            title="Missing key",
        ),
    ),
    key_advice="a value inside a mapping has a dotted path, such as filters.country",
    synonyms=IN_OPERATORS,
    snippets=OPERATOR_SNIPPETS,
)


def _tests(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> tuple[MetadataTest, ...] | Invalid:
    over, under = given.get("over"), given.get("under")
    if over is not None and under is not None and over.bound >= under.bound:
        bounds = f"over {over.bound} and under {under.bound}"
        return report.error(place, f"no number is {bounds}; swap them or drop one")
    return tuple(given.values.values()) if _leaves_room(given, report) else INVALID


_TESTS: Final = Mapped(_OPERATORS, _tests)


class _MetadataTests:
    """A test of a metadata value: a literal, or operators combined by AND."""

    def read(
        self, node: Node, report: ProblemCollector
    ) -> tuple[MetadataTest, ...] | Invalid:
        if isinstance(node, Mapping):
            return _TESTS.read(node, report)
        if isinstance(node, Sequence):
            what = "a value or a mapping of operators"
            return report_unexpected(what, node, report, "use in: [first, second]")
        test = _EQUALS.read(node, report)
        return test if isinstance(test, Invalid) else (test,)

    def schema(self) -> Schema:
        bare: Schema = {"type": ["string", "number", "boolean"]}
        return {"anyOf": [bare, _TESTS.schema()]}


def _metadata(
    tests: dict[str, tuple[MetadataTest, ...]],
) -> tuple[MetadataMatches, ...]:
    return tuple(
        MetadataMatches(nfc(path), test) for path in tests for test in tests[path]
    )


METADATA: Final = Built(
    DictOf(
        "a mapping of metadata keys",
        _MetadataTests(),
        hint="write metadata: {key: value}",
    ),
    _metadata,
)
