"""The sliding log of one window: how many slots are taken, and when they come free.

Moments are merged upwards into grains, so the log stays small under any limit.
"""

from collections import deque
from collections.abc import Sequence
from math import ceil
from typing import Final

GRAINS: Final = 500  # to a window: 0.12 s of a minute


class WindowLog:
    """The slots that calls of the last window hold.

    A call reaches the server at some moment between sent and answered, so its slot
    comes free one window after the answer: the server never sees more than we count.
    """

    def __init__(self, window: float, packed: Sequence[int] = ()) -> None:
        self.window = window
        self.total = 0
        self._grain = window / GRAINS
        self._slots: deque[list[int]] = deque()  # [grain when it comes free, count]
        for ahead, count in zip(packed[1::2], packed[2::2], strict=True):
            self._slots.append([packed[0] + ahead, count])
            self.total += count

    def add(self, moment: float, count: int = 1) -> None:
        """Let so many calls, counted no later than this moment, hold a slot each."""
        grain = ceil((moment + self.window) / self._grain)
        self.total += count
        at = len(self._slots)
        while at and self._slots[at - 1][0] > grain:
            at -= 1
        if at and self._slots[at - 1][0] == grain:
            self._slots[at - 1][1] += count
        else:
            self._slots.insert(at, [grain, count])

    def prune(self, now: float) -> None:
        """Free the slots whose window has passed."""
        while self._slots and self._slots[0][0] * self._grain <= now:
            self.total -= self._slots.popleft()[1]

    def frees_at(self, slots: int) -> float | None:
        """Return when that many slots will have come free; None without so many."""
        for grain, count in self._slots:
            slots -= count
            if slots <= 0:
                return grain * self._grain
        return None

    def resized(self, window: float) -> "WindowLog":
        """Return the same calls as a log of another window."""
        other = WindowLog(window)
        for grain, count in self._slots:
            other.add(grain * self._grain - self.window, count)
        return other

    def rewind(self, now: float) -> None:
        """Treat entries from the future of a clock that was set back as new."""
        latest, late = ceil((now + self.window) / self._grain), 0
        while self._slots and self._slots[-1][0] > latest:
            late += self._slots.pop()[1]
        if late:
            self.total -= late
            self.add(now, late)

    def packed(self) -> list[int]:
        """Return the log as flat numbers: a base, then pairs of distance and count."""
        if not self._slots:
            return []
        base = self._slots[0][0]
        return [base, *(n for at, count in self._slots for n in (at - base, count))]
