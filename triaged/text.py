"""Text from outside, made safe to look at."""

from typing import Final
from unicodedata import category

# No language needs more marks on one letter; hundreds cover the lines around it.
_MAX_COMBINING_MARKS: Final = 8
_FIRST_MARK: Final = "\u0300"


def escape_unprintable(text: str, *, keep: str = "") -> str:
    """Show control, format and unassigned characters and stacked marks as escapes."""
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
    # JSON may hold marks as they are: escaped, it must still be the same JSON.
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
