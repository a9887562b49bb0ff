"""Which characters a leaf of a pattern matches, found by running RE2 itself."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final

import re2

from triaged.rules.patterns.syntax import CharClass, Letter, bracket_parts, char_of

# Assertions distinguish characters by these kinds only; 1 is the edge of the text.
EDGE: Final = 1
NEWLINE: Final = 2
WORD: Final = 4
OTHER: Final = 8

_ASCII: Final = "".join(map(chr, range(128)))
_WORD: Final = "".join(c for c in _ASCII if c.isalnum() or c == "_")
_WORD_CHARS: Final = frozenset(_WORD)
_OTHER: Final = "".join(c for c in _ASCII if c not in _WORD and c != "\n")
# The two letters beyond ASCII that case folding makes equal to ASCII letters.
_FOLDED: Final = "\u017f\u212a"
# Letters and digits of common scripts: most Unicode classes contain one of them.
LETTERS: Final = (
    "\u00e9\u00c9\u03b1\u042f\u05d0\u0639\u0661\u4e2d\u3042\u30a2\ud55c\u00bd"
)
_FOLDING: Final = f"kKsS{_FOLDED}"


def kind_of(char: str) -> int:
    """Return the kind of a character."""
    if char == "\n":
        return NEWLINE
    return WORD if char in _WORD_CHARS else OTHER


def kinds_of(leaf: Letter | CharClass) -> int:
    """Return the kinds of the characters that a leaf matches, as a bit set."""
    if isinstance(leaf, Letter) and not (leaf.fold and leaf.char in _FOLDING):
        return kind_of(leaf.char)
    return _kinds_of(leaf)


@lru_cache(maxsize=4096)
def _kinds_of(leaf: Letter | CharClass) -> int:
    taken = _matcher(leaf)
    others = candidates(leaf, _OTHER + _FOLDED + LETTERS)
    beyond = any(taken(char) for char in others if kind_of(char) == OTHER)
    if not beyond and r"\p" in leaf.text.lower():
        beyond = bool(_compiled(leaf).search(_all_others()))
    kinds = NEWLINE if taken("\n") else 0
    kinds |= WORD if any(map(taken, _WORD)) else 0
    return kinds | (OTHER if beyond else 0)


def takes(leaf: Letter | CharClass, char: str) -> bool:
    """Return whether a leaf matches a character."""
    return bool(_matcher(leaf)(char))


def candidates(leaf: Letter | CharClass, others: str = _ASCII + _FOLDED) -> set[str]:
    """Return at least one character of each kind that the leaf distinguishes.

    The ranges of a bracket begin and end at the characters that it names, so those and
    their neighbors are enough; Unicode classes are not expanded.
    """
    parts = bracket_parts(leaf.text) if leaf.text.startswith("[") else [leaf.text]
    named = [char_of(part) for part in parts]
    codes = {
        ord(char) + step for char in named if len(char) == 1 for step in (-1, 0, 1)
    }
    near = {chr(code) for code in codes if 0 <= code <= 0x10FFFF}  # noqa: PLR2004
    return {c for c in near | set(others) if not "\ud800" <= c <= "\udfff"}


def first_edges(leaf: Letter | CharClass) -> str:
    """Return the first and last character of the first range that a leaf matches."""
    chars = _all_others()
    found = re2.search(f"{_source(leaf)}+", chars)
    if found is None:
        return ""
    return chars[max(found.start() - 1, 0) :][:2] + chars[found.end() - 1 :][:2]


@cache
def _all_others() -> str:
    """Return all Unicode characters of the kind OTHER."""
    codes = (*range(0xD800), *range(0xE000, 0x110000))
    return "".join(char for char in map(chr, codes) if kind_of(char) == OTHER)


def _source(leaf: Letter | CharClass) -> str:
    flags = "i" if leaf.fold else ""
    if isinstance(leaf, CharClass) and leaf.dot_all:
        flags += "s"
    alone = isinstance(leaf, Letter) and len(leaf.text) == 1
    return f"(?{flags}:{re2.escape(leaf.text) if alone else leaf.text})"


@lru_cache(maxsize=4096)
def _compiled(leaf: Letter | CharClass) -> Any:  # noqa: ANN401 (untyped)
    return re2.compile(_source(leaf))


def _matcher(leaf: Letter | CharClass) -> Callable[[str], object]:
    found: Callable[[str], object] = _compiled(leaf).fullmatch
    return found
