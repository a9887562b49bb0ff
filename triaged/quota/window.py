"""The calls of the last minute, as a sliding log.

Times are rounded up to buckets, so the log stays small under any limit.
"""

from collections import deque
from collections.abc import Sequence
from math import ceil
from typing import Final

BUCKETS_PER_SECOND: Final = 10


class SlidingWindow:
    """The slots that the calls of the last window hold.

    A call reaches the server at some time between sent and answered, so its slot is
    free one window after the answer: the server never counts more than this log.
    """

    def __init__(self, seconds: float, saved: Sequence[int] = ()) -> None:
        self.seconds = seconds
        self.total = 0
        self._slots: deque[list[int]] = deque()  # [bucket when free, count]
        for ahead, count in zip(saved[1::2], saved[2::2], strict=True):
            self._slots.append([saved[0] + ahead, count])
            self.total += count

    def add(self, moment: float, count: int = 1) -> None:
        """Add calls that the server counted no later than ``moment``, a slot each."""
        bucket = self._bucket_after(moment)
        self.total += count
        at = len(self._slots)
        while at and self._slots[at - 1][0] > bucket:
            at -= 1
        if at and self._slots[at - 1][0] == bucket:
            self._slots[at - 1][1] += count
        else:
            self._slots.insert(at, [bucket, count])

    def prune(self, now: float) -> None:
        """Free the slots whose window has passed."""
        while self._slots and self._slots[0][0] / BUCKETS_PER_SECOND <= now:
            self.total -= self._slots.popleft()[1]

    def available_at(self, slots: int) -> float | None:
        """Return when that many slots will be free; None if fewer are held."""
        for bucket, count in self._slots:
            slots -= count
            if slots <= 0:
                return bucket / BUCKETS_PER_SECOND
        return None

    def on_clock_set_back(self, now: float) -> None:
        """After the clock was set back, treat calls later than ``now`` as made now."""
        latest, late = self._bucket_after(now), 0
        while self._slots and self._slots[-1][0] > latest:
            late += self._slots.pop()[1]
        if late:
            self.total -= late
            self.add(now, late)

    def to_list(self) -> list[int]:
        """Return the log as integers: a base, then pairs of offset and count."""
        if not self._slots:
            return []
        base = self._slots[0][0]
        return [base, *(n for at, count in self._slots for n in (at - base, count))]

    def _bucket_after(self, moment: float) -> int:
        return ceil((moment + self.seconds) * BUCKETS_PER_SECOND)
