"""Many patterns in one pass, however many there are and whatever they look like."""

import random
from collections.abc import Sequence

import pytest

from tests.pattern_differences import count_differences
from triaged.rules.compiled import Prefilter
from triaged.rules.patterns.prefilter import (
    SET_PATTERNS,
    build_filter,
    build_prefilter,
    build_set,
)
from triaged.rules.patterns.re2_pattern import compile_pattern


def _words(count: int) -> list[str]:
    dice = random.Random(count)  # noqa: S311
    return ["".join(dice.choices("abcdefghij", k=12)) for _ in range(count)]


def _found(prefilter: Prefilter | None, text: str) -> list[int]:
    assert prefilter is not None
    return sorted(prefilter(text))


def _agrees(sources: Sequence[str], texts: Sequence[str]) -> bool:
    prefilter = build_prefilter(sources)
    patterns = [compile_pattern(source) for source in sources]
    return all(
        _found(prefilter, text) == [i for i, p in enumerate(patterns) if p.search(text)]
        for text in texts
    )


def test_one_pass_finds_what_single_searches_find() -> None:
    """Set and Filter agree with one search at a time on odd patterns and texts."""
    assert count_differences(2_000) == 0


@pytest.mark.parametrize("count", [1, SET_PATTERNS, SET_PATTERNS + 1, 4 * SET_PATTERNS])
def test_places(count: int) -> None:
    """The places are those of the patterns, below and above the change to a filter."""
    words = _words(count)

    assert _found(build_prefilter(words), f"x {words[-1]} {words[0]}") == sorted(
        {0, count - 1}
    )
    assert _found(build_prefilter(words), "nothing of these") == []


def test_without_literals() -> None:
    """Patterns that need no literal are found too, alone and among others."""
    free = [rf"\d{{{n}}}\s[a-z]{{{m}}}$" for n in range(1, 13) for m in range(1, 9)]
    mixed = [
        source for pair in zip(free, _words(len(free)), strict=True) for source in pair
    ]
    texts = ["12 abc", "123456789 abcdefgh", f"7 {mixed[11]}", mixed[1], ""]

    assert _agrees(free, texts)
    assert _agrees(mixed, texts)


def test_little_memory() -> None:
    """A set that its memory does not suffice for is refused at once, not later."""
    assert build_set([r".{0,900}z"], max_mem=1 << 17) is None


def test_filter_of_very_many() -> None:
    """A filter that would need too much memory is split, and keeps its places."""
    words = _words(11_000)

    assert _found(build_filter(words), f"{words[7_999]} {words[3]}") == [3, 7_999]


def test_one_pattern_beyond_measure() -> None:
    """A pattern that no filter can hold is an error, not a pattern never found."""
    with pytest.raises(Exception, match="failed to compile Filter"):
        build_filter(["|".join(_words(11_000))])
