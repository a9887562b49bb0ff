"""JSON values as YAML on one line, the way this program's own files are written.

What is written here is read again as the very same value; nothing needs to be edited
when it is pasted into a rules file.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from triaged.rules.task import Json
from triaged.rulesfile.parser.scalars import MAX_DIGITS, Kind, kind_of
from triaged.rulesfile.problems import yaml_quote

# Nothing in these means anything to YAML, wherever they stand.
_PLAIN: Final = re.compile(
    r"[A-Za-z](?:[\w.%/+-]| (?=[\w.%/+-]))*|(?:[0-9]+[dhms])+", re.ASCII
)


def flow(value: Json) -> str:
    """Write a value as YAML in flow style, with quotes only where they are needed."""
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
    """Return whether a rules file can hold the value at all: it has its limits."""
    if isinstance(value, Mapping):
        return all(key.strip() and can_flow(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(can_flow, value))
    if isinstance(value, float):
        written = flow(value)
        plain = "e" not in repr(value) and len(written) <= MAX_DIGITS
        return plain and kind_of(written) is Kind.DECIMAL
    if isinstance(value, int) and not isinstance(value, bool):
        return len(str(value)) <= MAX_DIGITS
    return not isinstance(value, str) or not _UNWRITABLE.search(value)


# Half of a character is no text, and no file can hold it.
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
