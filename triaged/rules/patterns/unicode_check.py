r"""Finds ASCII-only ``\b \w \d \s`` next to other letters, and suggests a rewrite.

RE2 accepts such patterns, but they match less than their author expects.
"""

import unicodedata
from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple

from triaged.rules.patterns.chars import LETTERS, takes
from triaged.rules.patterns.syntax import (
    Assertion,
    CharClass,
    Choice,
    Letter,
    Node,
    Repeat,
    Sequence,
    bracket_parts,
    char_of,
    leaves,
)

_ASCII_CLASSES: Final = frozenset({r"\w", r"\W", r"\d", r"\D", r"\s", r"\S"})


class Touch(NamedTuple):
    """An ASCII class next to a non-ASCII letter; ``after`` tells on which side."""

    at: int
    text: str
    letter: str
    after: bool


class _Mark(NamedTuple):
    """A relevant leaf: a non-ASCII letter, or (if that is empty) an ASCII class."""

    at: int
    text: str
    letter: str
    # It is a class such as "\\pL", which may stand beside "\\d", but not beside "\\b".
    is_wide: bool = False


class _Edge(NamedTuple):
    """What a node can begin and end with, and whether it can match the empty text."""

    first: frozenset[_Mark] = frozenset()
    last: frozenset[_Mark] = frozenset()
    passable: bool = True


def find_touches(tree: Node) -> list[Touch]:
    """Find every ASCII class that can be adjacent to a non-ASCII letter."""
    marks = [mark for leaf in leaves(tree) for mark in _marks(leaf)]
    if not any(mark.letter for mark in marks):
        return []
    touches: set[Touch] = set()
    _edge_of(tree, touches)
    return sorted(touches)


def _edge_of(node: Node, touches: set[Touch]) -> _Edge:
    match node:
        case Sequence(parts):
            edge = _Edge()
            for part in parts:
                edge = _join(edge, _edge_of(part, touches), touches)
            return edge
        case Choice(options):
            edges = [_edge_of(option, touches) for option in options]
            return _Edge(
                frozenset().union(*(edge.first for edge in edges)),
                frozenset().union(*(edge.last for edge in edges)),
                any(edge.passable for edge in edges),
            )
        case Repeat(part, least, most):
            edge = _edge_of(part, touches)
            if most is None or most > 1:
                _join(edge, edge, touches)
            return edge._replace(passable=edge.passable or least == 0)
        case _:
            marks = frozenset(_marks(node))
            return _Edge(marks, marks, isinstance(node, Assertion))


def _join(left: _Edge, right: _Edge, touches: set[Touch]) -> _Edge:
    """Return the edges of two adjacent nodes; append their contacts to ``touches``."""
    for one, other in product(left.last, right.first):
        if one.letter and not other.letter and _matters(one, other):
            touches.add(Touch(other.at, other.text, one.letter, after=False))
        elif other.letter and not one.letter and _matters(other, one):
            touches.add(Touch(one.at, one.text, other.letter, after=True))
    return _Edge(
        left.first | right.first if left.passable else left.first,
        left.last | right.last if right.passable else right.last,
        left.passable and right.passable,
    )


def _matters(letter: _Mark, other: _Mark) -> bool:
    return not letter.is_wide or other.text in {r"\b", r"\B"}


def _marks(leaf: Letter | CharClass | Assertion) -> Iterator[_Mark]:
    letter, is_wide = "", False
    if isinstance(leaf, Letter):
        letter = _foreign(leaf.char)
        is_class = False
    elif isinstance(leaf, Assertion):
        is_class = leaf.kind in {"word boundary", "no boundary"}
    elif leaf.text.startswith("["):
        parts = bracket_parts(leaf.text)
        named = "".join(char_of(part) for part in parts if part[:2] != "[:")
        letter = _foreign(named)
        knows_more = letter or any(part[:2].lower() == r"\p" for part in parts)
        letter = "" if leaf.text.startswith("[^") else letter
        is_class = not knows_more and any(
            part[:2] == "[:" or part in _ASCII_CLASSES for part in parts
        )
    else:
        is_class = leaf.text in _ASCII_CLASSES
    if not letter and isinstance(leaf, CharClass) and _is_wide(leaf.text):
        wide = (char for char in LETTERS if char.isalpha() and takes(leaf, char))
        letter = next(wide, "")
        is_wide = True
    if letter or is_class:
        yield _Mark(leaf.start, leaf.text, letter, is_wide)


def _is_wide(text: str) -> bool:
    return r"\p" in text and not text.startswith("[^")


def _foreign(text: str) -> str:
    """Return the first non-ASCII letter; empty if there is none."""
    return next(
        (c for c in text if not c.isascii() and unicodedata.category(c)[0] in "LMN"), ""
    )


# --- what to write instead ----------------------------------------------------------

_INSTEAD: Final = {
    r"\w": r"[\pL\pN_]",
    r"\W": r"[^\pL\pN_]",
    r"\d": r"\pN",
    r"\D": r"\PN",
    r"\s": r"[\s\pZ]",
    r"\S": r"[^\s\pZ]",
}
_WITHIN: Final = {r"\w": r"\pL\pN_", r"\d": r"\pN", r"\s": r"\s\pZ", r"\D": r"\PN"}


def rewrite(source: str, tree: Node, touches: list[Touch]) -> str | None:
    r"""Return the pattern with Unicode classes; None if no simple rewrite is known.

    If any ``\b`` is rewritten, so are those at the ends of the pattern.
    """
    found = list(leaves(tree))
    sides: dict[int, set[bool]] = {}
    for touch in touches:
        sides.setdefault(touch.at, set()).add(touch.after)
    if any(touch.text == r"\b" for touch in touches):
        for leaf, after in ((found[0], True), (found[-1], False)):
            if leaf.text == r"\b":
                sides.setdefault(leaf.start, {after})
    written, end = "", 0
    for leaf in found:
        if leaf.start in sides:
            instead = _instead(leaf.text, sides[leaf.start], source[leaf.end :][:1])
            if instead is None:
                return None
            written, end = written + source[end : leaf.start] + instead, leaf.end
    return written + source[end:]


def _instead(text: str, after: set[bool], behind: str) -> str | None:
    if text.startswith("["):
        swapped = text
        for old, new in _WITHIN.items():
            swapped = swapped.replace(old, new)
        return None if swapped == text else swapped
    if text in _INSTEAD:
        return _INSTEAD[text]
    if text != r"\b" or len(after) != 1:
        return None
    if after == {True}:
        return r"(?:^|[^\pL\pN_])"
    # A separator follows anyway, so the \b can be dropped.
    return "" if behind and behind in " ,;:!-/" else r"(?:$|[^\pL\pN_])"
