"""Shapes of single values: each reads a node and describes itself as JSON Schema.

One declaration serves reader, editor and documentation, so they cannot drift apart.
Reading reports what is wrong and goes on; it never raises for what a file contains.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from triaged.rules.duration import parse_duration, show_duration
from triaged.rules.patterns.re2_pattern import (
    PatternRefusedError,
    Re2Pattern,
    compile_pattern,
)
from triaged.rules.task import Json, parse_moment
from triaged.rulesfile.parser.nodes import Node, Refused, Scalar
from triaged.rulesfile.parser.scalars import (
    Kind,
    describe,
    kind_at,
    kind_of,
    quote_it,
    truth_of,
)
from triaged.rulesfile.problems import BAD, Bad, Report, shown

T_co = TypeVar("T_co", covariant=True)
Schema = dict[str, Json]

# Longer than anybody waits; keeps every sum of a moment and a duration in range.
_LONGEST: Final = timedelta(days=36_500)
_YEARS: Final = range(1970, 3000)


class Shape(Protocol[T_co]):
    """What may stand at one place of a rules file."""

    def read(self, node: Node, report: Report) -> T_co | Bad:
        """Return the value, or report what is wrong with it."""
        ...

    def schema(self) -> Schema:
        """Describe what is accepted, as JSON Schema."""
        ...


def expected(what: str, node: Node, report: Report, advice: str = "") -> Bad:
    """Report that something else was found than what was expected."""
    if not isinstance(node, Refused):
        tail = f"; {advice}" if advice else ""
        report.error(node.place, f"expected {what}, found {describe(node)}{tail}")
    return BAD


@dataclass(frozen=True, slots=True)
class Text:
    """A text, not blank unless ``blank``, of a certain form where ``form`` says so."""

    what: str = "a text"
    form: str = ""
    rule: str = ""
    blank: bool = False

    def read(self, node: Node, report: Report) -> str | Bad:
        if not isinstance(node, Scalar):
            return expected(self.what, node, report)
        kind = kind_at(node)
        if kind is Kind.NULL:
            return expected(self.what, node, report, "write one")
        if kind is not Kind.TEXT:
            return expected(self.what, node, report, quote_it(node.value))
        if not self.blank and not node.value.strip():
            return expected(self.what, node, report, "write one")
        if self.form and re.fullmatch(self.form, node.value) is None:
            message = f"expected {self.what}, found {shown(node.value)}"
            return report.error(node.place, f"{message}; {self.rule}")
        return node.value

    def schema(self) -> Schema:
        schema: Schema = {"type": "string"}
        if self.form:
            schema["pattern"] = f"^{self.form}$"
        elif not self.blank:
            schema["pattern"] = r"\S"
        return schema


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds, both included; a whole one unless ``decimal``."""

    least: float | None = None
    most: float | None = None
    decimal: bool = False
    advice: str = ""

    @property
    def what(self) -> str:
        """Name it, bounds included."""
        name = "a number" if self.decimal else "a whole number"
        if self.most is not None:
            return f"{name} from {self.least} to {self.most}"
        return name if self.least is None else f"{name}, {self.least} or more"

    def read(self, node: Node, report: Report) -> float | Bad:
        if not isinstance(node, Scalar):
            return expected(self.what, node, report, self.advice)
        value = self._value(node)
        if value is None:
            return expected(self.what, node, report, self._advice(node))
        if self.least is not None and value < self.least:
            return expected(self.what, node, report, self.advice)
        if self.most is not None and value > self.most:
            return expected(self.what, node, report, self.advice)
        return value

    def _value(self, node: Scalar) -> float | None:
        kind = kind_at(node)
        if kind is Kind.WHOLE:
            return int(node.value)
        return float(node.value) if kind is Kind.DECIMAL and self.decimal else None

    def _advice(self, node: Scalar) -> str:
        kind = kind_of(node.value)
        if node.plain and kind is Kind.SURPRISE:
            return "write it in plain digits"
        is_number = kind in {Kind.WHOLE, Kind.DECIMAL}
        return (
            "write it without quotes" if not node.plain and is_number else self.advice
        )

    def schema(self) -> Schema:
        schema: Schema = {"type": "number" if self.decimal else "integer"}
        if self.least is not None:
            schema["minimum"] = self.least
        if self.most is not None:
            schema["maximum"] = self.most
        return schema


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, this or more."""

    least: int = 0
    advice: str = ""

    def read(self, node: Node, report: Report) -> int | Bad:
        value = Number(self.least, advice=self.advice).read(node, report)
        return value if isinstance(value, Bad) else int(value)

    def schema(self) -> Schema:
        return Number(self.least).schema()


@dataclass(frozen=True, slots=True)
class Flag:
    """``true`` or ``false``; only ``true`` where ``only_true`` says so."""

    only_true: bool = False

    def read(self, node: Node, report: Report) -> bool | Bad:
        what = "true" if self.only_true else "true or false"
        if not isinstance(node, Scalar) or kind_at(node) is not Kind.BOOLEAN:
            return expected(what, node, report, f"write {what}")
        value = truth_of(node.value)
        if self.only_true and not value:
            return expected(what, node, report, "write true, or leave the key out")
        return value

    def schema(self) -> Schema:
        return {"const": True} if self.only_true else {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Duration:
    """A sum of integers with a unit each."""

    what: str = "a duration such as 90s, 36h, 14d or 1d12h"

    def read(self, node: Node, report: Report) -> timedelta | Bad:
        if not isinstance(node, Scalar):
            return expected(self.what, node, report)
        if kind_at(node) is Kind.WHOLE:
            advice = f"add a unit: {node.value}s, {node.value}m, {node.value}h …"
            return expected(self.what, node, report, advice)
        try:
            duration = parse_duration(node.value)
        except ValueError:
            advice = "units are s, m, h, d and w"
            return expected(self.what, node, report, advice)
        if duration > _LONGEST:
            most = show_duration(_LONGEST)
            return expected(f"a duration of at most {most}", node, report)
        return duration

    def schema(self) -> Schema:
        return {"type": "string", "pattern": "^([0-9]{1,9}[smhdw])+$"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in ISO 8601 with its time zone."""

    what: str = "a moment such as 2026-03-01T09:30:00Z"

    def read(self, node: Node, report: Report) -> datetime | Bad:
        if not isinstance(node, Scalar):
            return expected(self.what, node, report)
        moment = parse_moment(node.value)
        if moment is None:
            return expected(self.what, node, report, self._advice(node.value))
        if moment.year not in _YEARS:
            return expected("a moment from 1970 to 2999", node, report)
        return moment

    def _advice(self, text: str) -> str:
        if parse_moment(f"{text}T00:00:00Z") is not None:
            return f"add a time and a zone: {text.strip()}T00:00:00Z"
        if parse_moment(f"{text.strip()}Z") is not None:
            return f"add a time zone: {text.strip()}Z"
        return "write it in ISO 8601 with a time zone"

    def schema(self) -> Schema:
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class PatternText:
    """An RE2 pattern."""

    what: str = "a pattern"

    def read(self, node: Node, report: Report) -> Re2Pattern | Bad:
        text = Text(self.what, blank=True).read(node, report)
        if isinstance(text, Bad):
            return BAD
        if text.endswith("\n") and text.strip():
            advice = "end it without one (|- for |, >- for >, or quotes)"
            return report.error(
                node.place, f"the pattern ends in a line break; {advice}"
            )
        try:
            return compile_pattern(text)
        except PatternRefusedError as error:
            message = str(error) if not text else f"pattern {shown(text)}: {error}"
            return report.error(node.place, message)

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1, "format": "re2"}
