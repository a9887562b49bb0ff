"""Field types of single values: each parses a node and provides its JSON Schema.

Parsing reports problems and continues; invalid content never raises.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from triaged.rules.duration import format_duration, parse_duration
from triaged.rules.patterns.doubts import find_doubts
from triaged.rules.patterns.re2_pattern import (
    InvalidPatternError,
    Re2Pattern,
    compile_pattern,
)
from triaged.rules.task import Json, parse_timestamp
from triaged.rulesfile.parser.nodes import InvalidNode, Node, Scalar
from triaged.rulesfile.parser.scalars import (
    Kind,
    describe,
    kind_at,
    kind_of,
    parse_bool,
    suggest_quotes,
)
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    ProblemCollector,
    quote_for_message,
)

_UNIT: Final = r"(?:s|m|h|d|w|secs?|mins?|hrs?|seconds?|minutes?|hours?|days?|weeks?)"
_UNITS: Final = "units are s, m, h, d and w"
_SPOKEN: Final = re.compile(
    rf"\s*(?:[0-9]{{1,9}}\s*{_UNIT}(?:\s*,?\s*(?:and\s+)?|\s*$))+", re.IGNORECASE
)
_SPOKEN_PART: Final = re.compile(rf"([0-9]{{1,9}})\s*({_UNIT})\b", re.IGNORECASE)
_LONG_UNIT: Final = re.compile(r"\b(?:month|year|quarter)s?\b", re.IGNORECASE)

T_co = TypeVar("T_co", covariant=True)
Schema = dict[str, Json]

# Keeps every sum of a timestamp and a duration within the range of datetime.
_LONGEST: Final = timedelta(days=36_500)
_ISO_8601: Final = "write it in ISO 8601 with a time zone"
_YEARS: Final = range(1970, 3000)


class FieldType(Protocol[T_co]):
    """The type of a value in a rules file."""

    def read(self, node: Node, report: ProblemCollector) -> T_co | Invalid:
        """Return the value, or report what is wrong with it and return ``Invalid``."""

    def schema(self) -> Schema:
        """Return the JSON Schema of the accepted values."""


def explain(message: str) -> Schema:
    """Return the message of editors for a value of the wrong type or form."""
    return {"errorMessage": message, "patternErrorMessage": message}


def report_unexpected(
    what: str, node: Node, report: ProblemCollector, advice: str = ""
) -> Invalid:
    """Report that the node is not of the expected kind."""
    if not isinstance(node, InvalidNode):
        tail = f"; {advice}" if advice else ""
        report.error(node.place, f"expected {what}, found {describe(node)}{tail}")
    return INVALID


@dataclass(frozen=True, slots=True)
class String:
    """A string that matches ``pattern``, if given; ``rule`` says how in words."""

    label: str = "a string"
    pattern: str = ""
    rule: str = ""
    allow_blank: bool = False

    def read(self, node: Node, report: ProblemCollector) -> str | Invalid:
        if not isinstance(node, Scalar):
            return report_unexpected(self.label, node, report)
        kind = kind_at(node)
        is_blank = kind is Kind.STRING and not node.value.strip()
        if kind is Kind.NULL or (is_blank and not self.allow_blank):
            return report_unexpected(self.label, node, report, "write one")
        if kind is not Kind.STRING:
            advice = suggest_quotes(node.value)
            return report_unexpected(self.label, node, report, advice)
        if self.pattern and re.fullmatch(self.pattern, node.value) is None:
            message = f"expected {self.label}, found {quote_for_message(node.value)}"
            return report.error(node.place, f"{message}; {self.rule}")
        return node.value

    def schema(self) -> Schema:
        schema: Schema = {"type": "string"}
        if self.pattern:
            schema["pattern"] = f"^{self.pattern}$"
            return schema | explain(f"expected {self.label}; {self.rule}")
        if self.allow_blank:
            return schema
        schema["pattern"] = r"\S"
        return schema | explain(f"expected {self.label}; write one, in quotes")


@dataclass(frozen=True, slots=True)
class Number:
    """A number within inclusive bounds; an integer unless ``decimal`` is set."""

    minimum: float | None = None
    maximum: float | None = None
    decimal: bool = False
    hint: str = ""

    @property
    def label(self) -> str:
        """The name of the type with its bounds, for messages."""
        name = "a number" if self.decimal else "an integer"
        if self.maximum is not None:
            return f"{name} from {self.minimum} to {self.maximum}"
        return name if self.minimum is None else f"{name}, {self.minimum} or more"

    def read(self, node: Node, report: ProblemCollector) -> float | Invalid:
        if not isinstance(node, Scalar):
            return report_unexpected(self.label, node, report, self.hint)
        value = self._value(node)
        if value is None:
            return report_unexpected(self.label, node, report, self._advice(node))
        too_small = self.minimum is not None and value < self.minimum
        if too_small or (self.maximum is not None and value > self.maximum):
            return report_unexpected(self.label, node, report, self.hint)
        return value

    def _value(self, node: Scalar) -> float | None:
        kind = kind_at(node)
        if kind is Kind.INTEGER:
            return int(node.value)
        return float(node.value) if kind is Kind.DECIMAL and self.decimal else None

    def _advice(self, node: Scalar) -> str:
        kind = kind_of(node.value)
        if node.plain and kind is Kind.AMBIGUOUS:
            return "write it in plain digits"
        is_number = kind in {Kind.INTEGER, Kind.DECIMAL}
        return "write it without quotes" if not node.plain and is_number else self.hint

    def schema(self) -> Schema:
        schema: Schema = {"type": "number" if self.decimal else "integer"}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        return schema


@dataclass(frozen=True, slots=True)
class Boolean:
    """``true`` or ``false``."""

    must_be_true: bool = False

    def read(self, node: Node, report: ProblemCollector) -> bool | Invalid:
        what = "true" if self.must_be_true else "true or false"
        if not isinstance(node, Scalar) or kind_at(node) is not Kind.BOOLEAN:
            return report_unexpected(what, node, report, f"write {what}")
        value = parse_bool(node.value)
        if self.must_be_true and not value:
            return report_unexpected(
                what, node, report, "write true, or leave the key out"
            )
        return value

    def schema(self) -> Schema:
        return {"const": True} if self.must_be_true else {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration: a sum of integers with a unit each."""

    label: str = "a duration such as 90s, 36h, 14d or 1d12h"

    def read(self, node: Node, report: ProblemCollector) -> timedelta | Invalid:
        if not isinstance(node, Scalar):
            return report_unexpected(self.label, node, report)
        if kind_at(node) is Kind.INTEGER:
            advice = f"add a unit: {node.value}s, {node.value}m, {node.value}h …"
            return report_unexpected(self.label, node, report, advice)
        try:
            duration = parse_duration(node.value)
        except ValueError:
            advice = _in_units(node.value) or _UNITS
            return report_unexpected(self.label, node, report, advice)
        if duration > _LONGEST:
            most = format_duration(_LONGEST)
            return report_unexpected(f"a duration of at most {most}", node, report)
        return duration

    def schema(self) -> Schema:
        schema: Schema = {"type": "string", "pattern": "^([0-9]{1,9}[smhdw])+$"}
        return schema | explain(f"expected {self.label}; {_UNITS}")


def _in_units(text: str) -> str:
    """Return how to write a spelled-out duration in units; empty if it is not one."""
    if _LONG_UNIT.search(text):
        return "months and years differ in length; count days: 30d, 365d"
    if not _SPOKEN.fullmatch(text):
        return ""
    parts = _SPOKEN_PART.findall(text)
    return "write " + "".join(f"{count}{unit[0].lower()}" for count, unit in parts)


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An ISO 8601 timestamp with a time zone."""

    label: str = "a timestamp such as 2026-03-01T09:30:00Z"

    def read(self, node: Node, report: ProblemCollector) -> datetime | Invalid:
        if not isinstance(node, Scalar):
            return report_unexpected(self.label, node, report)
        moment = parse_timestamp(node.value)
        if moment is None:
            return report_unexpected(self.label, node, report, self._advice(node.value))
        if moment.year not in _YEARS:
            return report_unexpected("a timestamp from 1970 to 2999", node, report)
        return moment

    def _advice(self, text: str) -> str:
        if parse_timestamp(f"{text}T00:00:00Z") is not None:
            return f"add a time and a zone: {text.strip()}T00:00:00Z"
        if parse_timestamp(f"{text.strip()}Z") is not None:
            return f"add a time zone: {text.strip()}Z"
        return _ISO_8601

    def schema(self) -> Schema:
        schema: Schema = {"type": "string", "format": "date-time"}
        return schema | explain(f"expected {self.label}; {_ISO_8601}")


@dataclass(frozen=True, slots=True)
class RegexType:
    """An RE2 pattern."""

    label: str = "a pattern"

    def read(self, node: Node, report: ProblemCollector) -> Re2Pattern | Invalid:
        text = String(self.label, allow_blank=True).read(node, report)
        if isinstance(text, Invalid):
            return text
        if text.endswith("\n") and text.strip():
            advice = "end it without one (|- for |, >- for >, or quotes)"
            return report.error(
                node.place, f"the pattern ends in a line break; {advice}"
            )
        name = f"pattern {quote_for_message(text)}: " if text else ""
        try:
            pattern = compile_pattern(text)
        except InvalidPatternError as error:
            return report.error(node.place, f"{name}{error}")
        for doubt in find_doubts(pattern.source, pattern.tree):
            report.warn(node.place, f"{name}{doubt}")
        return pattern

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1, "format": "re2"}
