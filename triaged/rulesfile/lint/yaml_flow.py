"""Formats JSON values as YAML on one line, in the style of a rules file.

The output parses to the same value, so it can be pasted into a rules file unchanged.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from triaged.rules.task import Json, nfc
from triaged.rulesfile.parser.scalars import MAX_DIGITS, Kind, kind_of
from triaged.rulesfile.problems import yaml_quote

# Strings that have no special meaning in YAML at any position.
_PLAIN: Final = re.compile(
    r"[A-Za-z](?:[\w.%/+-]| (?=[\w.%/+-]))*|(?:[0-9]+[dhms])+", re.ASCII
)


def flow(value: Json) -> str:
    """Format a value as YAML in flow style, with quotes only where needed."""
    if isinstance(value, Mapping):
        pairs = (f"{_text(key)}: {flow(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return json.dumps(value)


def can_flow(value: Json) -> bool:
    """Return whether the value can be written in a rules file, given its limits."""
    if isinstance(value, Mapping):
        return all(
            key.strip() and can_flow(key) and can_flow(item)
            for key, item in value.items()
        )
    if isinstance(value, list):
        return all(map(can_flow, value))
    if isinstance(value, float):
        written = flow(value)
        plain = "e" not in repr(value) and len(written) <= MAX_DIGITS
        return plain and kind_of(written) is Kind.DECIMAL
    if isinstance(value, int) and not isinstance(value, bool):
        return len(str(value)) <= MAX_DIGITS
    if isinstance(value, str):
        # Rules files and tasks are read composed, so other texts come back changed.
        return nfc(value) == value and not _UNWRITABLE.search(value)
    return True


# Lone surrogates cannot be encoded, so no file can contain them.
_UNWRITABLE: Final = re.compile(r"[\ud800-\udfff]")


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and kind_of(text) is Kind.STRING:
        return text
    if text.isprintable():
        return yaml_quote(text)
    escaped = "".join(c if c.isprintable() else _escape(c) for c in _slashed(text))
    return f'"{escaped}"'


def _slashed(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _escape(char: str) -> str:
    code = ord(char)
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
    return short or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")  # noqa: PLR2004 (two widths)
