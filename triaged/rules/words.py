"""Finds whole words and phrases in a text, ignoring case, encoding and spacing.

Phrases are kept in a trie of words, so the time that a text takes does not grow with
the number of phrases.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

_TOKEN: Final = re.compile(r"\w+|[^\w ]")
# Prefix of a token that follows the previous one without a space.
_JOINED: Final = "\0"
# The token behind the last one, as if separated by a space.
_STOP: Final = " "
# The key in a node for the number of the phrase that ends there.
_END: Final = ""
# Consecutive rules search the same description, so its tokens are cached.
_REMEMBERED: Final = 64


def fold(text: str) -> str:
    """Normalize a text for comparison: full case folding, NFC, single spaces."""
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFD", text)
        folded = unicodedata.normalize("NFC", decomposed.casefold())
    return " ".join(folded.split())


def has_word(text: str) -> bool:
    """Return whether a text contains a letter or a digit."""
    return any(character.isalnum() for character in text)


class WordIndex:
    """An index of phrases that finds any of them in a text in one pass."""

    __slots__ = ("_root",)

    def __init__(self, phrases: Sequence[str]) -> None:
        self._root: dict[str, Any] = {}
        for number, phrase in enumerate(phrases):
            first, *rest = _split(phrase)[:-1]
            node = self._root.setdefault(first, {})
            self._root[_JOINED + first] = node
            for token in rest:
                node = node.setdefault(token, {})
            node.setdefault(_END, number)

    def find(self, text: str) -> int | None:
        """Return the index of the first phrase found in the text, or None."""
        tokens = _tokens(text)
        begins = self._root.get
        for start, token in enumerate(tokens):
            node = begins(token)
            if node is not None and (_END in node or tokens[start + 1] in node):
                found = _follow(node, tokens, start)
                if found is not None:
                    return found
        return None


def _follow(node: dict[str, Any], tokens: Sequence[str], start: int) -> int | None:
    """Return the index of the shortest whole-word phrase that begins here, or None."""
    for place in range(start + 1, len(tokens)):
        after = tokens[place]
        number: int | None = node.get(_END)
        if number is not None and not _is_part(after[:2]):
            before = tokens[start - 1] if tokens[start].startswith(_JOINED) else _STOP
            return None if _is_part(_JOINED + before[-1]) else number
        if after not in node:
            return None
        node = node[after]
    return None


def _is_part(adjacent: str) -> bool:
    letter = adjacent.removeprefix(_JOINED)
    return letter != adjacent and (
        letter.isalnum() or letter == "_" or unicodedata.category(letter)[0] == "M"
    )


def _split(text: str) -> list[str]:
    """Split a text into words and punctuation tokens, followed by the stop token."""
    tokens: list[str] = []
    for chunk in fold(text.replace(_JOINED, " ")).split(" "):
        if chunk.isalnum():
            tokens.append(chunk)
        else:
            first, *rest = _TOKEN.findall(chunk) or [_STOP]
            tokens.append(first)
            tokens += [_JOINED + token for token in rest]
    tokens.append(_STOP)
    return tokens


_tokens: Final = lru_cache(_REMEMBERED)(_split)
