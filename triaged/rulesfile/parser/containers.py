"""Shapes made of shapes: lists, mappings with known keys, mappings with any keys."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from triaged.rules.task import Json
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar, Sequence
from triaged.rulesfile.parser.scalars import Kind, kind_at, mend, quote_it, truth_of
from triaged.rulesfile.parser.values import Schema, Shape, expected
from triaged.rulesfile.problems import (
    BAD,
    Bad,
    Place,
    Report,
    closest,
    nearest,
    quoted,
    shown,
)

T = TypeVar("T")
U = TypeVar("U")


def entries(node: Mapping, report: Report) -> Iterator[tuple[str, Place, Node]]:
    """Give each key once with its place and value; report the keys that cannot be."""
    seen: dict[str, Place] = {}
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            expected("a text as key", key, report, "check the braces, or quote it")
        elif key.plain and key.value == "<<":
            report.error(key.place, "merge key <<: refused; write the keys out")
        elif kind_at(key) is not Kind.TEXT:
            expected("a text as key", key, report, quote_it(key.value))
        elif key.value in seen:
            first = seen[key.value].line
            message = f"key {shown(key.value)} again; it is in line {first} already"
            report.error(key.place, message)
        else:
            seen[key.value] = key.place
            yield key.value, key.place, value


@dataclass(frozen=True, slots=True)
class Field:
    """A key that a record knows, with what may stand there and what it is for."""

    name: str
    shape: Shape[Any]
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What a record held: values and their places, in the order of the file.

    ``complete`` is False when something in it was reported; ``meant`` are the keys
    that unknown ones were probably meant to be.
    """

    place: Place
    values: dict[str, Any]
    places: dict[str, Place]
    complete: bool
    meant: frozenset[str]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return the value of a key, or the default where the file has none."""
        return self.values.get(name, default)


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys; ``advice`` helps when something else stands there."""

    what: str
    fields: tuple[Field, ...]
    advice: str = ""
    key_advice: str = ""
    more: Schema = field(default_factory=dict)

    def read(self, node: Node, report: Report) -> Given | Bad:
        given = self.read_partly(node, report)
        return BAD if isinstance(given, Bad) or not given.complete else given

    def read_partly(self, node: Node, report: Report) -> Given | Bad:
        """Read what can be read; the fields in the order in which they are declared."""
        if not isinstance(node, Mapping):
            return expected(self.what, node, report, self.advice)
        if not node.pairs:
            keys = ", ".join(known.name for known in self.fields)
            return expected(self.what, node, report, f"name one of: {keys}")
        before = len(report.problems)
        found = {name: (at, value) for name, at, value in entries(node, report)}
        meant = self._check_keys(node, found, report)
        read = {
            known.name: known.shape.read(found[known.name][1], report)
            for known in self.fields
            if known.name in found
        }
        good = {
            name: read[name]
            for name in found
            if name in read and not isinstance(read[name], Bad)
        }
        places = {name: value.place for name, (_, value) in found.items()}
        complete = len(report.problems) == before and len(good) == len(read)
        return Given(node.place, good, places, complete, meant)

    def _check_keys(
        self, node: Mapping, found: dict[str, tuple[Place, Node]], report: Report
    ) -> frozenset[str]:
        known = [known.name for known in self.fields]
        meant = set()
        for name, (place, _) in found.items():
            if name not in known:
                meant.add(closest(name, known))
                why = f"; {self.key_advice}" if self.key_advice else ""
                offer = nearest(name, known)
                report.error(place, f"unknown key {shown(name)}{offer}{why}")
        for wanted in self.fields:
            if wanted.required and wanted.name not in meant.union(found):
                message = f"missing key {wanted.name!r}: {wanted.about}"
                report.error(node.place, message)
        return frozenset(meant)

    def schema(self) -> Schema:
        properties: Schema = {}
        for known in self.fields:
            about: Schema = {"description": known.about}
            properties[known.name] = about | known.shape.schema()
        required: list[Json] = [known.name for known in self.fields if known.required]
        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        schema["additionalProperties"] = False
        schema["minProperties"] = 1
        return schema | self.more


@dataclass(frozen=True, slots=True)
class MapOf(Generic[T]):
    """A mapping with keys of the author's own; not empty."""

    what: str
    value: Shape[T]
    advice: str = ""

    def read(self, node: Node, report: Report) -> dict[str, T] | Bad:
        if not isinstance(node, Mapping):
            return expected(self.what, node, report, self.advice)
        if not node.pairs:
            return expected(self.what, node, report, "name at least one key")
        before = len(report.problems)
        values: dict[str, T] = {}
        for key, place, child in entries(node, report):
            if not all(part.strip() for part in key.split(".")):
                message = f"key {shown(key)} has an empty part; write a dotted path"
                report.error(place, message)
            value = self.value.read(child, report)
            if not isinstance(value, Bad):
                values[key] = value
        complete = len(values) == len(node.pairs) and len(report.problems) == before
        return values if complete else BAD

    def schema(self) -> Schema:
        return {
            "type": "object",
            "additionalProperties": self.value.schema(),
            "minProperties": 1,
        }


@dataclass(frozen=True, slots=True)
class Reference(Generic[T]):
    """A shape that contains itself: named in the schema, found when it is needed."""

    name: str
    find: Callable[[], Shape[T]]

    def read(self, node: Node, report: Report) -> T | Bad:
        return self.find().read(node, report)

    def schema(self) -> Schema:
        return {"$ref": f"#/$defs/{self.name}"}


@dataclass(frozen=True, slots=True)
class JsonValue:
    """Any JSON value that YAML leaves no doubt of; null where ``null`` says so."""

    null: bool = False
    what: str = "a value"

    def read(self, node: Node, report: Report) -> "Json | Bad":
        match node:
            case Scalar():
                return self._scalar(node, report)
            case Sequence(items=items):
                read = [JsonValue(null=True).read(item, report) for item in items]
                values = [value for value in read if not isinstance(value, Bad)]
                return values if len(values) == len(read) else BAD
            case Mapping():
                return self._mapping(node, report)
            case _:
                return BAD

    def _mapping(self, node: Mapping, report: Report) -> "Json | Bad":
        found: dict[str, Json] = {}
        for key, _, child in entries(node, report):
            value = JsonValue(null=True).read(child, report)
            if not isinstance(value, Bad):
                found[key] = value
        return found if len(found) == len(node.pairs) else BAD

    def _scalar(self, node: Scalar, report: Report) -> "Json | Bad":
        match kind_at(node):
            case Kind.TEXT:
                return node.value
            case Kind.NULL if self.null:
                return None
            case Kind.NULL:
                advice = "a null counts as missing: write missing: true"
                return expected(self.what, node, report, advice)
            case Kind.BOOLEAN:
                return truth_of(node.value)
            case Kind.WHOLE:
                return int(node.value)
            case Kind.DECIMAL if repr(float(node.value)) == node.value:
                return float(node.value)
            case Kind.DECIMAL:
                meant = repr(float(node.value))
                advice = f"as a number write {meant}, as a text {quoted(node.value)}"
                return expected(self.what, node, report, advice)
            case _:
                return expected(self.what, node, report, mend(node.value))

    def schema(self) -> Schema:
        if self.null:
            return {}
        return {"type": ["string", "number", "boolean", "array", "object"]}


@dataclass(frozen=True, slots=True)
class ListOf(Generic[T]):
    """A list, not empty unless ``empty``.

    ``partial`` gives what could be read where something could not: for lists whose
    items are judged one by one.
    """

    what: str
    item: Shape[T]
    empty: bool = False
    partial: bool = False
    advice: str = ""

    def read(self, node: Node, report: Report) -> tuple[T, ...] | Bad:
        if not isinstance(node, Sequence):
            return expected(self.what, node, report, self.advice)
        if not node.items and not self.empty:
            return expected(self.what, node, report, "name at least one")
        values = [self.item.read(item, report) for item in node.items]
        good = tuple(value for value in values if not isinstance(value, Bad))
        return good if self.partial or len(good) == len(values) else BAD

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.schema()}
        return schema if self.empty else schema | {"minItems": 1}


@dataclass(frozen=True, slots=True)
class OneOrMany(Generic[T]):
    """One value, or a list of them."""

    what: str
    item: Shape[T]

    def read(self, node: Node, report: Report) -> tuple[T, ...] | Bad:
        if isinstance(node, Sequence):
            return ListOf(f"{self.what} or a list", self.item).read(node, report)
        value = self.item.read(node, report)
        return value if isinstance(value, Bad) else (value,)

    def schema(self) -> Schema:
        many = ListOf(self.what, self.item).schema()
        return {"anyOf": [self.item.schema(), many]}


@dataclass(frozen=True, slots=True)
class Then(Generic[T, U]):
    """A shape whose value is made into another; ``build`` may report a problem."""

    shape: Shape[T]
    build: Callable[[T, Place, Report], U | Bad]

    def read(self, node: Node, report: Report) -> U | Bad:
        value = self.shape.read(node, report)
        return BAD if isinstance(value, Bad) else self.build(value, node.place, report)

    def schema(self) -> Schema:
        return self.shape.schema()
