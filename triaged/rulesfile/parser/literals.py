"""What values are compared with: JSON as in YAML, and lists of it or of phrases."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from triaged.rules.conditions import In, ListFile, Words
from triaged.rules.task import Json, nfc
from triaged.rules.words import has_word
from triaged.rulesfile.lists import ListFileError, check_entry, find_hidden
from triaged.rulesfile.parser.containers import (
    Field,
    ListOf,
    Mapped,
    OneOrMany,
    Record,
    unique_items,
)
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar, Sequence
from triaged.rulesfile.parser.scalars import Kind, kind_at, parse_bool, suggest_fix
from triaged.rulesfile.parser.values import Schema, String, report_unexpected
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    Location,
    ProblemCollector,
    quote_for_message,
    yaml_quote,
)


@dataclass(frozen=True, slots=True)
class JsonValue:
    """Any JSON value that is unambiguous in YAML; null only if ``null`` is set."""

    null: bool = False

    def read(self, node: Node, report: ProblemCollector) -> "Json | Invalid":
        match node:
            case Scalar():
                return self._scalar(node, report)
            case Sequence(items=items):
                read = [JsonValue(null=True).read(item, report) for item in items]
                values = [value for value in read if not isinstance(value, Invalid)]
                return values if len(values) == len(read) else INVALID
            case Mapping():
                return self._mapping(node, report)
            case _:
                return INVALID

    def _mapping(self, node: Mapping, report: ProblemCollector) -> "Json | Invalid":
        found: dict[str, Json] = {}
        for key, _, child in unique_items(node, report):
            value = JsonValue(null=True).read(child, report)
            if not isinstance(value, Invalid):
                found[key] = value
        return found if len(found) == len(node.pairs) else INVALID

    def _scalar(self, node: Scalar, report: ProblemCollector) -> "Json | Invalid":
        match kind_at(node):
            case Kind.STRING:
                return nfc(node.value)
            case Kind.NULL if self.null:
                return None
            case Kind.NULL:
                advice = "a null counts as missing: write missing: true"
            case Kind.BOOLEAN:
                return parse_bool(node.value)
            case Kind.INTEGER:
                return int(node.value)
            case Kind.DECIMAL if repr(float(node.value)) == node.value:
                return float(node.value)
            case Kind.DECIMAL:
                meant = repr(float(node.value))
                advice = (
                    f"as a number write {meant}, as a string {yaml_quote(node.value)}"
                )
            case _:
                advice = suggest_fix(node.value)
        return report_unexpected("a value", node, report, advice)

    def schema(self) -> Schema:
        return {"type": ["string", "number", "boolean", "array", "object"]}


def _check_visible(
    value: Json, place: Location, report: ProblemCollector
) -> "Json | Invalid":
    problem = next(filter(None, map(find_hidden, _strings_in(value))), "")
    return report.error(place, problem) if problem else value


def _strings_in(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings_in(item)
        case dict():
            yield from value
            for item in value.values():
                yield from _strings_in(item)
        case _:
            return


# A value to compare with, in which every character can be seen.
LITERAL: Final = Mapped(JsonValue(), _check_visible)


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
        return given
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


def _phrase(text: str, place: Location, report: ProblemCollector) -> str | Invalid:
    if problem := check_entry(text):
        return report.error(place, problem)
    if not has_word(text):
        return report.error(place, f"{_no_word(text)}; use regex for signs")
    return nfc(text.strip())


class WordsType:
    """A word or phrase, a list of them, or a file of them."""

    _inline = OneOrMany("a word or phrase", Mapped(String("a word or phrase"), _phrase))

    def read(self, node: Node, report: ProblemCollector) -> Words | Invalid:
        if not isinstance(node, Mapping):
            phrases = self._inline.read(node, report)
            return phrases if isinstance(phrases, Invalid) else Words(phrases)
        listed = _read_file(node, report, of_words=True)
        if isinstance(listed, Invalid) or listed.file is None:
            return INVALID
        if listed.file.id not in report.shared_words:
            words = Words(tuple(map(str, listed.values)), listed.file)
            report.shared_words[listed.file.id] = words
        return report.shared_words[listed.file.id]

    def schema(self) -> Schema:
        return {"anyOf": [self._inline.schema(), _FILE.schema()]}


class InType:
    """A list of values, or a file of them."""

    _inline = ListOf("a list of values", LITERAL, hint="write [first, second]")

    def read(self, node: Node, report: ProblemCollector) -> In | Invalid:
        if isinstance(node, Mapping):
            return _read_file(node, report)
        values = self._inline.read(node, report)
        return values if isinstance(values, Invalid) else In(values)

    def schema(self) -> Schema:
        return {"anyOf": [self._inline.schema(), _FILE.schema()]}
