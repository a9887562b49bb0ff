"""Locks on the state directory, which the kernel releases when a process ends.

A ``flock`` ends with its process, however that ends, so there are no stale locks.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, Self

from triaged import __version__
from triaged.clock import Clock
from triaged.errors import AlreadyRunning, LedgerError, os_reason

DAEMON_LOCK: Final = "daemon.lock"
DISPATCH_LOCK: Final = "dispatch-{}.lock"
_POLL_SECONDS: Final = 0.05
_ATTEMPTS: Final = 20
_REPORT_AFTER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class LockOwner:
    """The process that holds a lock, and its workspace, as written to the lock file."""

    pid: int
    host: str
    workspace: str = ""
    since: datetime | None = None
    once: bool = False
    version: str | None = None

    def __str__(self) -> str:
        """Format the process id and the host name."""
        return f"process {self.pid} on {self.host}"


class DispatchLock(Protocol):
    """Held by a process while it sends dismissals of a workspace.

    While it is held, an intent without an outcome belongs to a process that has died
    or was fenced.
    """

    def acquired(
        self, give_up: Callable[[], bool] = ...
    ) -> AbstractAsyncContextManager[bool]:
        """Wait until no other process dismisses, and hold the lock in the body.

        Yields False if ``give_up`` ended the wait.
        """
        ...


class DaemonLock(Protocol):
    """Held by a daemon or a ``run --once`` for as long as it runs."""

    def __enter__(self) -> Self:
        """Acquire it, or raise ``AlreadyRunning``."""
        ...

    def __exit__(self, *_: object) -> None:
        """Release it."""
        ...

    def describe(self, *, config_sha256: str) -> None:
        """Record the hash of the files that the process runs with."""
        ...

    def verify(self) -> None:
        """Raise ``LedgerError`` if another process may hold it too."""
        ...

    def heartbeat(self) -> None:
        """Record that this process is alive; called every second or so."""
        ...


class FileLock:
    """An exclusive lock on a file that names its owner."""

    def __init__(self, path: Path, **facts: str | bool) -> None:
        self._path = path
        self._facts = facts
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Try to acquire the lock; return whether that succeeded.

        Raises:
            LedgerError: the directory cannot be written, or the lock is a symlink.
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
            why = os_reason(error)
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
        """Return the owner written to the lock file; None if it cannot be read."""
        return _read_owner(self._path)


def _write_owner(descriptor: int, facts: Mapping[str, str | bool]) -> None:
    owner = {"pid": os.getpid(), "host": os.uname().nodename, **facts}
    text = json.dumps(owner).encode()
    # A daemon takes the same lock in each cycle, and writing is slow.
    if os.pread(descriptor, len(text) + 1, 0) != text:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


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
            version=owner.get("version"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class FileDaemonLock:
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
            version=__version__,
        )

    @staticmethod
    def owner(directory: Path) -> LockOwner | None:
        """Return the daemon that runs on a state directory, or None."""
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
        """Check that the lock file is still in place, so that the lock is exclusive.

        Raises:
            LedgerError: the file was deleted or replaced.

        """
        self._lock.verify()

    def describe(self, *, config_sha256: str) -> None:
        """Do nothing: there is no other daemon whose files could differ."""

    def heartbeat(self) -> None:
        """Do nothing: the kernel releases the lock when the process ends."""

    def __enter__(self) -> Self:
        """Acquire the lock.

        Raises:
            AlreadyRunning: another process holds it; the message names it.

        """
        # A command that checks for a running daemon locks the file for an instant.
        if not any(self._lock.acquire() for _ in range(_ATTEMPTS)):
            owner = self._lock.owner()
            who = str(owner) if owner else "another process"
            raise AlreadyRunning(str(self._directory), who)
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._lock.release()


class FileDispatchLock:
    """Held by a process during a cycle, or while it sends dismissals of a workspace.

    While it is held, an intent without an outcome belongs to a process that has died.
    Each workspace has a file of its own, so that none waits for another.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        workspace: str = "default",
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._lock = FileLock(directory / DISPATCH_LOCK.format(workspace))
        self._clock = clock
        self._on_wait = on_wait

    @contextlib.asynccontextmanager
    async def acquired(
        self, give_up: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[bool]:
        """Wait until no other process dismisses, and hold the lock in the body.

        ``on_wait`` is called once with the owner of the lock if the wait takes longer
        than two seconds. Yields False if ``give_up`` ended the wait, because a
        suspended process may hold the lock forever.
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
