"""Whether one pass over a text finds the same patterns as one search for each does."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from triaged.rules.compiled import Prefilter
from triaged.rules.patterns.prefilter import build_filter, build_prefilter, build_set
from triaged.rules.patterns.re2_pattern import (
    InvalidPatternError,
    Re2Pattern,
    compile_pattern,
)

# Letters that fold in odd ways are over-represented: the Kelvin sign, the long s.
_PIECES: Final = (
    *"aabbcckKsSiI019 .-_",
    *"\u212a\u017f\u0130\u0131\u00df\u1e9e\u00b5\u03bc\u03c3\u03c2\u03a3\u00e9\u00c9",
    *"\u6f22\U0001f600\u0345\u2028\x00\n\t\r\ufffd\u200b",
    *("abc", "task", "Kiss", "STRASSE", "stra\u00dfe", "caf\u00e9"),
)
_ATOMS: Final = (
    *(".", r"\w", r"\d", r"\s", r"\b", r"\B", "^", "$", "[ab]", "[^a]", "[k-s]"),
    *(r"\W", r"\D", r"\pL", r"\PL", r"\A", r"\z", "(?i:k)", "(?i:ss)", "(?i:\u03c3)"),
    *("[[:alpha:]]", r"\.", r"\x{212A}", "(?s:.)", "(?m:^)", "(?m:$)"),
)
_REPEATS: Final = ("*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{2,}")
_SPECIAL: Final = frozenset(r".^$*+?()[]{}|\-")
_SIDE: Final = 40
_BUILDS: Final[tuple[Callable[[Sequence[str]], Prefilter | None], ...]] = (
    build_set,
    build_filter,
    build_prefilter,
)


def count_differences(pairs: int, seed: int = 1) -> int:
    """Count the pairs of a pattern and a text of which anything disagrees."""
    dice = random.Random(seed)  # noqa: S311
    rounds = -(-pairs // (_SIDE * _SIDE))
    return sum(_differences_of_one_round(dice) for _ in range(rounds))


def _differences_of_one_round(dice: random.Random) -> int:
    patterns = [_accepted_pattern(dice) for _ in range(_SIDE)]
    sources = [pattern.source for pattern in patterns]
    prefilters = [p for build in _BUILDS if (p := build(sources)) is not None]
    different = 0
    for _ in range(_SIDE):
        text = "".join(dice.choices(_PIECES, k=dice.randint(0, 40)))
        expected = {i for i, pattern in enumerate(patterns) if pattern.search(text)}
        found = [set(prefilter(text)) for prefilter in prefilters]
        different += len(set().union(*(expected ^ places for places in found)))
    return different


def _accepted_pattern(dice: random.Random) -> Re2Pattern:
    while True:
        source = dice.choice(("", "", "(?i)", "(?s)", "(?U)")) + _any_pattern(dice, 3)
        try:
            return compile_pattern(source)
        except InvalidPatternError:
            continue


def _any_pattern(dice: random.Random, depth: int) -> str:
    shape = dice.randint(0, 6 if depth else 1)
    if shape == 0:
        return dice.choice(_ATOMS)
    if shape == 1:
        literal = "".join(dice.choices(_PIECES, k=dice.randint(1, 4)))
        return "".join("\\" + c if c in _SPECIAL else c for c in literal)
    if shape == 2:
        return f"(?:{_any_pattern(dice, depth - 1)}){dice.choice(_REPEATS)}"
    if shape == 3:
        return f"({_any_pattern(dice, depth - 1)}|{_any_pattern(dice, depth - 1)})"
    return _any_pattern(dice, depth - 1) + _any_pattern(dice, depth - 1)
