"""Writes log lines in a separate thread, so that no stream can block the caller.

With a blocked pipe, a closed terminal or a full disk, only log lines are lost, and lost
lines are counted.
"""

import atexit
import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

MAX_QUEUED_LINES: Final = 10_000
DRAIN_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.2


class LogWriter:
    """A bounded queue of lines and the thread that writes them in order.

    If the queue is full, the oldest line is dropped, because the last lines before an
    exit are the ones that explain it.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        on_lost: Callable[[], None] = lambda: None,
        capacity: int = MAX_QUEUED_LINES,
    ) -> None:
        self._stream = stream
        self._on_lost = on_lost
        self._lines: deque[str] = deque(maxlen=capacity)
        self._changed = threading.Condition()
        self._is_writing = False
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        """Queue one line; never waits and never raises."""
        with self._changed:
            if len(self._lines) == self._lines.maxlen:
                self.lost()
            self._lines.append(line)
            if self._thread is None:
                self._start()
            self._changed.notify_all()

    def lost(self) -> None:
        with contextlib.suppress(Exception):
            self._on_lost()

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until all queued lines are written; return False on timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._lines and not self._is_writing, seconds
            )

    def _start(self) -> None:
        # A daemon thread, so that a blocked write cannot prevent the process from
        # exiting.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.drain)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._lines))
                line = self._lines.popleft()
                self._is_writing = True
            try:
                self._write(line)
            except Exception:  # noqa: BLE001 - the lost line is counted
                self.lost()

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            # Not a file but an in-memory buffer.
            self._stream.write(line)
            return
        # Bypasses Python's buffer: if a write blocks while it holds the buffer's lock,
        # the interpreter aborts at exit.
        data = line.encode(self._stream.encoding or "utf-8", "backslashreplace")
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                select.select([], [descriptor], [], _RETRY_SECONDS)
