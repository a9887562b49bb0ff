"""Notifies systemd by sd_notify(3): datagrams to the socket in NOTIFY_SOCKET."""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from triaged.text import escape_unprintable

# Sending blocks the event loop, so a manager that does not read must not block for
# long.
_SEND_TIMEOUT: Final = 0.02


class SystemdNotifier:
    """Sends notifications to the service manager, if there is one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ means the abstract namespace, which begins with a NUL byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        # A line break would begin another assignment in the message.
        self._send(f"STATUS={escape_unprintable(text)}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with (
            # A service manager that does not listen must not stop the daemon.
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s,
        ):
            s.settimeout(_SEND_TIMEOUT)
            s.sendto(message.encode(), self._address)
