"""Classifies unquoted scalars by how YAML 1.1, YAML 1.2 and people read them.

A scalar is accepted only if all three agree; otherwise it must be quoted.
"""

import re
from enum import Enum
from functools import lru_cache
from typing import Final, assert_never

import yaml

from triaged.rulesfile.parser.nodes import Mapping, Scalar, Sequence
from triaged.rulesfile.problems import quote_for_message, yaml_quote

# Longer numbers are rejected; no number in a task is that precise.
MAX_DIGITS: Final = 40

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+", re.ASCII)
_NUMBER_ELSEWHERE: Final = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(?:\.[0-9]+|[0-9]+\.?[0-9]*)"
    r"(?:[eE][-+]?[0-9]+)?",
    re.ASCII,
)
_YES: Final = frozenset({"y", "yes", "on"})
_NO: Final = frozenset({"n", "no", "off"})
_TRUTHS: Final = {"true": True, "false": False}
_TAG: Final = "tag:yaml.org,2002:"
_RESOLVER: Final = yaml.resolver.Resolver()


class Kind(Enum):
    """The kind of an unquoted scalar, as named in messages; parsers may disagree."""

    STRING = "a string"
    NULL = "null"
    BOOLEAN = "a boolean"
    INTEGER = "a number"
    DECIMAL = "a decimal number"
    TIMESTAMP = "a date"
    AMBIGUOUS = "a surprise"


@lru_cache(maxsize=1024)
def kind_of(value: str) -> Kind:
    """Return the kind of an unquoted scalar."""
    match _tag(value):
        case "null":
            return Kind.NULL
        case "bool":
            return Kind.BOOLEAN if value.lower() in _TRUTHS else Kind.AMBIGUOUS
        case "int" | "float":
            return _number_kind(value)
        case "timestamp":
            return Kind.TIMESTAMP
        case "str" if value.lower() not in _YES | _NO:
            odd = _NUMBER_ELSEWHERE.fullmatch(value) is not None
            return Kind.AMBIGUOUS if odd else Kind.STRING
        case _:
            return Kind.AMBIGUOUS


def parse_bool(value: str) -> bool:
    """Return the value of a boolean scalar."""
    return _TRUTHS[value.lower()]


def describe(node: Scalar | Sequence | Mapping) -> str:
    """Describe a node for a message: its value and how YAML reads it."""
    match node:
        case Sequence():
            return "a list" if node.items else "an empty list"
        case Mapping():
            return "a mapping" if node.pairs else "an empty mapping"
        case Scalar():
            return _describe_scalar(node)
        case _:
            assert_never(node)


def kind_at(node: Scalar) -> Kind:
    """Return the kind of a scalar; a quoted scalar is a string."""
    return kind_of(node.value) if node.plain else Kind.STRING


def _describe_scalar(node: Scalar) -> str:
    value, kind = node.value, kind_at(node)
    if kind is Kind.STRING:
        return f"{quote_for_message(value)} (a string)" if value else "an empty string"
    if kind is Kind.NULL:
        return f"null ({value})" if value else "null"
    if kind is Kind.AMBIGUOUS:
        return f"{_truncate(value)} ({_yaml11_meaning(value)})"
    name = "a number" if kind is Kind.DECIMAL else kind.value
    return f"{_truncate(value)} ({name})"


def suggest_quotes(value: str) -> str:
    """Return advice on how to quote a scalar so that it is a string."""
    return f"quote it: {yaml_quote(_truncate(value))}"


def suggest_fix(value: str) -> str:
    """Return advice on how to write an ambiguous scalar unambiguously."""
    if value.lower() in _YES | _NO:
        meant = str(value.lower() in _YES).lower()
        return f"{suggest_quotes(value)}, or write {meant}"
    odd = kind_of(value) is Kind.AMBIGUOUS and len(value) <= MAX_DIGITS
    if odd and value not in {"<<", "="}:
        return f"{suggest_quotes(value)}, or write a number in plain digits"
    return suggest_quotes(value)


def _number_kind(value: str) -> Kind:
    if len(value) > MAX_DIGITS or (value.startswith("-0") and not value.strip("-0.")):
        return Kind.AMBIGUOUS
    if _WHOLE.fullmatch(value):
        return Kind.INTEGER
    return Kind.DECIMAL if _DECIMAL.fullmatch(value) else Kind.AMBIGUOUS


def _tag(value: str) -> str:
    tag: str = _RESOLVER.resolve(  # type: ignore[no-untyped-call]
        yaml.ScalarNode, value, (True, False)
    )
    return tag.removeprefix(_TAG)


def _yaml11_meaning(value: str) -> str:
    """Return how YAML 1.1, or some parser, reads an ambiguous scalar."""
    if value.lower() in _YES | _NO:
        return f"YAML 1.1 reads it as {str(value.lower() in _YES).lower()}"
    if len(value) > MAX_DIGITS:
        return f"a number of more than {MAX_DIGITS} digits"
    tag = _tag(value)
    if tag in {"int", "float"}:
        return f"YAML 1.1 reads it as {_read_number(value, tag)}"
    if tag == "str":
        return "some readers take it for a number, others for a string"
    return "it means something special to YAML"


def _read_number(value: str, tag: str) -> str:
    node = yaml.ScalarNode(_TAG + tag, value)
    try:
        number = yaml.constructor.SafeConstructor().construct_object(node)
    except ValueError:  # the resolver accepts 0x_ as a number, the constructor does not
        return "a number"
    return f"the number {number}"


def _truncate(value: str) -> str:
    return value if len(value) <= MAX_DIGITS else value[:MAX_DIGITS] + "…"
