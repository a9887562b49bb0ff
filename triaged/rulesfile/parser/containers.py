"""Composite field types: lists, mappings with known keys, mappings with any keys."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from triaged.rules.task import Json
from triaged.rulesfile.lists import find_hidden
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar, Sequence
from triaged.rulesfile.parser.scalars import Kind, kind_at, suggest_quotes
from triaged.rulesfile.parser.snippets import Snippets, examples, for_key
from triaged.rulesfile.parser.synonyms import Synonyms, in_this_language
from triaged.rulesfile.parser.values import FieldType, Schema, report_unexpected
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    Location,
    ProblemCollector,
    closest_match,
    quote_for_message,
    suggest,
)

T = TypeVar("T")
U = TypeVar("U")


def unique_items(
    node: Mapping, report: ProblemCollector
) -> Iterator[tuple[str, Location, Node]]:
    """Yield each key once, with its location and value; report invalid keys."""
    seen: dict[str, Location] = {}
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            report_unexpected(
                "a string as key", key, report, "check the braces, or quote it"
            )
        elif key.plain and key.value == "<<":
            report.error(key.place, "merge key <<: refused; write the keys out")
        elif kind_at(key) is not Kind.STRING:
            report_unexpected("a string as key", key, report, suggest_quotes(key.value))
        elif key.value in seen:
            first = seen[key.value].line
            shown = quote_for_message(key.value)
            message = f"key {shown} again; it is in line {first} already"
            report.error(key.place, message)
        else:
            seen[key.value] = key.place
            yield key.value, key.place, value


@dataclass(frozen=True, slots=True)
class Field:
    """A known key of a record; editors show ``title``, or else its name, as heading."""

    name: str
    shape: FieldType[Any]
    description: str
    required: bool = False
    title: str = ""

    def schema(self, snippets: Snippets) -> Schema:
        title = self.title or self.name.replace("_", " ").capitalize()
        about: Schema = {"title": title, "description": self.description}
        return about | for_key(self.name, snippets) | self.shape.schema()


@dataclass(frozen=True, slots=True)
class ParsedMapping:
    """The parsed content of a record: values and locations, in the order of the file.

    ``complete`` is False if a problem in it was reported; ``suggested_keys`` are the
    known keys that misspelled ones probably stand for.
    """

    place: Location
    values: dict[str, Any]
    locations: dict[str, Location]
    complete: bool
    suggested_keys: frozenset[str]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        return self.values.get(name, default)


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys; ``advice`` is added to the message on other values."""

    what: str
    fields: tuple[Field, ...]
    advice: str = ""
    key_advice: str = ""
    synonyms: Synonyms = field(default_factory=dict)
    snippets: Snippets = field(default_factory=dict)
    more: Schema = field(default_factory=dict)

    def read(self, node: Node, report: ProblemCollector) -> ParsedMapping | Invalid:
        given = self.read_partly(node, report)
        return INVALID if isinstance(given, Invalid) or not given.complete else given

    def read_partly(
        self, node: Node, report: ProblemCollector
    ) -> ParsedMapping | Invalid:
        """Read all valid fields, in the order of their declaration."""
        if not isinstance(node, Mapping):
            return report_unexpected(self.what, node, report, self.advice)
        if not node.pairs:
            keys = ", ".join(known.name for known in self.fields)
            return report_unexpected(self.what, node, report, f"name one of: {keys}")
        before = len(report.problems)
        found = {name: (at, value) for name, at, value in unique_items(node, report)}
        meant = self._check_keys(node, found, report)
        read = {
            known.name: known.shape.read(found[known.name][1], report)
            for known in self.fields
            if known.name in found
        }
        good = {
            name: read[name]
            for name in found
            if name in read and not isinstance(read[name], Invalid)
        }
        places = {name: value.place for name, (_, value) in found.items()}
        complete = len(report.problems) == before and len(good) == len(read)
        return ParsedMapping(node.place, good, places, complete, meant)

    def _check_keys(
        self,
        node: Mapping,
        found: dict[str, tuple[Location, Node]],
        report: ProblemCollector,
    ) -> frozenset[str]:
        known = [known.name for known in self.fields]
        meant = set()
        for name, (place, _) in found.items():
            if name not in known:
                instead = in_this_language(name, self.synonyms)
                key = instead.removeprefix("write ").partition(":")[0]
                meant.add(key or closest_match(name, known))
                if instead:
                    advice = f"; {instead}"
                else:
                    why = f"; {self.key_advice}" if self.key_advice else ""
                    advice = f"{suggest(name, known)}{why}"
                report.error(place, f"unknown key {quote_for_message(name)}{advice}")
        for wanted in self.fields:
            if wanted.required and wanted.name not in meant.union(found):
                message = f"missing key {wanted.name!r}: {wanted.description}"
                report.error(node.place, message)
        return frozenset(meant)

    def schema(self) -> Schema:
        properties: Schema = {
            known.name: known.schema(self.snippets) for known in self.fields
        }
        required: list[Json] = [known.name for known in self.fields if known.required]
        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        schema["additionalProperties"] = False
        schema["minProperties"] = 1
        return schema | examples(self.snippets) | self.more


@dataclass(frozen=True, slots=True)
class DictOf(Generic[T]):
    """A non-empty mapping with arbitrary keys."""

    label: str
    value: FieldType[T]
    hint: str = ""

    def read(self, node: Node, report: ProblemCollector) -> dict[str, T] | Invalid:
        if not isinstance(node, Mapping):
            return report_unexpected(self.label, node, report, self.hint)
        if not node.pairs:
            return report_unexpected(self.label, node, report, "name at least one key")
        before = len(report.problems)
        values: dict[str, T] = {}
        for key, place, child in unique_items(node, report):
            if problem := _key_problem(key):
                report.error(place, f"key {quote_for_message(key)} {problem}")
            value = self.value.read(child, report)
            if not isinstance(value, Invalid):
                values[key] = value
        complete = len(values) == len(node.pairs) and len(report.problems) == before
        return values if complete else INVALID

    def schema(self) -> Schema:
        return {
            "type": "object",
            "additionalProperties": self.value.schema(),
            "minProperties": 1,
        }


def _key_problem(key: str) -> str:
    parts = key.split(".")
    if not all(part.strip() for part in parts):
        return "has an empty part; write a dotted path"
    if any(part != part.strip() for part in parts):
        return "begins or ends with a space; drop it"
    if problem := find_hidden(key, allowed=""):
        return f"cannot be meant: {problem.partition(';')[0]}; remove it"
    return ""


@dataclass(frozen=True, slots=True)
class Ref(Generic[T]):
    """A reference to a recursive type, by its name in the schema; resolved lazily."""

    name: str
    find: Callable[[], FieldType[T]]

    def read(self, node: Node, report: ProblemCollector) -> T | Invalid:
        return self.find().read(node, report)

    def schema(self) -> Schema:
        return {"$ref": f"#/$defs/{self.name}"}


@dataclass(frozen=True, slots=True)
class ListOf(Generic[T]):
    """A list; ``keep_valid`` skips invalid items, where items are independent."""

    label: str
    item: FieldType[T]
    allow_empty: bool = False
    keep_valid: bool = False
    hint: str = ""

    def read(self, node: Node, report: ProblemCollector) -> tuple[T, ...] | Invalid:
        if not isinstance(node, Sequence):
            return report_unexpected(self.label, node, report, self.hint)
        if not node.items and not self.allow_empty:
            return report_unexpected(self.label, node, report, "name at least one")
        values = [self.item.read(item, report) for item in node.items]
        good = tuple(value for value in values if not isinstance(value, Invalid))
        return good if self.keep_valid or len(good) == len(values) else INVALID

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.schema()}
        return schema if self.allow_empty else schema | {"minItems": 1}


@dataclass(frozen=True, slots=True)
class OneOrMany(Generic[T]):
    """One value, or a list of them."""

    label: str
    item: FieldType[T]

    def read(self, node: Node, report: ProblemCollector) -> tuple[T, ...] | Invalid:
        if isinstance(node, Sequence):
            return ListOf(f"{self.label} or a list", self.item).read(node, report)
        value = self.item.read(node, report)
        return value if isinstance(value, Invalid) else (value,)

    def schema(self) -> Schema:
        many = ListOf(self.label, self.item).schema()
        return {"anyOf": [self.item.schema(), many]}


@dataclass(frozen=True, slots=True)
class Mapped(Generic[T, U]):
    """A type whose value is converted by ``build``, which may report a problem."""

    shape: FieldType[T]
    build: Callable[[T, Location, ProblemCollector], U | Invalid]

    def read(self, node: Node, report: ProblemCollector) -> U | Invalid:
        value = self.shape.read(node, report)
        if isinstance(value, Invalid):
            return value
        return self.build(value, node.place, report)

    def schema(self) -> Schema:
        return self.shape.schema()


@dataclass(frozen=True, slots=True)
class Built(Generic[T, U]):
    """A type whose every value ``build`` can convert."""

    shape: FieldType[T]
    build: Callable[[T], U]

    def read(self, node: Node, report: ProblemCollector) -> U | Invalid:
        value = self.shape.read(node, report)
        return value if isinstance(value, Invalid) else self.build(value)

    def schema(self) -> Schema:
        return self.shape.schema()
