"""Tests of the datagrams to a service manager, on real sockets."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from triaged.daemon import systemd
from triaged.daemon.systemd import SystemdNotifier

_PATIENCE_SECONDS: Final = 10


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(_PATIENCE_SECONDS)
        yield listener


def listen_at(manager: socket.socket, path: Path) -> SystemdNotifier:
    manager.bind(str(path))
    return SystemdNotifier({"NOTIFY_SOCKET": str(path)})


@pytest.mark.parametrize(
    ("tell", "heard"),
    [
        (SystemdNotifier.ready, b"READY=1"),
        (SystemdNotifier.watchdog, b"WATCHDOG=1"),
        (SystemdNotifier.stopping, b"STOPPING=1"),
        (lambda n: n.status("cycle finished: 3 of 20"), None),
    ],
)
def test_the_manager_hears(
    tell: Callable[[SystemdNotifier], None],
    heard: bytes | None,
    manager: socket.socket,
    tmp_path: Path,
) -> None:
    """Each word is one datagram, as sd_notify(3) has it."""
    tell(listen_at(manager, tmp_path / "s"))

    assert manager.recv(4096) == (heard or b"STATUS=cycle finished: 3 of 20")


def test_a_status_is_one_line(manager: socket.socket, tmp_path: Path) -> None:
    """Text from outside can neither say READY=1 in our name nor break the sending."""
    listen_at(manager, tmp_path / "s").status("rules: a\nREADY=1 \ud800")

    assert manager.recv(4096) == rb"STATUS=rules: a\nREADY=1 \ud800"


def test_an_abstract_address(manager: socket.socket, tmp_path: Path) -> None:
    """A leading @ stands for the NUL byte of the abstract namespace."""
    name = f"triaged-{tmp_path.name}-{id(manager)}"
    manager.bind(f"\0{name}")
    SystemdNotifier({"NOTIFY_SOCKET": f"@{name}"}).ready()

    assert manager.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "@nobody-listens-there"},
        {"NOTIFY_SOCKET": "/" + "x" * 500},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
    ],
)
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    """A service manager that is absent or unreachable never stops the work."""
    notifier = SystemdNotifier(environ)

    notifier.ready()
    notifier.status("x")
    notifier.watchdog()
    notifier.stopping()


def fill(sender: socket.socket, path: Path) -> None:
    sender.settimeout(0)
    while True:
        sender.sendto(b"x", str(path))


def test_a_manager_that_does_not_read(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue costs a moment and the word, and never the daemon's loop."""
    monkeypatch.setattr(systemd, "_SEND_TIMEOUT", 0.01)
    notifier = listen_at(manager, tmp_path / "s")
    with (
        pytest.raises(BlockingIOError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
    ):
        fill(other, tmp_path / "s")
    notifier.watchdog()

    assert manager.recv(4096) == b"x"
