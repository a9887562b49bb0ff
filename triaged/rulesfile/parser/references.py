"""Field types of names: enumerations, declared names, and references to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from triaged.rulesfile.parser.nodes import Node, Scalar
from triaged.rulesfile.parser.scalars import Kind, kind_at
from triaged.rulesfile.parser.values import Schema, String, report_unexpected
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    ProblemCollector,
    quote_for_message,
    suggest,
)

S = TypeVar("S", bound=str)

RULE_NAME: Final = String(
    "a rule name", "[a-z0-9-]{1,63}", "use a-z, 0-9 and -, at most 63 of them"
)
REASON_CODE: Final = String(
    "a reason code", "[a-z0-9_]{1,64}", "use a-z, 0-9 and _, at most 64 of them"
)


@dataclass(frozen=True, slots=True)
class OneOf(Generic[S]):
    """One of a closed set of words, even one that is a YAML 1.1 boolean (off)."""

    label: str
    choices: tuple[S, ...]

    def read(self, node: Node, report: ProblemCollector) -> S | Invalid:
        text = node.value if isinstance(node, Scalar) else ""
        for choice in self.choices:
            if choice == text:
                return choice
        if not isinstance(node, Scalar) or kind_at(node) is not Kind.STRING:
            advice = f"write one of: {', '.join(self.choices)}"
            return report_unexpected(f"a {self.label}", node, report, advice)
        found = f"unknown {self.label} {quote_for_message(text)}"
        return report.error(node.place, f"{found}{suggest(text, self.choices)}")

    def schema(self) -> Schema:
        return {"enum": list(map(str, self.choices))}


@dataclass(frozen=True, slots=True)
class NameReference:
    """A reference to a declared name: a type, a reason or a rule.

    ``documented`` are offered by editors, which check others by ``form``;
    ``warn_only`` makes an unknown one a warning.
    """

    label: str
    kind: str
    documented: Sequence[str] = ()
    hint: str = ""
    warn_only: bool = False
    form: String | None = None

    def read(self, node: Node, report: ProblemCollector) -> str | Invalid:
        text = String(f"a {self.label}").read(node, report)
        if isinstance(text, Invalid):
            return text
        known = report.declared_names.get(self.kind)
        if known is None or text in known:
            return text
        why = f"; {self.hint}" if self.hint else ""
        message = (
            f"unknown {self.label} {quote_for_message(text)}{suggest(text, known)}{why}"
        )
        if not self.warn_only:
            return report.error(node.place, message)
        report.warn(node.place, message)
        return text

    def schema(self) -> Schema:
        other = (self.form or String(f"a {self.label}")).schema()
        if not self.documented:
            return other
        return {"anyOf": [{"enum": list(self.documented)}, other]}


@dataclass(frozen=True, slots=True)
class NameDeclaration:
    """A declaration of a name that must be unique among its kind."""

    label: str
    kind: str
    text: String

    def read(self, node: Node, report: ProblemCollector) -> str | Invalid:
        text = self.text.read(node, report)
        if isinstance(text, Invalid):
            report.declared_names[self.kind] = None
            return INVALID
        known = report.declared_names.setdefault(self.kind, {})
        if known is None:
            return text
        before = known.setdefault(text, node.place)
        if before is None or before is node.place:
            return text
        shown = quote_for_message(text)
        message = (
            f"{self.label} {shown} again; it is taken by {before.seen_from(node.place)}"
        )
        return report.error(node.place, f"{message}, choose another")

    def schema(self) -> Schema:
        return self.text.schema()
