"""Detects responses that are repeated or out of date.

A broken proxy may send a response twice. On a reused connection only the order ties a
response to its request, so the second copy would be taken for the next response. A
cache may also respond in place of LeadLex.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Final

_REQUEST_ID: Final = b"x-request-id"
# More than the number of calls that can be in flight.
_REMEMBERED: Final = 32
# ``Date`` has whole seconds, so two responses within a second may be identical.
_SAME_SECOND: Final = 2.0
# Tolerance in seconds for concurrent responses and for the clocks of several servers.
_SKEW: Final = 120.0
# Tolerance in seconds for consecutive dates of a clock that was set back.
_STEADY: Final = 5.0


class ReplayDetector:
    """Remembers recent response heads: with request ids, no two may be equal."""

    def __init__(self) -> None:
        # Hashes of id and whole head: thousands of workspaces remember theirs.
        self._heads: dict[tuple[bytes, bytes], float] = {}

    def is_replay(self, head: Iterable[tuple[bytes, bytes]], monotonic: float) -> bool:
        """Return whether the same head was received before, and remember it.

        A request id that a server uses for all responses identifies none of them.
        """
        fields = [(name.lower(), value) for name, value in head]
        names = dict(fields)
        if _REQUEST_ID not in names:
            return False
        hashed_id = _hash(names[_REQUEST_ID])
        seen = hashed_id, _hash(repr(fields).encode())
        if (first_seen := self._heads.get(seen)) is None:
            self._heads[seen] = monotonic
            if len(self._heads) > _REMEMBERED:
                del self._heads[next(iter(self._heads))]
            return False
        ids = {other for other, _ in self._heads}
        if len(ids) == 1 and len(self._heads) > 1:
            return False
        is_of_same_second = b"date" in names and monotonic < first_seen + _SAME_SECOND
        return len(ids) > 1 or not is_of_same_second


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class StaleDetector:
    """Detects by ``Date`` a response that is much older than those before it."""

    def __init__(self) -> None:
        # The server's clock minus the local clock, in seconds.
        self._offset: float | None = None
        self._stale: tuple[float, float] | None = None

    def is_stale(self, date: datetime | None, monotonic: float) -> bool:
        """Return whether a response with this ``Date`` is out of date.

        Two such responses in a row with advancing dates mean that the server's clock
        was set back.
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
