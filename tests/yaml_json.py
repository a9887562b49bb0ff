"""YAML as an editor reads it, to be compared with a JSON Schema."""

import json
from typing import Any

from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar, Sequence
from triaged.rulesfile.parser.scalars import Kind, kind_at, parse_bool


def as_json(node: Node) -> Any:
    """Return what a YAML 1.2 editor sees: moments are text."""
    match node:
        case Mapping(_, pairs):
            return {key.value: as_json(value) for key, value in pairs}  # type: ignore[union-attr]
        case Sequence(_, items):
            return [as_json(item) for item in items]
        case Scalar(value=value):
            kind = kind_at(node)
            if kind is Kind.BOOLEAN:
                return parse_bool(value)
            if kind in {Kind.INTEGER, Kind.DECIMAL}:
                return json.loads(value)
            return None if kind is Kind.NULL else value
        case _:
            return None
