"""Tests of the locks on the state directory, within and between processes."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.clocks import ManualClock, let_others_run
from triaged.errors import AlreadyRunning, LedgerError
from triaged.ledger.locks import FileDaemonLock, FileDispatchLock, FileLock

HOLDER = """
import sys
from pathlib import Path
from triaged.ledger.locks import FileDaemonLock
with FileDaemonLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the daemon's lock until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_daemon_is_refused_and_told_who_holds(tmp_path: Path) -> None:
    """One state directory has one daemon; the other names process and host."""
    with (
        another_holder(tmp_path) as process,
        pytest.raises(AlreadyRunning) as raised,
        FileDaemonLock(tmp_path),
    ):
        pass

    who = f"process {process.pid} on {socket.gethostname()}"
    assert raised.value.holder == who
    assert str(raised.value) == (
        f"{tmp_path} is held by {who}; only one may dismiss at a time"
    )


def test_a_killed_daemon_holds_nothing(tmp_path: Path) -> None:
    """The lock dies with its holder, however that ends."""
    with another_holder(tmp_path) as process:
        process.kill()
        process.wait(10)
        with FileDaemonLock(tmp_path):
            holder = FileLock(tmp_path / "daemon.lock").owner()

    assert str(holder) == f"process {os.getpid()} on {socket.gethostname()}"


def test_a_lock_is_free_after_its_block(tmp_path: Path) -> None:
    """Leaving the block lets go, also by an error."""
    with pytest.raises(KeyboardInterrupt), FileDaemonLock(tmp_path):
        raise KeyboardInterrupt

    with FileDaemonLock(tmp_path):
        pass


def test_a_lock_is_for_the_owners_eyes(tmp_path: Path) -> None:
    """The state directory and the lock's file are made for their owner alone."""
    directory = tmp_path / "deep" / "state"
    with FileDaemonLock(directory):
        modes = [
            path.stat().st_mode & 0o777
            for path in (directory, directory / "daemon.lock")
        ]

    assert modes == [0o700, 0o600]


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"pid": "x"}', "\udcff"])
def test_an_unreadable_holder_is_another_process(tmp_path: Path, text: str) -> None:
    """Whatever the lock's file says, naming its holder does not fail."""
    path = tmp_path / "daemon.lock"
    path.write_text(text, errors="surrogateescape")

    assert FileLock(path).owner() is None


def test_dropping_what_is_not_held_is_nothing(tmp_path: Path) -> None:
    """Letting go twice is as good as once."""
    lock = FileLock(tmp_path / "some.lock")
    lock.release()

    assert lock.acquire()


@pytest.mark.parametrize("path", [Path("/proc/triaged/daemon.lock"), Path("/dev/full")])
def test_a_lock_that_cannot_be_written(path: Path) -> None:
    """A lock that cannot be made, or not be signed, is a ledger error."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(LedgerError) as raised:
        FileLock(path).acquire()

    assert raised.value.hint == "give a writable TRIAGED_STATE_DIR"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.anyio
async def test_the_gate_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """Who comes second waits until the first has left, even through another lock."""
    clock = ManualClock()
    order: list[str] = []

    async def wait_and_enter() -> None:
        async with FileDispatchLock(tmp_path, clock).acquired():
            order.append("second")

    async with FileDispatchLock(tmp_path, clock).acquired():
        second = asyncio.create_task(wait_and_enter())
        await let_others_run()
        order.append("first")
    clock.advance(timedelta(seconds=1))
    await second

    assert order == ["first", "second"]


@pytest.mark.anyio
async def test_workspaces_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A cycle of one workspace, however long, lets another one begin."""
    clock = ManualClock()
    async with (
        FileDispatchLock(tmp_path, clock, workspace="a").acquired() as first,
        FileDispatchLock(tmp_path, clock, workspace="b").acquired() as second,
    ):
        assert (first, second) == (True, True)


@pytest.mark.anyio
async def test_the_gate_is_free_after_a_failure(tmp_path: Path) -> None:
    """An error inside the gate lets go of it, also for the same lock."""
    lock = FileDispatchLock(tmp_path, ManualClock())
    with pytest.raises(ZeroDivisionError):
        async with lock.acquired():
            _ = 1 / 0
    async with lock.acquired():
        entered = True

    assert entered
