r"""Finds beginnings and ends of patterns that probably do not do what was meant.

A pattern is looked for anywhere in a text. So a ``\b``, an anchor or a repetition at
its edge is where habits from shells and other engines go wrong.
"""

from collections.abc import Iterator
from typing import Final

from triaged.rules.patterns.syntax import (
    Assertion,
    CharClass,
    Choice,
    Letter,
    Node,
    Repeat,
    Sequence,
    Token,
    bracket_parts,
    split,
)

_CURRENCY: Final = "$\u20ac\u00a3\u00a5"
# Signs that rarely stand directly behind a letter, and directly before one.
_OPENING: Final = frozenset(f'#[({{<"*+~{_CURRENCY}')
_CLOSING: Final = frozenset(f'#])}}>"*+%!?,;:.{_CURRENCY}')
_BOUNDARY: Final = r"\b"
_PAIRS: Final = frozenset({("^", "$"), (r"\A", r"\z"), (_BOUNDARY, _BOUNDARY)})
_EDGES: Final = frozenset({"^", "$", r"\A", r"\z", _BOUNDARY})


def find_edge_doubts(source: str, tree: Node) -> Iterator[str]:
    """Yield a message for each beginning or end that was probably meant differently."""
    yield from _lopsided_anchors(source)
    yield from dict.fromkeys(_boundary_doubts(tree))
    for row in _rows(tree, at_end=True):
        yield from _glob_doubts(row)


def _rows(node: Node, *, at_end: bool) -> Iterator[tuple[Node, ...]]:
    """Yield the parts of the pattern for each alternative at one of its edges."""
    match node:
        case Choice(options):
            for option in options:
                yield from _rows(option, at_end=at_end)
        case Sequence((*rest, edge)) if at_end:
            for row in _rows(edge, at_end=at_end):
                yield (*rest, *row)
        case Sequence((edge, *rest)):
            for row in _rows(edge, at_end=at_end):
                yield (*row, *rest)
        case _:
            yield (node,)


def _boundary_doubts(tree: Node) -> Iterator[str]:
    r"""Find signs beside a ``\b`` at the edge, which then demands a letter there."""
    sides = (
        (False, _OPENING, "before", "at the start or behind"),
        (True, _CLOSING, "behind", "at the end or before"),
    )
    for at_end, signs, side, elsewhere in sides:
        for row in _rows(tree, at_end=at_end):
            edge, inner = (row[-1:], row[:-1]) if at_end else (row[:1], row[1:])
            if not inner or not _is_boundary(edge):
                continue
            for near in _rows(inner[-1 if at_end else 0], at_end=at_end):
                sign = _sign(near[-1 if at_end else 0], signs)
                if sign:
                    yield (
                        rf"\b {side} {sign} demands a letter or digit directly {side}"
                        rf" it, so a {sign} {elsewhere} a space is not found;"
                        r" drop the \b"
                    )


def _is_boundary(edge: tuple[Node, ...]) -> bool:
    return all(isinstance(part, Assertion) and part.text == _BOUNDARY for part in edge)


def _sign(node: Node, signs: frozenset[str]) -> str:
    """Return the sign of this set that a leaf matches; empty if it matches others."""
    match node:
        case Letter(char=char) if char in signs:
            return char
        case CharClass(text=text) if text.startswith("[") and text[1] != "^":
            parts = [part.removeprefix("\\") for part in bracket_parts(text)]
            return parts[0] if set(parts) <= signs else ""
        case _:
            return ""


def _glob_doubts(row: tuple[Node, ...]) -> Iterator[str]:
    """Find ``name-*`` and ``name.*`` with an escaped dot, as in a shell."""
    match row:
        case (*before, Repeat(Letter(char=char) as sign, text="*")) if (
            not char.isalnum()
        ):
            word = ""
            for part in reversed(before):
                if not isinstance(part, Letter):
                    break
                word = part.text + word
            if any(map(str.isalnum, word)):
                yield (
                    f"{sign.text}* at the end means any number of {char!r}, none"
                    f" included, so {word}{sign.text}* finds {word} alone too; if"
                    f" {word}{sign.text} is meant, with anything behind it, write"
                    f" {word}{sign.text}"
                )
        case _:
            return


def _lopsided_anchors(source: str) -> Iterator[str]:
    """Find ``^a|b$``: the anchors belong to one alternative each."""
    tokens = split(source)
    flags = []
    while tokens and tokens[0].kind == "flags":
        flags.append(tokens.pop(0).text)
    options = _alternatives(tokens)
    if len(options) == 1 or not all(options):
        return
    first, last = options[0][0].text, options[-1][-1].text
    inner = [options[0][1:], *options[1:-1], options[-1][:-1]]
    anchored = any(
        option[0].text in _EDGES or option[-1].text in _EDGES
        for option in inner
        if option
    )
    if (first, last) not in _PAIRS or anchored or not all(inner):
        return
    whole = "|".join("".join(token.text for token in option) for option in inner)
    yield (
        f"{first} belongs to the first alternative alone and {last} to the last; if"
        f" both are meant for each, write {''.join(flags)}{first}(?:{whole}){last},"
        " otherwise put each alternative into (?:\u2026)"
    )


def _alternatives(tokens: list[Token]) -> list[list[Token]]:
    """Split tokens at the ``|`` outside of all groups."""
    options: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.kind == "open") - (token.kind == "close")
        if token.kind == "other" and token.text == "|" and depth == 0:
            options.append([])
        else:
            options[-1].append(token)
    return options
