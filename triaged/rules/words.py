"""Whole words and phrases in a text, however it is capitalised, accented or spaced.

A phrase is found by its words, one dictionary lookup each, so that what a text costs
does not grow with the number of phrases.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

# A word or a sign, with the space before it: "miller", " &", " sons".
_TOKEN: Final = re.compile(r" ?(?:\w+|[^\w ])")
# The key of a node under which the number of the phrase that ends there stands.
_END: Final = ""
# Rules ask for words in the same description one after the other.
_REMEMBERED: Final = 64


def fold(text: str) -> str:
    """Return a text as it is compared: case folded in full, NFC, white space single."""
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFD", text)
        folded = unicodedata.normalize("NFC", decomposed.casefold())
    return " ".join(folded.split())


def has_word(text: str) -> bool:
    """Say whether there is a letter or digit in a text."""
    return any(character.isalnum() for character in text)


class WordIndex:
    """Phrases, ready to be looked for in any text, all at once."""

    __slots__ = ("_root",)

    def __init__(self, phrases: Sequence[str]) -> None:
        self._root: dict[str, Any] = {}
        for number, phrase in enumerate(phrases):
            first, *rest = _TOKEN.findall(fold(phrase))
            node = self._root.setdefault(first, {})
            # A phrase begins at the start of the text, or after a space.
            self._root[f" {first}"] = node
            for token in rest:
                node = node.setdefault(token, {})
            node.setdefault(_END, number)

    def find(self, text: str) -> int | None:
        """Return the number of the phrase that comes first in the text, if any."""
        tokens = _tokens(text)
        begins = self._root.get
        for start, token in enumerate(tokens):
            node = begins(token)
            if node is not None:
                found = _follow(node, tokens, start)
                if found is not None:
                    return found
        return None


def _follow(node: dict[str, Any], tokens: Sequence[str], start: int) -> int | None:
    """Return the shortest phrase that begins here and is not part of a longer word."""
    for place in range(start + 1, len(tokens) + 1):
        after = tokens[place] if place < len(tokens) else " "
        number: int | None = node.get(_END)
        if number is not None and not _joins(after[0]):
            before = tokens[start - 1] if start and tokens[start][0] != " " else " "
            return None if _joins(before[-1]) else number
        if after not in node:
            return None
        node = node[after]
    return None


def _joins(neighbour: str) -> bool:
    """Say whether a character beside a phrase makes it part of a longer word."""
    return (
        neighbour.isalnum()
        or neighbour == "_"
        or unicodedata.category(neighbour)[0] == "M"
    )


@lru_cache(_REMEMBERED)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(fold(text)))
