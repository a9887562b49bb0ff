"""RE2's Set and Filter behind the core's ``Prefilter``: many patterns in one pass."""

from collections.abc import Callable, Collection, Sequence
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
    groups = [
        free[start : start + SET_PATTERNS]
        for start in range(0, len(free), SET_PATTERNS)
    ]
    parts: list[tuple[Prefilter, Sequence[int]]] = [
        (_build_small([sources[place] for place in group]), group) for group in groups
    ]
    if bound:
        parts.append((build_filter([sources[place] for place in bound]), bound))
    return _joined(parts)


def build_set(sources: Sequence[str], max_mem: int = _MAX_MEM) -> Prefilter | None:
    """Build one automaton of all patterns; None if it exceeds the memory budget."""
    one_pass = re2.Set.SearchSet(_options(max_mem))
    try:
        for source in sources:
            one_pass.Add(source)
        one_pass.Compile()
    except re2.error:
        return None
    return _search(one_pass.Match)


def build_filter(sources: Sequence[str]) -> Prefilter:
    """Build a prefilter that finds required literals before it tries patterns."""
    try:
        return _search(_compile_filter(sources).Match)
    except re2.error:
        # It has too many literals for one automaton; a single pattern never does.
        if len(sources) == 1:
            raise
    middle = len(sources) // 2
    first, second = range(middle), range(middle, len(sources))
    halves = (build_filter(sources[:middle]), build_filter(sources[middle:]))
    return _joined(list(zip(halves, (first, second), strict=True)))


def _search(found: Callable[[bytes], Collection[int] | None]) -> Prefilter:
    return lambda text: found(text.encode()) or ()


def _joined(parts: Sequence[tuple[Prefilter, Sequence[int]]]) -> Prefilter:
    """Join prefilters, each with the indices of its patterns in the whole."""
    return lambda text: [
        places[found] for prefilter, places in parts for found in prefilter(text)
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


def _options(max_mem: int) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = max_mem
    return options
