"""Finds brackets that probably do not mean the characters that they list."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from triaged.rules.patterns.syntax import bracket_parts

_WITHIN_WORDS: Final = dict.fromkeys(map(ord, " -:!#_./,["))
# Fewer letters than this may be a class as well as a word.
_WORD: Final = 3
# All characters that can be seen, with and without the space.
_PRINTABLE: Final = frozenset({(" ", "~"), ("!", "~")})
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2212"
_RANGE: Final = re.compile(r"\w-\w")


def find_bracket_doubts(text: str) -> Iterator[str]:
    """Yield a message for what was probably meant differently in ``[\u2026]``."""
    parts = bracket_parts(text)
    negated = text.startswith("[^")
    inside = text[1:-1].removeprefix("^")
    if _looks_like_word(inside):
        plain = inside.replace("[", r"\[")
        yield (
            f"{text} means one character other than these; if texts without {inside}"
            f" are meant, put not: {{description: \u2026}} beside it"
            if negated
            else f"{text} means one of these characters; if the text in brackets is"
            rf" meant, write \[{plain}\]"
        )
    if "|" in parts[1:-1] and not negated:
        yield (
            f"{text} means one of these characters, | included; if alternatives are"
            f" meant, write (?:{inside})"
        )
    for one, dash, other in zip(parts, parts[1:], parts[2:], strict=False):
        if dash in _DASHES and one.isalnum() and other.isalnum():
            yield f"{dash} in {text} is no range; write {one}-{other}"
    yield from _range_doubts(text, parts)


def _range_doubts(text: str, parts: list[str]) -> Iterator[str]:
    for low, high in _ranges(parts):
        if (low, high) == ("A", "z"):
            yield rf"A-z in {text} includes [ \ ] ^ _ `; write A-Za-z"
        elif (low, high) not in _PRINTABLE and _is_odd_range(low, high):
            yield (
                f"{low}-{high} in {text} is a range and includes"
                f" {chr((ord(low) + ord(high)) // 2)}; for the hyphen itself, put it"
                " last"
            )


def _ranges(parts: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the ranges between characters that are written as they are."""
    row = list(parts)
    while len(row) > 2:  # noqa: PLR2004 (low, hyphen, high)
        if row[1] == "-":
            if max(row[0], row[2]).isascii() and len(row[0]) == len(row[2]) == 1:
                yield row[0], row[2]
            del row[:3]
        else:
            del row[0]


def _is_odd_range(low: str, high: str) -> bool:
    """Return whether a range leads from one kind of characters into another."""
    between = map(chr, range(ord(low), ord(high) + 1))
    kinds = {_kind(char) for char in between}
    return len(kinds) > 1


def _kind(char: str) -> str:
    if not char.isalnum():
        return "sign"
    return "digit" if char.isdigit() else "lower" if char.islower() else "upper"


def _looks_like_word(inside: str) -> bool:
    if "-" in inside.strip("-"):
        # Ranges repeat no character; "data-test" does.
        inside = _RANGE.sub(" ", inside)
        text = inside.translate(_WITHIN_WORDS)
        return len(text) >= _WORD and text.isalnum() and _repeats(text)
    text = inside.translate(_WITHIN_WORDS)
    if len(text) < _WORD or not text.isalnum():
        return False
    letters = [char for char in text if char.isalpha()]
    if len(letters) < _WORD:
        return _repeats(text)
    if set(letters) == set("".join(letters).swapcase()):
        return False
    return _repeats(text) or _is_unsorted(letters)


def _is_unsorted(letters: list[str]) -> bool:
    """Return whether letters stand as in a word, not as in a list of letters."""
    if not any(map(str.isascii, letters)) and "LATIN" in unicodedata.name(letters[0]):
        return False  # a list of letters with accents
    if not "".join(letters).isascii() and not all(map(str.isupper, letters)):
        return False
    base = [unicodedata.normalize("NFD", char.casefold())[0] for char in letters]
    return any(one > other for one, other in pairwise(base))


def _repeats(text: str) -> bool:
    return len(set(text)) < len(text)
