"""RE2's Set and Filter behind the core's ``Prefilter``: many patterns in one pass."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import re2

from triaged.rules.compiled import Prefilter

# A Set reads each byte once, but its automaton grows with the patterns and the texts. A
# Filter searches for the literals that the patterns require, and then tries only the
# patterns whose literals it found and those that require none.
SET_PATTERNS: Final = 50
_MAX_WITHOUT_LITERAL: Final = 5
_MAX_MEM: Final = 8 << 20


def build_prefilter(sources: Sequence[str]) -> Prefilter:
    """Build a prefilter of patterns that ``compile_pattern`` accepts individually."""
    if len(sources) <= SET_PATTERNS:
        return _build_small(sources)
    free = [place for place, s in enumerate(sources) if not _needs_literal(s)]
    if len(free) <= _MAX_WITHOUT_LITERAL:
        return build_filter(sources)
    bound = sorted(set(range(len(sources))) - set(free))
    parts = [(_build_small(_at(sources, group)), group) for group in _groups(free)]
    if bound:
        parts.append((build_filter(_at(sources, bound)), bound))
    return _Parts(parts)


def build_set(sources: Sequence[str], max_mem: int = _MAX_MEM) -> Prefilter | None:
    """Build one automaton of all patterns; None if it exceeds the memory budget.

    RE2 detects this when it compiles the set, so a compiled set does not fail later.
    """
    one_pass = re2.Set.SearchSet(_options(max_mem))
    try:
        for source in sources:
            one_pass.Add(source)
        one_pass.Compile()
    except re2.error:
        return None
    return _Re2Matcher(one_pass.Match)


def build_filter(sources: Sequence[str]) -> Prefilter:
    """Build a prefilter that finds required literals before it tries patterns."""
    try:
        return _Re2Matcher(_compile_filter(sources).Match)
    except re2.error:
        # It has too many literals for one automaton; a single pattern never does.
        if len(sources) == 1:
            raise
    middle = len(sources) // 2
    first, second = range(middle), range(middle, len(sources))
    return _Parts(
        (
            (build_filter(sources[:middle]), first),
            (build_filter(sources[middle:]), second),
        )
    )


class _Re2Matcher:
    """A compiled Set or Filter."""

    __slots__ = ("_found",)

    def __init__(self, found: Callable[[bytes], Collection[int] | None]) -> None:
        self._found = found

    def matches(self, text: str, /) -> Collection[int]:
        """Return which of the patterns occur in the text, by their place."""
        return self._found(text.encode()) or ()


class _Parts:
    """Several prefilters, each with the indices of its patterns in the whole."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[tuple[Prefilter, Sequence[int]]]) -> None:
        self._parts = parts

    def matches(self, text: str, /) -> Collection[int]:
        """Return which of the patterns occur in the text, by their place."""
        return [
            places[found]
            for prefilter, places in self._parts
            for found in prefilter.matches(text)
        ]


def _build_small(sources: Sequence[str]) -> Prefilter:
    return build_set(sources) or build_filter(sources)


def _compile_filter(sources: Sequence[str]) -> re2.Filter:
    one_pass = re2.Filter()
    for source in sources:
        one_pass.Add(source, _options(_MAX_MEM))
    one_pass.Compile()
    return one_pass


def _needs_literal(source: str) -> bool:
    # A pattern that the filter keeps for an empty text requires no literal.
    return not _compile_filter([source]).Match(b"", potential=True)


def _groups(places: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(places), SET_PATTERNS):
        yield places[start : start + SET_PATTERNS]


def _at(sources: Sequence[str], places: Sequence[int]) -> list[str]:
    return [sources[place] for place in places]


def _options(max_mem: int) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = max_mem
    return options
