"""Ends a connection to a server that no longer answers.

A statement waits in the thread of the event loop. A server that is frozen still keeps
its connections, so neither a keepalive nor a time-out of its own would end the wait.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

_LOOK_SECONDS: Final = 0.5


class AnswerLimit:
    """Watches from a thread how long one connection at a time waits for an answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._since: float | None = None
        self._fileno: Callable[[], int] | None = None
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def waiting(self, fileno: Callable[[], int]) -> Iterator[None]:
        """Shut the connection down if the body takes too long; its wait then fails."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        with self._lock:
            self._since, self._fileno = time.monotonic(), fileno
        try:
            yield
        finally:
            with self._lock:
                self._since = None

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()

    def _watch(self) -> None:
        while not self._is_closed.wait(_LOOK_SECONDS):
            with self._lock:
                if self._since is None or self._fileno is None:
                    continue
                if time.monotonic() - self._since > self._seconds:
                    self._since = None
                    _shut_down(self._fileno())


def _shut_down(fileno: int) -> None:
    # A copy: closing the original is for its owner.
    with socket.socket(fileno=socket.dup(fileno)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
