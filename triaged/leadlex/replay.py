"""Tells an answer to this request from one that was given before.

A broken proxy may send an answer twice: on a connection that is used again only the
order ties an answer to its request, so the second would pass for the next answer.  A
cache may answer in LeadLex's place.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, TypeAlias

_Head: TypeAlias = tuple[tuple[bytes, bytes], ...]

_REQUEST_ID: Final = b"x-request-id"
# More than can be on their way at once.
_REMEMBERED: Final = 64
# ``Date`` counts seconds, so two answers of one second can have the same head.
_SAME_SECOND: Final = 2.0
# How far the ``Date`` of concurrent answers, and of servers beside each other, differs.
_SKEW: Final = 120.0
# How evenly the ``Date`` of a clock that was set back runs on.
_STEADY: Final = 5.0


class ReplayDetector:
    """Remembers the heads of the last answers: with a request id, no two are equal."""

    def __init__(self) -> None:
        self._heads: dict[_Head, float] = {}

    def is_replay(self, head: Iterable[tuple[bytes, bytes]], monotonic: float) -> bool:
        """Return whether this very head came before, and remember it.

        A server that gives all its answers one request id identifies none of them.
        """
        head = tuple((name.lower(), value) for name, value in head)
        names = dict(head)
        if _REQUEST_ID not in names:
            return False
        if (first_seen := self._heads.get(head)) is None:
            self._heads[head] = monotonic
            if len(self._heads) > _REMEMBERED:
                del self._heads[next(iter(self._heads))]
            return False
        ids = {dict(other)[_REQUEST_ID] for other in self._heads}
        if len(ids) == 1 and len(self._heads) > 1:
            return False
        is_of_same_second = b"date" in names and monotonic < first_seen + _SAME_SECOND
        return len(ids) > 1 or not is_of_same_second


class StaleDetector:
    """Tells by ``Date`` whether an answer is much older than those before it."""

    def __init__(self) -> None:
        # The difference between the server's clock and ours, as seconds.
        self._offset: float | None = None
        self._stale: tuple[float, float] | None = None

    def is_stale(self, date: datetime | None, monotonic: float) -> bool:
        """Return whether an answer with this ``Date`` was made long before now.

        Two in a row whose ``Date`` runs on show that the server's clock was set back.
        """
        if date is None:
            return False
        made_at = date.timestamp()
        offset = made_at - monotonic
        if self._offset is None or offset >= self._offset - _SKEW:
            self._offset = offset if self._offset is None else max(offset, self._offset)
            self._stale = None
            return False
        before, self._stale = self._stale, (made_at, offset)
        if before and made_at > before[0] and abs(offset - before[1]) <= _STEADY:
            self._offset = offset
            return False
        return True
