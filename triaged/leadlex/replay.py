"""Tells an answer that comes again from the answer to what was asked.

A broken proxy may send an answer twice.  On a connection that is used again only the
order ties an answer to its request, so the echo would pass for the next answer.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

# More than can be on their way at once.
_REMEMBERED: Final = 64


class ReplayDetector:
    """Remembers the heads of the last answers: with a request id, no two are equal."""

    def __init__(self) -> None:
        self._heads: deque[tuple[tuple[bytes, bytes], ...]] = deque(maxlen=_REMEMBERED)

    def is_replay(self, head: Iterable[tuple[bytes, bytes]]) -> bool:
        """Say whether the very same head came before, and remember it."""
        heard = tuple(head)
        if not any(name.lower() == b"x-request-id" for name, _ in heard):
            return False
        if heard in self._heads:
            return True
        self._heads.append(heard)
        return False
