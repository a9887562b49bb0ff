"""Finds parts of a pattern that are valid but probably not what the author meant."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final

from triaged.rules.patterns.syntax import (
    CharClass,
    Letter,
    Node,
    Repeat,
    Sequence,
    bracket_parts,
    leaves,
    nodes,
)

_ESCAPED_TWICE: Final = re.compile(r"(?<!\\)\\\\([bBdDsSwW])(?=$|[\s*+?{)|$\[])")
_SINGLE_QUOTES: Final = "\u2018\u2019\u201a\u201b"
_WITHIN_WORDS: Final = dict.fromkeys(map(ord, " -:!#_./"))
_DOUBLE_QUOTES: Final = "\u201c\u201d\u201e\u201f"


def find_doubts(source: str, tree: Node) -> Iterator[str]:
    """Yield a message for each part that was probably meant differently."""
    for leaf in leaves(tree):
        if isinstance(leaf, CharClass) and leaf.text.startswith("["):
            yield from _bracket_doubts(leaf.text)
    for quotes, straight in ((_SINGLE_QUOTES, "'"), (_DOUBLE_QUOTES, '"')):
        curly = next((char for char in source if char in quotes), None)
        if curly is not None and straight not in source:
            yield (
                f"the curly quote {curly} is not the straight {straight} that people"
                f" type; for either, write [{straight}{curly}]"
            )
    yield from _quoting_doubts(source)
    for node in nodes(tree):
        if isinstance(node, Sequence):
            yield from _shell_doubts(node)


def find_case_doubt(tree: Node) -> str | None:
    """Return a word that the pattern matches in one case only, or None."""
    word, end = "", 0
    for leaf in leaves(tree):
        cased = isinstance(leaf, Letter) and not leaf.fold and leaf.char.isalpha()
        if word and not (cased and leaf.start == end):
            if len(word) > 1 and word.swapcase() != word:
                return word
            word = ""
        if cased:
            word, end = word + leaf.text, leaf.end
    return word if len(word) > 1 and word.swapcase() != word else None


def _bracket_doubts(text: str) -> Iterator[str]:
    parts = bracket_parts(text)
    inside = text[1:-1]
    if _looks_like_word(inside):
        yield (
            f"{text} means one of these characters; if the text in brackets is meant,"
            f" write \\[{inside}\\]"
        )
    if "|" in parts[1:-1] and not text.startswith("[^"):
        yield (
            f"{text} means one of these characters, | included; if alternatives are"
            f" meant, write (?:{inside})"
        )
    if "A-z" in text:
        yield rf"A-z in {text} includes [ \ ] ^ _ `; write A-Za-z"


def _quoting_doubts(source: str) -> Iterator[str]:
    """Find syntax that belongs to other YAML quotes or to another regex engine."""
    if (escaped := _ESCAPED_TWICE.search(source)) is not None:
        yield (
            f"{escaped[0]} means a backslash and {escaped[1]}; between single quotes"
            f" a backslash is written once: \\{escaped[1]}"
        )
    plain = re.sub(r"^\(\?\w+\)", "", source)
    if len(plain) > 2 and plain[0] == plain[-1] and plain[0] in "\"'":  # noqa: PLR2004
        yield (
            f"the quotes {plain[0]} around the text are part of the pattern; drop them"
            " if only the text is meant"
        )
    if re.search(r"^%\w|[^\W\d]%$", plain) is not None:
        yield "% is an ordinary character here; drop it if any text is meant"


def _looks_like_word(inside: str) -> bool:
    """Return whether the characters in a bracket look like a word."""
    letters = inside.translate(_WITHIN_WORDS)
    if len(letters) < 3 or not letters.isalpha():  # noqa: PLR2004 (a word)
        return False
    if not letters.isascii() and not letters.isupper():
        return False
    if set(letters) == set(letters.swapcase()) or "-" in inside.strip("-"):
        return False
    plain = [unicodedata.normalize("NFD", letter.casefold()) for letter in letters]
    return plain != sorted(plain) or len(set(letters)) < len(letters)


def _shell_doubts(node: Sequence) -> Iterator[str]:
    """Find words that end in ``*``, as in a shell glob."""
    word = ""
    for part, following in zip_longest(node.parts, node.parts[1:]):
        if isinstance(part, Letter) and part.char.isalnum():
            word += part.char
            continue
        match part:
            case Repeat(Letter(char=char), text="*") if word and char.isalnum():
                goes_on = isinstance(following, Letter) and following.char.isalnum()
                if not goes_on:
                    yield (
                        f"{char}* means any number of {char}, so {word}{char}* finds"
                        f" {word} too; if {word}{char} is meant, with anything behind"
                        f" it, write {word}{char}"
                    )
            case _:
                pass
        word = ""
