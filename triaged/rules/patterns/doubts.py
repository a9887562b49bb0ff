"""Finds parts of a pattern that are valid but probably not what the author meant."""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from typing import Final

from triaged.rules.patterns.bracket_doubts import find_bracket_doubts
from triaged.rules.patterns.edge_doubts import find_edge_doubts
from triaged.rules.patterns.syntax import (
    CharClass,
    Letter,
    Node,
    Repeat,
    Sequence,
    leaves,
    letter_runs,
    nodes,
    split,
)

_ESCAPED_TWICE: Final = re.compile(r"(?<!\\)\\\\([bBdDsSwW])(?=$|[\s*+?{)|$\[])")
_QUOTED: Final = re.compile(r"[rRbBuU]{0,2}(['\"]).+\1", re.DOTALL)
_BYTES: Final = re.compile(r"(?:\\x[89a-fA-F][0-9a-fA-F]){2,4}")
# Letters of other scripts that look like these of the Latin one.
_LOOKALIKES: Final = frozenset(
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
)
_SINGLE_QUOTES: Final = "\u2018\u2019\u201a\u201b"
_DOUBLE_QUOTES: Final = "\u201c\u201d\u201e\u201f"


def find_doubts(source: str, tree: Node) -> Iterator[str]:
    """Yield a message for each part that was probably meant differently."""
    for leaf in leaves(tree):
        if isinstance(leaf, CharClass) and leaf.text.startswith("["):
            yield from find_bracket_doubts(leaf.text)
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
    yield from find_edge_doubts(source, tree)
    yield from _parentheses_doubts(source)
    yield from _script_doubts(tree)


def find_case_doubt(tree: Node) -> str | None:
    """Return a word that the pattern matches in one case only, or None."""
    for run in _words(tree):
        word = "".join(leaf.char for leaf in run if not leaf.fold)
        if len(word) > 1 and word.swapcase() != word:
            return word
    return None


def _words(tree: Node) -> Iterator[list[Letter]]:
    return letter_runs(tree, lambda letter: letter.char.isalpha())


def _script_doubts(tree: Node) -> Iterator[str]:
    """Find words in which a letter of another script looks like a Latin one."""
    for run in _words(tree):
        word = "".join(leaf.char for leaf in run)
        other = next((char for char in word if char in _LOOKALIKES), None)
        if other is not None and any(map(str.isascii, word)):
            yield (
                f"{word} has Latin letters and a {unicodedata.name(other)}"
                f" (U+{ord(other):04X}), which only looks like one; type the word again"
            )


def _parentheses_doubts(source: str) -> Iterator[str]:
    """Find ``(TEST)``, where parentheses that group nothing may be meant as such."""
    text: str | None = None
    for token, following in zip_longest(tokens := split(source), tokens[1:]):
        if token.kind == "open":
            text = "" if token.text == "(" else None
        elif token.kind == "close":
            is_repeated = following is not None and following.kind == "repeat"
            if text and len(text.strip()) > 1 and not is_repeated:
                yield (
                    f"({text}) finds {text} without parentheses too; for the characters"
                    rf" themselves write \({text}\), otherwise drop them"
                )
            text = None
        elif text is not None:
            is_plain = token.kind == "other" and (
                token.text.isalnum() or token.text in " _-"
            )
            text = text + token.text if is_plain else None


def _quoting_doubts(source: str) -> Iterator[str]:
    """Find syntax that belongs to other YAML quotes or to another regex engine."""
    if (escaped := _ESCAPED_TWICE.search(source)) is not None:
        yield (
            f"{escaped[0]} means a backslash and {escaped[1]}; between single quotes"
            f" a backslash is written once: \\{escaped[1]}"
        )
    plain = re.sub(r"^\(\?\w+\)", "", source)
    if (quoted := _QUOTED.fullmatch(plain)) is not None:
        yield (
            f"the quotes {quoted[1]} around the text are part of the pattern; drop them"
            " if only the text is meant"
        )
    if (coded := _BYTES.search(source)) is not None:
        with suppress(UnicodeError):
            char = bytes.fromhex(coded[0].replace("\\x", "")).decode()
            yield (
                f"{coded[0]} is {len(coded[0]) // 4} characters, not the bytes of"
                f" {char}; write {char}"
            )
    if re.search(r"^%\w|[^\W\d]%$", plain) is not None:
        yield "% is an ordinary character here; drop it if any text is meant"


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
