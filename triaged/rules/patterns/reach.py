r"""Finds whether a pattern can match at all, and parts of it that never do.

Anchors and boundaries depend on the kinds of the characters on either side only: none
(the edge of the text), a line break, a word character or another one. So there are
sixteen kinds of positions in a text. A set of them is an integer of 16 bits, and each
node of the tree maps a set of positions to a set of positions.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from operator import or_
from typing import Final, NamedTuple, get_args

from triaged.rules.patterns.chars import EDGE, NEWLINE, OTHER, WORD, kinds_of
from triaged.rules.patterns.syntax import (
    Assertion,
    AssertionKind,
    CharClass,
    Choice,
    Leaf,
    Letter,
    Node,
    Repeat,
    Sequence,
    leaves,
)

KINDS: Final = (EDGE, NEWLINE, WORD, OTHER)
ANYWHERE: Final = 0xFFFF
_NOTHING_AROUND: Final = 1


def holds(kind: AssertionKind, before: int, after: int) -> bool:
    """Return whether an assertion holds between two kinds of characters."""
    match kind:
        case "text start":
            return before == EDGE
        case "text end":
            return after == EDGE
        case "line start":
            return before in {EDGE, NEWLINE}
        case "line end":
            return after in {EDGE, NEWLINE}
        case "word boundary":
            return (before == WORD) != (after == WORD)
        case "no boundary":
            return (before == WORD) == (after == WORD)


def _places(wanted: Callable[[int, int], bool]) -> int:
    """Return the set of positions whose two kinds meet a predicate."""
    return sum(
        1 << (4 * row + column)
        for row, before in enumerate(KINDS)
        for column, after in enumerate(KINDS)
        if wanted(before, after)
    )


_ASSERTED: Final[dict[AssertionKind, int]] = {
    kind: _places(lambda before, after, kind=kind: holds(kind, before, after))  # type: ignore[misc]
    for kind in get_args(AssertionKind)
}
_AFTER: Final = [
    _places(lambda before, _, kinds=kinds: bool(before & kinds))  # type: ignore[misc]
    for kinds in range(16)
]
_BEFORE: Final = [
    _places(lambda _, after, kinds=kinds: bool(after & kinds))  # type: ignore[misc]
    for kinds in range(16)
]


def can_match(tree: Node) -> bool:
    """Return whether there is a text in which the pattern occurs."""
    return bool(_forward(tree, ANYWHERE))


def matches_empty_text(tree: Node) -> bool:
    """Return whether the pattern matches the empty text."""
    return bool(_forward(tree, _NOTHING_AROUND))


def find_dead_part(tree: Node) -> tuple[Leaf | None, Leaf] | None:
    """Find a part of the pattern that can never match.

    Returns the assertion that makes the match impossible (None if there is none) and
    the leaf that cannot follow it; or None if every alternative and every optional part
    can occur in some text.
    """
    if not any(
        isinstance(leaf, Assertion) or not kinds_of(leaf) for leaf in leaves(tree)
    ):
        return None
    dead = next(_dead_parts(tree, ANYWHERE, ANYWHERE), None)
    return None if dead is None else _obstacle(*dead)


class _Direction(NamedTuple):
    """Forward or backward through a pattern.

    ``kinds_at`` gives the kinds of the characters next to positions, and ``beyond`` the
    positions on the other side of characters of such kinds.
    """

    kinds_at: Callable[[int], int]
    beyond: list[int]
    step: int


def _kinds_after(places: int) -> int:
    return (places | places >> 4 | places >> 8 | places >> 12) & 15


def _kinds_before(places: int) -> int:
    return sum(kind for row, kind in enumerate(KINDS) if places >> (4 * row) & 15)


_FORWARD: Final = _Direction(_kinds_after, _AFTER, 1)
_BACKWARD: Final = _Direction(_kinds_before, _BEFORE, -1)


def _reached(node: Node, places: int, direction: _Direction) -> int:
    match node:
        case Letter() | CharClass():
            kinds = direction.kinds_at(places) & kinds_of(node)
            return direction.beyond[kinds]
        case Assertion(kind=kind):
            return places & _ASSERTED[kind]
        case Sequence(parts):
            for part in parts[:: direction.step]:
                places = _reached(part, places, direction)
            return places
        case Choice(options):
            return reduce(or_, (_reached(one, places, direction) for one in options), 0)
        case Repeat(part, least, most):
            more = 1000 if most is None else most - least
            places = _repeat(lambda at: _reached(part, at, direction), places, least)
            return _repeat(lambda at: at | _reached(part, at, direction), places, more)


def _repeat(step: Callable[[int], int], places: int, times: int) -> int:
    for _ in range(times):
        reached = step(places)
        if reached == places:
            break
        places = reached
    return places


def _forward(node: Node, places: int) -> int:
    """Return where a match of the node can end if it begins at one of the positions."""
    return _reached(node, places, _FORWARD)


def _backward(node: Node, places: int) -> int:
    """Return where a match of the node can begin if it ends at one of the positions."""
    return _reached(node, places, _BACKWARD)


def _dead_parts(node: Node, before: int, after: int) -> Iterator[tuple[Node, int]]:
    """Yield the parts that take part in no match, with the positions before them.

    The node is reached at the positions ``before``, and the rest of the pattern can
    match from the positions ``after``.
    """
    if node == Sequence(()):
        return
    if not _forward(node, before) & after:
        yield node, before
        return
    match node:
        case Sequence(parts) if any(
            isinstance(part, Sequence | Choice | Repeat) for part in parts
        ):
            ends = [after]
            for part in reversed(parts[1:]):
                ends.append(_backward(part, ends[-1]))
            for part, end in zip(parts, reversed(ends), strict=True):
                if isinstance(part, Sequence | Choice | Repeat):
                    yield from _dead_parts(part, before, end)
                before = _forward(part, before)
        case Choice(options):
            for option in options:
                yield from _dead_parts(option, before, after)
        case Repeat(part, most=most) if most != 0:
            around = Repeat(part, 0, most, "")
            yield from _dead_parts(
                part, _forward(around, before), _backward(around, after)
            )
        case _:
            return


def _obstacle(node: Node, before: int) -> tuple[Leaf | None, Leaf]:
    """Return the last assertion before the leaf that cannot match, and that leaf."""
    trail: list[Leaf] = []
    _walk(node, before, trail)
    if _forward(node, before):
        # The part itself matches, but nothing that follows it can.
        return None, trail[-1]
    assertions = [leaf for leaf in trail[:-1] if isinstance(leaf, Assertion)]
    return (assertions[-1] if assertions else None), trail[-1]


def _walk(node: Node, places: int, trail: list[Leaf]) -> int:
    """Append to ``trail`` the leaves up to the first that cannot match."""
    match node:
        case Sequence(parts):
            for part in parts:
                places = _walk(part, places, trail)
                if not places:
                    break
            return places
        case Choice(options):
            alive = [one for one in options if _forward(one, places)]
            _walk((alive or options)[0], places, trail)
        case Repeat(part):
            _walk(part, places, trail)
        case _:
            trail.append(node)
    return _forward(node, places)
