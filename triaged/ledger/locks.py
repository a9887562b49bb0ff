"""Locks on the state directory that die with their holder.

The kernel drops a ``flock`` with its process, however that ends, so there is never
anything stale to clean up.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Self

from triaged.clock import Clock
from triaged.errors import AlreadyRunning, LedgerError

_POLL_SECONDS: Final = 0.05


class FileLock:
    """An exclusive lock on a file that names its holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Try to take the lock; say whether that worked.

        Raises:
            LedgerError: the directory cannot be written.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write_owner(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except BlockingIOError:
            return False
        except OSError as error:
            why = error.strerror or type(error).__name__
            remedy = "give a writable TRIAGED_STATE_DIR"
            raise LedgerError(str(self._path), why, remedy) from error
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go, if held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> str:
        """Say who holds the lock, as they wrote it down."""
        try:
            who = json.loads(self._path.read_bytes())
            return f"process {int(who['pid'])} on {who['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


def _write_owner(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    me = {"pid": os.getpid(), "host": socket.gethostname()}
    os.pwrite(descriptor, json.dumps(me).encode(), 0)


class DaemonLock:
    """Held by a daemon or a ``run --once`` for as long as it lives."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = FileLock(directory / "daemon.lock")

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRunning: somebody else has it; says who.
        """
        if not self._lock.acquire():
            raise AlreadyRunning(str(self._directory), self._lock.holder())
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._lock.release()


class DispatchLock:
    """Held while dismissals are under way, by whichever process makes them.

    Under it, an intent without an outcome is nobody's call in flight: its process
    died, so the next list may settle it.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._lock = FileLock(directory / "gate.lock")
        self._clock = clock

    @contextlib.asynccontextmanager
    async def acquired(self) -> AsyncIterator[None]:
        """Wait until nobody else dismisses, and keep it that way."""
        while not self._lock.acquire():
            await self._clock.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            self._lock.release()
