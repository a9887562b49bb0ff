"""What a person tells a running daemon through its ledger: pause, resume, veto."""

import contextlib
import os
import pwd
import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from triaged.cli.output import echo
from triaged.errors import LedgerError
from triaged.ledger import DaemonLock, Ledger
from triaged.settings import Settings

T = TypeVar("T")

_NOTICE_SECONDS: Final = 1.0


def login_name() -> str:
    """Return who runs this command, also behind sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    caller = os.environ.get("SUDO_USER")
    return f"{caller} (as {name})" if caller and caller != name else name


@contextlib.contextmanager
def open_control(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger that a daemon uses, and no other.

    Raises:
        ConfigError: the ledger belongs to another workspace.
        LedgerError: there is no ledger here, or it cannot be opened.
    """
    with (
        _notice(settings),
        Ledger.open_existing(
            settings.state_dir, workspace=settings.workspace
        ) as ledger,
    ):
        yield ledger


def until_written(settings: Settings, write: Callable[[], T]) -> T:
    """Repeat a write until it is in: the emergency stop must not give up.

    Raises:
        LedgerError: it failed for another reason than that the ledger was busy.
    """
    with _notice(settings):
        while True:
            try:
                return write()
            except LedgerError as error:
                if "locked" not in error.problem:
                    raise


def whose(ledger: Ledger, settings: Settings) -> str:
    """Name workspace and ledger, and the daemon that uses it."""
    owner = DaemonLock.owner(settings.state_dir)
    daemon = f"used by the daemon, {owner}" if owner else "no daemon runs on it"
    return f"workspace {ledger.workspace}, ledger {ledger.path}, {daemon}"


@contextlib.contextmanager
def _notice(settings: Settings) -> Iterator[None]:
    """Tell on stderr what the command waits for, once that takes a second."""

    def tell() -> None:
        owner = DaemonLock.owner(settings.state_dir)
        who = str(owner) if owner else "another process"
        echo(f"triaged: waiting for the ledger, which {who} is using", error=True)

    timer = threading.Timer(_NOTICE_SECONDS, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
