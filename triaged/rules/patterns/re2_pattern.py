"""RE2 behind the core's ``Pattern``: linear time on hostile text, no other engine.

A pattern that RE2 would accept but read otherwise than its author means is refused
too, and every refusal says what to write instead.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import re2

from triaged.rules.patterns.cost_check import too_costly
from triaged.rules.patterns.syntax import Token, split, unsupported
from triaged.rules.patterns.unicode_check import find_touches, rewrite

MAX_PATTERN: Final = 4096

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
# A budget for program and automaton together; a pattern that needs more is refused.
_OPTIONS.max_mem = 4 << 20

# An empty find in any of these means that the pattern asks for nothing there.
_PROBES: Final = ("", "a", "a a", " ", "é")

_PLAIN: Final = {
    "missing )": "a ( is never closed; for the character itself write \\(",
    "unexpected )": "a ) was never opened; for the character itself write \\)",
    "missing ]": "a [ is never closed; for the character itself write \\[",
    "trailing \\": "it ends in a lone \\; for the character itself write \\\\",
    "no argument for repetition": "nothing stands before a repetition;"
    " for the character itself put \\ before it",
    "invalid repetition size": "a repetition is out of range; RE2 allows at most 1000",
    "pattern too large": "it is too large; shorten it or its repetitions",
}


class InvalidPatternError(ValueError):
    """The pattern cannot be used; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Re2Pattern:
    """A pattern compiled by RE2; equal to another of the same source."""

    source: str
    # A set of one answers whether and not where, which takes half the time, and has
    # no slow way out when the automaton grows on hostile text.
    _set: Any = field(compare=False, repr=False)

    def search(self, text: str, /) -> bool:
        """Say whether the pattern occurs anywhere in the text (valid Unicode)."""
        return bool(self._set.Match(text.encode()))


def compile_pattern(source: str) -> Re2Pattern:
    """Compile a pattern.

    Raises:
        PatternRefusedError: RE2 does not support it, or would read it in a way that
            its author hardly meant.
    """
    if not source:
        message = "an empty pattern matches everything; say what to look for"
        raise InvalidPatternError(message)
    if len(source) > MAX_PATTERN:
        message = f"a pattern of {len(source)} characters; at most {MAX_PATTERN}"
        raise InvalidPatternError(message)
    tokens = split(source)
    try:
        compiled = re2.compile(source, _OPTIONS)
    except (re2.error, UnicodeError) as error:
        raise InvalidPatternError(_explain(tokens, error)) from error
    if (trap := _trap(tokens, compiled)) is not None:
        raise InvalidPatternError(trap)
    return Re2Pattern(source, _set_of(source))


def _set_of(source: str) -> Any:  # noqa: ANN401 (untyped)
    made = re2.Set.SearchSet(_OPTIONS)
    try:
        made.Add(source)
        made.Compile()
    except re2.error as error:
        message = f"not a valid pattern: {_PLAIN['pattern too large']}"
        raise InvalidPatternError(message) from error
    return made


def _explain(tokens: list[Token], error: Exception) -> str:
    """Name what RE2 does not support, in the words of those who know other engines."""
    if (named := unsupported(tokens)) is not None:
        return named
    detail = error.args[0] if error.args else ""
    said = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else "unknown"
    for start, plain in _PLAIN.items():
        if said.startswith(start):
            return f"not a valid pattern: {plain}"
    return f"not a valid pattern: {said}"


def _trap(tokens: list[Token], compiled: Any) -> str | None:  # noqa: ANN401 (untyped)
    r"""Say how RE2 would read the pattern otherwise than it looks; None if it does not.

    A single byte (``\C``) is a trap as well: it cuts characters into pieces.
    """
    for token in tokens:
        if token.text == r"\C":
            return r"\C (a single byte) is not supported; write . for any character"
        if token.kind == "odd":
            low, high = token.text.strip("{}").split(",")
            meant = f"{{{low.strip() or 0},{high.strip()}}}"
            return (
                f"RE2 reads {token.text} as these very characters, not as a"
                f" repetition; write {meant}"
            )
    if (excess := too_costly(tokens)) is not None:
        return (
            f"it spells out {excess}, which hostile text can make slow;"
            " write * or + for a large {…}"
        )
    found = (compiled.search(text) for text in _PROBES)
    if any(match is not None and match.start() == match.end() for match in found):
        return (
            "the pattern matches the empty string, so it holds for everything;"
            " write + for *, drop the ?, or name some text"
        )
    return _ascii_trap(tokens)


def _ascii_trap(tokens: list[Token]) -> str | None:
    touches = find_touches(tokens)
    if not touches:
        return None
    first = min(touches, key=lambda touch: touch.at)
    meant = rewrite(tokens, touches)
    if meant is None or find_touches(split(meant)):
        advice = r"use [\pL\pN_] for \w, \pN for \d, [\s\pZ] for \s, no \b there"
    else:
        advice = f"write {meant}"
    return (
        f"{tokens[first.at].text} knows ASCII alone, and here it touches"
        f" {first.letter!r}, so it would miss or cut words; {advice}"
    )
