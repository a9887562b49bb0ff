"""Locks on the state directory that the kernel releases with their process.

A ``flock`` ends with its process, however that ends, so there is never a stale one.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from triaged.clock import Clock
from triaged.errors import AlreadyRunning, LedgerError

DAEMON_LOCK: Final = "daemon.lock"
_DISPATCH_LOCK: Final = "gate.lock"  # an older process must exclude a newer one
_POLL_SECONDS: Final = 0.05
_ATTEMPTS: Final = 20
_REPORT_AFTER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class LockOwner:
    """Which process holds a lock, and for which workspace, as it wrote down itself."""

    pid: int
    host: str
    workspace: str = ""
    since: datetime | None = None
    once: bool = False

    def __str__(self) -> str:
        """Name the process and its machine."""
        return f"process {self.pid} on {self.host}"


class FileLock:
    """An exclusive lock on a file that names its owner."""

    def __init__(self, path: Path, **facts: str | bool) -> None:
        self._path = path
        self._facts = facts
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Try to acquire the lock; return whether that worked.

        Raises:
            LedgerError: the directory cannot be written, or the lock is a link.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write_owner(descriptor, self._facts)
            except BaseException:
                os.close(descriptor)
                raise
        except BlockingIOError:
            return False
        except OSError as error:
            why = error.strerror or type(error).__name__
            hint = "give a writable TRIAGED_STATE_DIR"
            raise LedgerError(str(self._path), why, hint) from error
        self._descriptor = descriptor
        if self._is_at_path():
            return True
        # Deleted between opening and locking: another process would not meet this lock.
        self.release()
        return False

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def verify(self) -> None:
        """Check that the locked file is still the one at its path.

        Raises:
            LedgerError: it was deleted or replaced: another process could lock it too.
        """
        if not self._is_at_path():
            raise LedgerError(
                str(self._path),
                "was deleted or replaced while it was in use",
                "start again, once no other daemon runs here",
            )

    def _is_at_path(self) -> bool:
        """Return whether the locked file, if any, is the one at the path."""
        if self._descriptor is None:
            return True
        ours = os.fstat(self._descriptor)
        try:
            return os.path.samestat(ours, self._path.stat())
        except OSError:
            return False

    def owner(self) -> LockOwner | None:
        """Return which process holds the lock, as it wrote down; None if unreadable."""
        return _read_owner(self._path)


def _write_owner(descriptor: int, facts: Mapping[str, str | bool]) -> None:
    os.ftruncate(descriptor, 0)
    owner = {"pid": os.getpid(), "host": os.uname().nodename, **facts}
    os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _read_owner(path: Path) -> LockOwner | None:
    try:
        owner = json.loads(path.read_bytes())
        since = owner.get("since")
        return LockOwner(
            pid=int(owner["pid"]),
            host=str(owner["host"]),
            workspace=str(owner.get("workspace", "")),
            since=datetime.fromisoformat(since) if since else None,
            once=bool(owner.get("once")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class DaemonLock:
    """Held by a daemon or a ``run --once`` for as long as it runs."""

    def __init__(
        self,
        directory: Path,
        *,
        workspace: str = "",
        since: datetime | None = None,
        once: bool = False,
    ) -> None:
        self._directory = directory
        self._lock = FileLock(
            directory / DAEMON_LOCK,
            workspace=workspace,
            since=since.isoformat() if since else "",
            once=once,
        )

    @staticmethod
    def owner(directory: Path) -> LockOwner | None:
        """Return the daemon that runs on a state directory; None when none does."""
        path = directory / DAEMON_LOCK
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_owner(path) or LockOwner(0, "this machine")
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None

    def verify(self) -> None:
        """Check that no other process could hold this lock at the same time.

        Raises:
            LedgerError: the file was deleted or replaced.
        """
        self._lock.verify()

    def __enter__(self) -> Self:
        """Acquire the lock.

        Raises:
            AlreadyRunning: another process has it; says which.
        """
        # A command that looks whether a daemon runs holds the file for an instant.
        if not any(self._lock.acquire() for _ in range(_ATTEMPTS)):
            owner = self._lock.owner()
            who = str(owner) if owner else "another process"
            raise AlreadyRunning(str(self._directory), who)
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._lock.release()


class DispatchLock:
    """Held while dismissals are under way, by the process that makes them.

    Under it, an intent without an outcome belongs to a process that has died.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._lock = FileLock(directory / _DISPATCH_LOCK)
        self._clock = clock
        self._on_wait = on_wait

    @contextlib.asynccontextmanager
    async def acquired(
        self, give_up: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[bool]:
        """Wait until no other process dismisses, and keep it that way.

        ``on_wait`` is told once which process holds the lock, when that takes longer
        than two seconds.  Yields False when ``give_up`` ended the wait: a process that
        is stopped may hold the lock for ever.
        """
        started, reported = self._clock.monotonic(), False
        while not (is_held := self._lock.acquire()) and not give_up():
            waited = self._clock.monotonic() - started
            if waited >= _REPORT_AFTER_SECONDS and not reported:
                owner = self._lock.owner()
                self._on_wait(str(owner) if owner else "another process")
                reported = True
            await self._clock.sleep(_POLL_SECONDS)
        try:
            yield is_held
        finally:
            self._lock.release()
