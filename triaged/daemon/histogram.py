"""A histogram that takes little memory, since each workspace of a fleet has its own."""

from bisect import bisect_left
from collections.abc import Iterable
from math import inf
from typing import Final

CYCLE_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
REQUEST_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LATENESS_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Histogram:
    """Counts observed values by upper bounds."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def add(self, other: "Histogram") -> None:
        """Add the values of another one with the same bounds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def buckets(self) -> list[tuple[str, float]]:
        """Return upper bounds and cumulated counts, as Prometheus writes them."""
        counted, found = 0, []
        for bound, number in zip((*self._bounds, inf), self.counts, strict=True):
            counted += number
            written = "+Inf" if bound == inf else str(float(bound))
            found.append((written, float(counted)))
        return found


def summed(histograms: Iterable[Histogram], bounds: tuple[float, ...]) -> Histogram:
    """Return one histogram of all values of several with these bounds."""
    whole = Histogram(bounds)
    for each in histograms:
        whole.add(each)
    return whole
