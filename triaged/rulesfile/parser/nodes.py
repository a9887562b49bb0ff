"""YAML as a tree with source locations, restricted to what a rules file may contain.

The tree is built from the events of the C parser, not by PyYAML's own composer, because
that resolves aliases and recurses before they can be rejected.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import yaml

from triaged.rulesfile.problems import (
    Location,
    ProblemCollector,
    Trail,
    quote_for_message,
)

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32

_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)

# Messages of the parser, with advice on how to fix the file.
_HINTS: Final = (
    ("found unexpected ':'", "put a space behind the colon, or quote the string"),
    ("found unknown escape", "write patterns between single quotes"),
    ("mapping values are not allowed", "put text that contains ': ' in quotes"),
    ("found a tab character", "indent with spaces"),
    ("cannot start any token", "indent with spaces, and quote text that starts so"),
    ("expected key", "check the indentation, and quote text that starts with [ { or '"),
    (
        "expected ',' or",
        "close the bracket; quote text that starts with [ or { or contains ': '",
    ),
    ("unexpected end of stream", "close the quote"),
    ("expected '-' indicator", "check the indentation"),
    ("could not find expected ':'", "check the indentation"),
    ("expected <document start>", "check the brackets before it"),
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar value; ``plain`` if it is written without quotes."""

    place: Location
    value: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Location
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping: keys and values as written, in order, including duplicate keys."""

    place: Location
    pairs: tuple[tuple["Node", "Node"], ...]


@dataclass(frozen=True, slots=True)
class InvalidNode:
    """A node whose problem has been reported."""

    place: Location


Node: TypeAlias = Scalar | Sequence | Mapping | InvalidNode


def compose(
    data: bytes,
    report: ProblemCollector,
    *,
    start: str = "version: 1 and rules:",
    most: int = MAX_BYTES,
    if_larger: str = "",
) -> Node:
    """Parse the single YAML document of a file; ``start`` is how one may begin.

    ``most`` is its size in bytes, and ``if_larger`` says what to do then.

    Raises:
        ConfigError: it is not valid YAML, so parsing cannot continue.
    """
    if len(data) > most:
        message = (
            f"the file is larger than {most >> 20} MiB ({most:,} bytes){if_larger}"
        )
        report.error(Location(0, 0), message)
        report.abort()
    composer = _Composer(report)
    try:
        for event in yaml.parse(_decode(data, report), Loader=yaml.CSafeLoader):
            composer.handle(event)
    except yaml.YAMLError as error:
        report.error(*_parse_problem(error))
        report.abort()
    if composer.root is None:
        report.error(Location(1, 1), f"the file is empty; write {start}")
        report.abort()
    return composer.root


def _decode(data: bytes, report: ProblemCollector) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8", "replace")
        found = f"byte 0x{error.object[error.start]:02x}"
        report.error(_place_after(before), f"{found} is not UTF-8; save it as UTF-8")
        report.abort()
    if (odd := _UNPRINTABLE.search(text)) is not None:
        code = f"U+{ord(odd.group()):04X}"
        place = _place_after(text[: odd.start()])
        report.error(place, f"control character {code} in the file; remove it")
        report.abort()
    return text


def _place_after(text: str) -> Location:
    return Location(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _parse_problem(error: yaml.YAMLError) -> tuple[Location, str]:
    # Every parser error has a mark, but not every exception class declares one.
    place = _place_of(getattr(error, "problem_mark", None))
    problem = str(getattr(error, "problem", error))
    context = " " + (getattr(error, "context", None) or "")
    start = _place_of(getattr(error, "context_mark", None)).line
    if start not in {0, place.line}:
        context += f" that starts in line {start}"
    remedy = next((advice for said, advice in _HINTS if said in problem), "")
    said = f"not valid YAML: {problem}{context}".rstrip()
    return place, f"{said}{'; ' if remedy else ''}{remedy}"


class _Mark(Protocol):
    """A position of the parser, from 0; PyYAML has two classes for it."""

    line: int
    column: int


def _place_of(mark: _Mark | None, trail: Trail = (), file: str = "") -> Location:
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return Location(line, column, trail, file)


@dataclass(slots=True)
class _Open:
    """A list or mapping being parsed; ``trail`` is the path to it."""

    place: Location
    mapping: bool
    children: list[Node] = field(default_factory=list)

    def step(self) -> Trail:
        """Return the path of the next child; a key has the path of its mapping."""
        if not self.mapping:
            return (*self.place.trail, len(self.children))
        if len(self.children) % 2 == 0:
            return self.place.trail
        key = self.children[-1]
        return (*self.place.trail, key.value if isinstance(key, Scalar) else "?")

    def close(self) -> Node:
        if not self.mapping:
            return Sequence(self.place, tuple(self.children))
        keys, values = self.children[::2], self.children[1::2]
        return Mapping(self.place, tuple(zip(keys, values, strict=True)))


@dataclass(slots=True)
class _Composer:
    """Builds the tree from parser events."""

    report: ProblemCollector
    root: Node | None = None
    stack: list[_Open] = field(default_factory=list)

    def handle(self, event: yaml.Event) -> None:
        """Process the next event; raises ConfigError where parsing cannot continue."""
        match event:
            case yaml.AliasEvent():
                place = self._place(event)
                self._reject_anchor(place, f"*{event.anchor}")
                self._add(InvalidNode(place))
            case yaml.ScalarEvent():
                place = self._checked_place(event)
                self._add(Scalar(place, event.value, event.style in {None, ""}))
            case yaml.CollectionStartEvent():
                self._open(event)
            case yaml.CollectionEndEvent():
                self._add(self.stack.pop().close())
            case yaml.DocumentStartEvent() if self.root is not None:
                message = "a second document starts here; one file, one document"
                self.report.error(self._place(event), message)
                self.report.abort()
            case _:
                pass

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        place = self._checked_place(event)
        if len(self.stack) == MAX_DEPTH:
            self.report.error(place, f"nested too deeply; at most {MAX_DEPTH} levels")
            self.report.abort()
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Open(place, mapping))

    def _add(self, node: Node) -> None:
        if self.stack:
            self.stack[-1].children.append(node)
        else:
            self.root = node

    def _place(self, event: yaml.Event) -> Location:
        trail = self.stack[-1].step() if self.stack else ()
        return _place_of(event.start_mark, trail, self.report.file)

    def _checked_place(
        self, event: yaml.ScalarEvent | yaml.CollectionStartEvent
    ) -> Location:
        place = self._place(event)
        if event.anchor is not None:
            self._reject_anchor(place, f"&{event.anchor}")
        if event.tag is not None:
            found = quote_for_message(event.tag.replace("tag:yaml.org,2002:", "!!"))
            message = (
                f"tag {found}: tags are refused; leave it out, or quote the string"
            )
            self.report.error(place, message)
        return place

    def _reject_anchor(self, place: Location, found: str) -> None:
        word = "alias" if found.startswith("*") else "anchor"
        self.report.error(
            place,
            f"{word} {found}: anchors and aliases are refused; write the value out,"
            f" or quote it if it is a string",
        )
