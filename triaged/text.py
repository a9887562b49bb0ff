"""Makes external text safe to display."""

from typing import Final
from unicodedata import category

# No language needs more marks on a letter; hundreds would cover adjacent lines.
_MAX_COMBINING_MARKS: Final = 8
_FIRST_MARK: Final = "\u0300"


def escape_unprintable(text: str, *, keep: str = "") -> str:
    """Escape control, format and unassigned characters and stacked marks."""
    if text.isprintable() and (text.isascii() or max(text) < _FIRST_MARK):
        return text
    shown: list[str] = []
    combining = 0
    for character in text:
        is_mark = character >= _FIRST_MARK and category(character) in {"Mn", "Me"}
        combining = combining + 1 if is_mark else 0
        if combining > _MAX_COMBINING_MARKS:
            shown.append(_escape_in_json(character))
        elif character.isprintable() or character in keep:
            shown.append(character)
        else:
            shown.append(character.encode("unicode_escape").decode("ascii"))
    return "".join(shown)


def _escape_in_json(character: str) -> str:
    # Escapes must be valid in JSON too, so that escaped JSON has the same value.
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
