"""Finds whether a pattern matches every line, and so requires nothing.

It searches for a counterexample by subset construction: each state is the set of
pattern positions that a text reaches. Only patterns that match the empty text need the
search.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from triaged.rules.patterns.chars import EDGE, candidates, first_edges, kind_of, takes
from triaged.rules.patterns.reach import holds, matches_empty_text
from triaged.rules.patterns.syntax import (
    Assertion,
    CharClass,
    Choice,
    Letter,
    Node,
    Repeat,
    Sequence,
    leaves,
)

# Limit of states; a pattern that needs more is taken not to match every line.
_MAX_SETS: Final = 300


def matches_every_line(tree: Node) -> bool:
    """Return whether the pattern occurs in every text that has no line break."""
    if not matches_empty_text(tree):
        return False
    machine = _Machine()
    start = machine.add(tree, machine.accept)
    alphabet = _alphabet(tree)
    seen: set[tuple[frozenset[int], int]] = set()
    waiting = [(frozenset({start}), EDGE)]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        here, before = state
        if len(seen) > _MAX_SETS or machine.accept not in machine.reached(
            here, before, EDGE
        ):
            return False
        for char in alphabet:
            reached = machine.reached(here, before, kind_of(char))
            if machine.accept not in reached:
                after = {start, *machine.step(reached, char)}
                waiting.append((frozenset(after), kind_of(char)))
    return True


@dataclass(slots=True)
class _Machine:
    """The pattern as an automaton: for each position, its leaf and its successors."""

    asks: list[Letter | CharClass | Assertion | None] = field(
        default_factory=lambda: [None]
    )
    follow: list[list[int]] = field(default_factory=lambda: [[]])
    accept: int = 0

    def add(self, node: Node, then: int) -> int:
        """Add a node that continues at position ``then``; return its start position."""
        match node:
            case Sequence(parts):
                for part in reversed(parts):
                    then = self.add(part, then)
                return then
            case Choice(options):
                return self._new(None, [self.add(option, then) for option in options])
            case Repeat(part, least, most):
                return self._add_repeat(part, least, most, then)
            case _:
                return self._new(node, [then])

    def _add_repeat(self, part: Node, least: int, most: int | None, then: int) -> int:
        if most is None:
            loop = self._new(None, [then])
            self.follow[loop].append(self.add(part, loop))
            then = loop
        else:
            end = then
            for _ in range(most - least):
                then = self._new(None, [end, self.add(part, then)])
        for _ in range(least):
            then = self.add(part, then)
        return then

    def _new(
        self, asks: Letter | CharClass | Assertion | None, follow: list[int]
    ) -> int:
        self.asks.append(asks)
        self.follow.append(follow)
        return len(self.asks) - 1

    def reached(self, positions: Iterable[int], before: int, after: int) -> set[int]:
        """Return the positions that can be reached without consuming a character."""
        found: set[int] = set()
        waiting = list(positions)
        while waiting:
            place = waiting.pop()
            if place in found:
                continue
            found.add(place)
            match self.asks[place]:
                case None:
                    waiting += self.follow[place]
                case Assertion(kind=kind) if holds(kind, before, after):
                    waiting += self.follow[place]
                case _:
                    pass
        return found

    def step(self, positions: Iterable[int], char: str) -> Iterator[int]:
        """Yield the positions after consuming a character."""
        for place in positions:
            leaf = self.asks[place]
            if isinstance(leaf, Letter | CharClass) and takes(leaf, char):
                yield from self.follow[place]


def _alphabet(tree: Node) -> list[str]:
    """Return one character of each kind that matters, except line breaks."""
    taking = {leaf for leaf in leaves(tree) if not isinstance(leaf, Assertion)}
    some = {" ", "a", "-"}.union(*(candidates(leaf) for leaf in taking))
    for leaf in taking:
        if r"\p" in leaf.text.lower():
            some |= set(first_edges(leaf))
    kinds = {
        (kind_of(char), *(takes(leaf, char) for leaf in taking)): char
        for char in sorted(some - {"\n"})
    }
    return list(kinds.values())
