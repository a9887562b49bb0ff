r"""Limits the worst-case cost of a pattern: its number of expanded wide steps.

RE2 is linear in the text, but each step over a class (``.``, ``[…]``, ``\w``) inside a
counted repetition may double the number of states, so the constant factor can be large:
``[ab]*a[ab]{900}c`` takes a tenth of a second on 10,000 characters.
"""

from typing import Final

from triaged.rules.patterns.syntax import CharClass, Choice, Node, Repeat, Sequence

MAX_CLASSES: Final = 50
MAX_REPETITIONS: Final = 500


def find_excess(tree: Node) -> str | None:
    """Return which repetition of the pattern is too expensive; None if none is."""
    leaves, classes, written = _spelled_out(tree)
    if classes > MAX_CLASSES:
        return f"{classes} classes (., […], \\w and the like); at most {MAX_CLASSES}"
    if leaves - written > MAX_REPETITIONS:
        return f"{leaves - written} repetitions; at most {MAX_REPETITIONS}"
    return None


def _spelled_out(node: Node) -> tuple[int, int, int]:
    """Count leaves and classes with all repetitions expanded, and leaves as written."""
    match node:
        case Sequence(parts) | Choice(parts):
            counts = [_spelled_out(part) for part in parts]
            return (
                sum(count[0] for count in counts),
                sum(count[1] for count in counts),
                sum(count[2] for count in counts),
            )
        case Repeat(part, least, most):
            leaves, classes, written = _spelled_out(part)
            times = max(most or least, 1)
            return leaves * times, classes * times, written
        case _:
            return 1, int(isinstance(node, CharClass)), 1
