"""A hook directly before a request is sent: the last chance to stop a call."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_SEND_EVENT: Final = "http11.send_request_headers.started"


class NotSentError(Exception):
    """Carries an exception of ``before_send`` through httpx and ``asyncio.timeout``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Sending:
    """Runs ``before_send`` directly before the request is written to the socket."""

    def __init__(self, before_send: Callable[[], None] | None) -> None:
        self._before_send = before_send
        self.has_started = False

    def start(self) -> None:
        """Run the hook; afterwards the request may have reached LeadLex."""
        if self._before_send is not None:
            try:
                self._before_send()
            except Exception as error:
                raise NotSentError(error) from error
        self.has_started = True

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        # A proxy tunnel is opened by a separate CONNECT request with the same
        # extensions.
        if event == _SEND_EVENT and info["request"].method != b"CONNECT":
            self.start()
