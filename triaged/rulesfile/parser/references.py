"""Shapes of names: words of a closed set, names declared, names that refer to those."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from triaged.rulesfile.parser.nodes import Node, Scalar
from triaged.rulesfile.parser.scalars import Kind, kind_at
from triaged.rulesfile.parser.values import Schema, Text, expected
from triaged.rulesfile.problems import BAD, Bad, Report, nearest, shown

Word = TypeVar("Word", bound=StrEnum)


def read_word(what: str, words: Sequence[str], node: Node, report: Report) -> str | Bad:
    """Read one of a closed set of words, though YAML 1.1 may see more in it: off."""
    if isinstance(node, Scalar) and node.value in words:
        return node.value
    if not isinstance(node, Scalar) or kind_at(node) is not Kind.TEXT:
        return expected(f"a {what}", node, report, f"write one of: {', '.join(words)}")
    message = f"unknown {what} {shown(node.value)}{nearest(node.value, words)}"
    return report.error(node.place, message)


@dataclass(frozen=True, slots=True)
class Choice(Generic[Word]):
    """One of a closed set of words."""

    what: str
    choices: tuple[Word, ...]

    def read(self, node: Node, report: Report) -> Word | Bad:
        text = read_word(self.what, self.choices, node, report)
        if isinstance(text, Bad):
            return BAD
        return next(choice for choice in self.choices if choice == text)

    def schema(self) -> Schema:
        return {"enum": [choice.value for choice in self.choices]}


@dataclass(frozen=True, slots=True)
class Name:
    """A name that something else must have declared: a type, a reason, a rule.

    ``documented`` are offered by editors; ``lenient`` makes an unknown one a warning.
    """

    what: str
    kind: str
    documented: Sequence[str] = ()
    advice: str = ""
    lenient: bool = False

    def read(self, node: Node, report: Report) -> str | Bad:
        text = Text(f"a {self.what}").read(node, report)
        if isinstance(text, Bad):
            return BAD
        known = report.names.get(self.kind)
        if known is None or text in known:
            return text
        why = f"; {self.advice}" if self.advice else ""
        message = f"unknown {self.what} {shown(text)}{nearest(text, known)}{why}"
        if not self.lenient:
            return report.error(node.place, message)
        report.warn(node.place, message)
        return text

    def schema(self) -> Schema:
        if not self.documented:
            return {"type": "string"}
        return {"anyOf": [{"enum": list(self.documented)}, {"type": "string"}]}


@dataclass(frozen=True, slots=True)
class Declared:
    """A name that must be the only one of its kind, and is known from here on."""

    what: str
    kind: str
    text: Text

    def read(self, node: Node, report: Report) -> str | Bad:
        text = self.text.read(node, report)
        if isinstance(text, Bad):
            report.names[self.kind] = None
            return BAD
        known = report.names.setdefault(self.kind, {})
        if known is None:
            return text
        before = known.setdefault(text, node.place)
        if before is None or before is node.place:
            return text
        message = f"{self.what} {shown(text)} again; it is taken by line {before.line}"
        return report.error(node.place, f"{message}, choose another")

    def schema(self) -> Schema:
        return self.text.schema()
