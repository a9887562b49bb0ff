r"""How much a pattern may cost on the worst text: how many wide steps it spells out.

RE2 is linear in the text, but each step over a class (``.``, ``[…]``, ``\\w``) inside a
counted repetition may double the states that it has to tell apart, so the factor can
be large: ``[ab]*a[ab]{900}c`` takes a tenth of a second on 10,000 characters.
"""

from collections.abc import Callable
from typing import Final

from triaged.rules.patterns.syntax import Token

MAX_WIDE: Final = 50
MAX_STEPS: Final = 500

_WIDE_ESCAPES: Final = frozenset("wWdDsSpPX")


def too_costly(tokens: list[Token]) -> str | None:
    """Say what a valid pattern spells out too often; None when it does not."""
    wide = _spelled_out(tokens, _is_wide)
    if wide > MAX_WIDE:
        return f"{wide} classes (., […], \\w and the like); at most {MAX_WIDE}"
    steps = _spelled_out(tokens, _is_any) - len(tokens)
    if steps > MAX_STEPS:
        return f"{steps} repetitions; at most {MAX_STEPS}"
    return None


def _spelled_out(tokens: list[Token], counts: Callable[[Token], bool]) -> int:
    """Count steps with all counted repetitions written out."""
    stack = [0]
    item = 0
    for token in tokens:
        if token.kind == "repeat":
            stack[-1] += item * (_times(token.text) - 1)
            continue
        if token.kind == "open":
            stack.append(0)
            continue
        if token == ("other", ")") and len(stack) > 1:
            item = stack.pop()
        else:
            item = int(counts(token))
        stack[-1] += item
    return sum(stack)


def _is_any(token: Token) -> bool:
    return token.kind != "flags"


def _is_wide(token: Token) -> bool:
    if token.kind == "escape":
        return token.text[1:2] in _WIDE_ESCAPES
    return token.kind == "bracket" or token == ("other", ".")


def _times(text: str) -> int:
    """Return how often a repetition spells its item out."""
    if text[0] in "*+?":
        return 1
    low, _, high = text.rstrip("?").strip("{}").partition(",")
    return int(high or low) or 1
