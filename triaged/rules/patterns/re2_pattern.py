"""RE2 behind the core's ``Pattern``: linear time on hostile text, no other engine.

A pattern that RE2 accepts but reads differently than its author means is rejected too,
and every error message tells what to write instead.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import re2

from triaged.rules.patterns.intent_check import find_misreading
from triaged.rules.patterns.normalize import find_loose_mark, to_nfc
from triaged.rules.patterns.syntax import (
    MAX_DEPTH,
    CharClass,
    Choice,
    Node,
    Repeat,
    Sequence,
    TooDeepError,
    parse,
    split,
)
from triaged.rules.patterns.unsupported import find_unsupported

MAX_PATTERN: Final = 4096
# RE2 is linear in the text, but each step over a class (``.``, ``[…]``, ``\w``) in a
# counted repetition may double the number of states, so the constant factor can be
# large: ``[ab]*a[ab]{900}c`` takes a tenth of a second on 10,000 characters.
MAX_CLASSES: Final = 50
MAX_REPETITIONS: Final = 500

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
# Memory for program and automaton, in bytes; a pattern that needs more is rejected.
_OPTIONS.max_mem = 4 << 20

_PLAIN: Final = {
    "missing )": "a ( is never closed; for the character itself write \\(",
    "unexpected )": "a ) was never opened; for the character itself write \\)",
    "missing ]": "a [ is never closed; for the character itself write \\[",
    "trailing \\": "it ends in a lone \\; for the character itself write \\\\",
    "no argument for repetition": "nothing stands before a repetition; leave it out, as"
    " a pattern is found anywhere in a text, or put \\ before it for the character",
    "invalid repetition size": "a repetition is out of range; RE2 allows at most 1000",
    "pattern too large": "it is too large; shorten it or its repetitions",
}


class InvalidPatternError(ValueError):
    """The pattern cannot be used; the message tells what to write instead."""


@dataclass(frozen=True, slots=True)
class Re2Pattern:
    """A pattern compiled by RE2, in NFC; patterns with the same source are equal."""

    source: str
    tree: Node = field(compare=False, repr=False)
    # A Set of one pattern reports whether it matches, not where. That takes half the
    # time, and there is no slow fallback when hostile text makes the automaton grow.
    _set: Any = field(compare=False, repr=False)

    def search(self, text: str, /) -> bool:
        """Return whether the pattern occurs anywhere in the text (Unicode in NFC)."""
        return bool(self._set.Match(text.encode()))


def compile_pattern(source: str) -> Re2Pattern:
    """Compile a pattern; the module says what is accepted.

    Raises:
        InvalidPatternError: it is not.
    """
    if not source:
        message = "an empty pattern matches everything; say what to look for"
        raise InvalidPatternError(message)
    if len(source) > MAX_PATTERN:
        message = f"a pattern of {len(source)} characters; at most {MAX_PATTERN}"
        raise InvalidPatternError(message)
    source, tree = _normalized(source, _read(source))
    misread = _costly(tree) or find_misreading(source, tree)
    if misread is not None:
        raise InvalidPatternError(misread)
    return Re2Pattern(source, tree, _set_of(source))


def _read(source: str) -> Node:
    """Return the syntax tree of a pattern that RE2 accepts; raise otherwise."""
    try:
        re2.compile(source, _OPTIONS)
    except (re2.error, UnicodeError) as error:
        raise InvalidPatternError(_explain(source, error)) from error
    try:
        return parse(source)
    except TooDeepError as error:
        message = f"its groups are nested more than {MAX_DEPTH} deep; write it flatter"
        raise InvalidPatternError(message) from error


def _normalized(source: str, tree: Node) -> tuple[str, Node]:
    composed = to_nfc(source, tree)
    if composed != source:
        source, tree = composed, _read(composed)
    if (mark := find_loose_mark(tree)) is not None:
        message = (
            f"texts are compared in Unicode NFC, where U+{ord(mark):04X} does not"
            " stand like this; write each letter with its accent as one character"
        )
        raise InvalidPatternError(message)
    return source, tree


def _costly(tree: Node) -> str | None:
    leaves, classes, written = _spelled_out(tree)
    if classes > MAX_CLASSES:
        excess = f"{classes} classes (., […], \\w and the like); at most {MAX_CLASSES}"
    elif leaves - written > MAX_REPETITIONS:
        excess = f"{leaves - written} repetitions; at most {MAX_REPETITIONS}"
    else:
        return None
    return (
        f"it spells out {excess}, which hostile text can make slow;"
        " write * or + for a large {…}"
    )


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


def _set_of(source: str) -> Any:  # noqa: ANN401 (untyped)
    made = re2.Set.SearchSet(_OPTIONS)
    try:
        made.Add(source)
        made.Compile()
    except re2.error as error:
        message = f"not a valid pattern: {_PLAIN['pattern too large']}"
        raise InvalidPatternError(message) from error
    return made


def _explain(source: str, error: Exception) -> str:
    if (named := find_unsupported(split(source))) is not None:
        return named
    detail = error.args[0] if error.args else ""
    said = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else "unknown"
    if said.startswith(r"invalid character class range: \p"):
        said += r"; write \pL for letters, \pN for digits, \p{Greek} for a script"
    for start, plain in _PLAIN.items():
        if said.startswith(start):
            return f"not a valid pattern: {plain}"
    return f"not a valid pattern: {said}"
