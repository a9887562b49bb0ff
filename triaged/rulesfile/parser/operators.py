"""Parses the operators on values: on the description and on metadata."""

from typing import Final

from triaged.rules.conditions import (
    Blank,
    Condition,
    DescriptionIs,
    DescriptionMatches,
    Equals,
    GreaterThan,
    In,
    LessThan,
    ListFile,
    MetadataMatches,
    MetadataTest,
    Missing,
    Regex,
    Words,
)
from triaged.rules.patterns.re2_pattern import Re2Pattern
from triaged.rules.task import nfc
from triaged.rules.words import has_word
from triaged.rulesfile.lists import ListFileError, check_entry, find_hidden
from triaged.rulesfile.parser.containers import (
    DictOf,
    Field,
    ListOf,
    Mapped,
    OneOrMany,
    ParsedMapping,
    Record,
)
from triaged.rulesfile.parser.literals import Literal
from triaged.rulesfile.parser.nodes import Mapping, Node, Sequence
from triaged.rulesfile.parser.snippets import IN_OPERATORS as OPERATOR_SNIPPETS
from triaged.rulesfile.parser.synonyms import IN_OPERATORS
from triaged.rulesfile.parser.values import (
    Boolean,
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
)

PATTERNS: Final = OneOrMany("a pattern", RegexType())
_NUMBER: Final = Number(decimal=True)
_VALUE: Final = Literal()
_EQUALS: Final = "The value is this one, of the same JSON type."
_REGEX: Final = "The value is a text in which a pattern occurs."
_WORDS: Final = (
    "One of these words or phrases stands in the text as a whole; case and spacing do"
    " not count. {file: NAME} reads them from a file, one a line."
)
_BLANK: Final = "The text is empty or white space only; false: it is not."


# --- lists: here, or in a file of their own -------------------------------------------

_FILE: Final = Record(
    "a mapping with file",
    (
        Field(
            "file",
            String("the name of a file"),
            "A file in the directory of the rules file, one entry a line.",
            required=True,
        ),
    ),
)


def _read_file(
    node: Node, report: ProblemCollector, *, of_words: bool = False
) -> In | Invalid:
    """Return the entries of the list file that the node names, or report a problem."""
    given = _FILE.read(node, report)
    if isinstance(given, Invalid):
        return INVALID
    name: str = given.get("file")
    content = report.lists.get(node.place.file, {}).get(name)
    if content is None:
        content = ListFileError(f"{quote_for_message(name)} cannot be read from here")
    if isinstance(content, ListFileError):
        return report.error(given.locations["file"], f"list {content}")
    if of_words and content.wordless is not None:
        line = content.lines[content.wordless]
        why = _no_word(content.entries[content.wordless])
        return report.error(given.locations["file"], f"list {name}:{line}: {why}")
    file = ListFile(name, content.sha256, content.lines)
    if file.id not in report.shared_lists:
        report.shared_lists[file.id] = In(content.entries, file)
    return report.shared_lists[file.id]


def _no_word(entry: str) -> str:
    return f"{quote_for_message(entry)} has no letter or digit to look for"


class _Phrase:
    """A word or phrase, in NFC."""

    def read(self, node: Node, report: ProblemCollector) -> str | Invalid:
        text = String("a word or phrase").read(node, report)
        if isinstance(text, Invalid):
            return INVALID
        if problem := check_entry(text):
            return report.error(node.place, problem)
        if not has_word(text):
            return report.error(node.place, f"{_no_word(text)}; use regex for signs")
        return nfc(text.strip())

    def schema(self) -> Schema:
        return String("a word or phrase").schema()


class _WordsType:
    """A word or phrase, a list of them, or a file of them."""

    _inline = OneOrMany("a word or phrase", _Phrase())

    def read(self, node: Node, report: ProblemCollector) -> Words | Invalid:
        if not isinstance(node, Mapping):
            phrases = self._inline.read(node, report)
            return INVALID if isinstance(phrases, Invalid) else Words(phrases)
        listed = _read_file(node, report, of_words=True)
        if isinstance(listed, Invalid) or listed.file is None:
            return INVALID
        shared = report.shared_words.get(listed.file.id)
        if shared is None:
            shared = Words(tuple(map(str, listed.values)), listed.file)
            report.shared_words[listed.file.id] = shared
        return shared

    def schema(self) -> Schema:
        return {"anyOf": [self._inline.schema(), _FILE.schema()]}


class _InType:
    """A list of values, or a file of them."""

    _inline = ListOf("a list of values", _VALUE, hint="write [first, second]")

    def read(self, node: Node, report: ProblemCollector) -> In | Invalid:
        if isinstance(node, Mapping):
            return _read_file(node, report)
        values = self._inline.read(node, report)
        return INVALID if isinstance(values, Invalid) else In(values)

    def schema(self) -> Schema:
        return {"anyOf": [self._inline.schema(), _FILE.schema()]}


# --- the description ------------------------------------------------------------------


def _equal(text: str, place: Location, report: ProblemCollector) -> Equals | Invalid:
    if problem := find_hidden(text):
        return report.error(place, problem)
    return Equals(nfc(text))


def _blank(expected: object, _place: Location, _report: ProblemCollector) -> Blank:
    return Blank(expected is True)


def _regex(
    patterns: tuple[Re2Pattern, ...], _place: Location, _report: ProblemCollector
) -> Regex:
    return Regex(patterns)


_TEXT_OPERATORS: Final = Record(
    "a pattern, a list of patterns, or a mapping of text operators",
    (
        Field("regex", Mapped(PATTERNS, _regex), _REGEX, title="Pattern"),
        Field("words", _WordsType(), _WORDS, title="Words or phrases"),
        Field(
            "equals",
            Mapped(String("a string"), _equal),
            "The text is this one.",
            title="Equal to",
        ),
        Field("blank", Mapped(Boolean(), _blank), _BLANK, title="Blank"),
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
                return INVALID
            return (DescriptionMatches(patterns),)
        given = _TEXT_OPERATORS.read(node, report)
        if isinstance(given, Invalid) or not _leaves_room(given, report):
            return INVALID
        return tuple(
            DescriptionMatches(test.patterns)
            if isinstance(test, Regex)
            else DescriptionIs(test)
            for test in given.values.values()
        )

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


def _missing(expected: object, _place: Location, _report: ProblemCollector) -> Missing:
    return Missing(expected is True)


def _over(bound: float, _place: Location, _report: ProblemCollector) -> GreaterThan:
    return GreaterThan(bound)


def _under(bound: float, _place: Location, _report: ProblemCollector) -> LessThan:
    return LessThan(bound)


class _EqualsType:
    """Any value that metadata can contain."""

    def read(self, node: Node, report: ProblemCollector) -> Equals | Invalid:
        value = _VALUE.read(node, report)
        return INVALID if isinstance(value, Invalid) else Equals(value)

    def schema(self) -> Schema:
        return _VALUE.schema()


_OPERATORS: Final = Record(
    "a value or a mapping of operators",
    (
        Field("equals", _EqualsType(), _EQUALS, title="Equal to"),
        Field(
            "in",
            _InType(),
            "The value is one of these. {file: NAME} reads texts from a file.",
            title="One of these",
        ),
        Field("regex", Mapped(PATTERNS, _regex), _REGEX, title="Pattern"),
        Field("words", _WordsType(), _WORDS, title="Words or phrases"),
        Field("blank", Mapped(Boolean(), _blank), _BLANK, title="Blank"),
        Field(
            "over",
            Mapped(_NUMBER, _over),
            "The value is a number above this one.",
            title="Above",
        ),
        Field(
            "under",
            Mapped(_NUMBER, _under),
            "The value is a number below this one.",
            title="Below",
        ),
        Field(
            "missing",
            Mapped(Boolean(), _missing),
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
    return tuple(
        MetadataMatches(nfc(path), test) for path in tests for test in tests[path]
    )


METADATA: Final[FieldType[tuple[MetadataMatches, ...]]] = Mapped(
    DictOf(
        "a mapping of metadata keys",
        _MetadataTests(),
        hint="write metadata: {key: value}",
    ),
    _metadata,
)
