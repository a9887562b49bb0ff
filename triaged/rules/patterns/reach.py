r"""Finds whether a pattern can match at all, and parts of it that never do.

Anchors and boundaries depend on the kinds of the characters on either side only: none
(the edge of the text), a line break, a word character or another one. So there are
sixteen kinds of positions in a text. A set of them is an integer of 16 bits, and each
node of the tree maps a set of positions to a set of positions.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Final

from triaged.rules.patterns.chars import (
    EDGE,
    NEWLINE,
    OTHER,
    WORD,
    kinds_of,
)
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

Step = Callable[[Node, int], int]

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
    for kind in (
        "text start",
        "text end",
        "line start",
        "line end",
        "word boundary",
        "no boundary",
    )
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


def _forward(node: Node, places: int) -> int:
    """Return where a match of the node can end if it begins at one of the positions."""
    match node:
        case Letter() | CharClass():
            return _AFTER[_kinds_after(places) & kinds_of(node)]
        case Assertion(kind=kind):
            return places & _ASSERTED[kind]
        case Sequence(parts):
            return reduce(lambda reached, part: _forward(part, reached), parts, places)
        case Choice(options):
            return reduce(lambda found, one: found | _forward(one, places), options, 0)
        case Repeat():
            return _repeated(node, places, _forward)


def _backward(node: Node, places: int) -> int:
    """Return where a match of the node can begin if it ends at one of the positions."""
    match node:
        case Letter() | CharClass():
            return _BEFORE[_kinds_before(places) & kinds_of(node)]
        case Assertion(kind=kind):
            return places & _ASSERTED[kind]
        case Sequence(parts):
            return reduce(
                lambda reached, part: _backward(part, reached), reversed(parts), places
            )
        case Choice(options):
            return reduce(lambda found, one: found | _backward(one, places), options, 0)
        case Repeat():
            return _repeated(node, places, _backward)


def _repeated(node: Repeat, places: int, step: Step) -> int:
    for _ in range(node.least):
        reached = step(node.part, places)
        if reached == places:
            break
        places = reached
    more = 1000 if node.most is None else node.most - node.least
    for _ in range(more):
        reached = places | step(node.part, places)
        if reached == places:
            break
        places = reached
    return places


def _kinds_after(places: int) -> int:
    return (places | places >> 4 | places >> 8 | places >> 12) & 15


def _kinds_before(places: int) -> int:
    return sum(kind for row, kind in enumerate(KINDS) if places >> (4 * row) & 15)


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
