"""Sequential covering: the best conjunction, then the best for what it leaves, and on.

A conjunction is worth the dismissals that it explains less a multiple of the approvals
that it hits: it is widened while what is added agrees with people often enough.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from triaged.triage.suggest.candidates import Candidate

MAX_CONDITIONS: Final = 3
MAX_RULES: Final = 30

# At least this share of what a condition lets through must have been dismissed.
MARGIN: Final = 0.8
MIN_WORTH: Final = 8.0
# A condition must improve a conjunction by this much, and by a share of its size.
_CONDITION_COST: Final = 4.0
_CONDITION_SHARE: Final = 0.05

_BEAM: Final = 30


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Candidates by number, and the rows that meet them all."""

    parts: tuple[int, ...]
    rows: int


def find_conjunctions(
    candidates: Sequence[Candidate], *, wanted: int, unwanted: int
) -> Iterator[Conjunction]:
    """Give conjunctions, the best first; each for rows that none before it explains.

    ``wanted`` are the rows to explain, ``unwanted`` those to keep clear of.
    """
    search = _Search(candidates, unwanted)
    for _ in range(MAX_RULES):
        best = search.best(wanted)
        if best is None:
            return
        yield best
        wanted &= ~best.rows


class _Search:
    def __init__(self, candidates: Sequence[Candidate], unwanted: int) -> None:
        self._unwanted = unwanted
        self._against = max(1, unwanted.bit_count())
        self._rows = [candidate.rows for candidate in candidates]

    def best(self, wanted: int) -> Conjunction | None:
        """Return the conjunction that is worth most, if one is worth enough."""
        total = wanted.bit_count()
        if not total:
            return None
        share = self._against / total
        # Only what still explains something can be a part of the next rule.
        usable = [
            (number, rows)
            for number, rows in enumerate(self._rows)
            if (rows & wanted).bit_count() >= MIN_WORTH
        ]
        beam = [Conjunction((), -1)]
        best: tuple[float, Conjunction] | None = None
        for _ in range(MAX_CONDITIONS):
            found: dict[int, tuple[float, float, Conjunction]] = {}
            for start in beam:
                for number, rows in usable:
                    if number in start.parts:
                        continue
                    both = start.rows & rows
                    hits = (both & wanted).bit_count()
                    if hits < MIN_WORTH or both == start.rows or both in found:
                        continue
                    misses = (both & self._unwanted).bit_count()
                    parts = tuple(sorted((*start.parts, number)))
                    found[both] = (
                        _worth(hits, misses, len(parts)),
                        hits * share - misses,
                        Conjunction(parts, both),
                    )
            for worth, _, one in found.values():
                if best is None or worth > best[0]:
                    best = worth, one
            beam = _choose(list(found.values()))
        if best is None:
            return None
        return self._enough(best[1], wanted)

    def _enough(self, best: Conjunction, wanted: int) -> Conjunction | None:
        hits = (best.rows & wanted).bit_count()
        misses = (best.rows & self._unwanted).bit_count()
        return best if _gain(hits, misses) >= MIN_WORTH else None


def _choose(found: list[tuple[float, float, Conjunction]]) -> list[Conjunction]:
    """Keep what is worth much by itself, and what sets dismissals apart at all."""
    by_worth = sorted(found, key=lambda one: -one[0])[: _BEAM // 3]
    by_contrast = sorted(found, key=lambda one: -one[1])[:_BEAM]
    kept = {one.rows: one for _, _, one in (*by_worth, *by_contrast)}
    return list(kept.values())


def _gain(hits: int, misses: int) -> float:
    return hits - misses * MARGIN / (1 - MARGIN)


def _worth(hits: int, misses: int, parts: int) -> float:
    return _gain(hits, misses) - parts * (_CONDITION_COST + _CONDITION_SHARE * hits)
