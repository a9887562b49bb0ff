"""Who may ask the web port for what, for how long, and how many at once.

A stranger on the port can have little: a short GET within seconds, and one connection
of a few hundred.  uvicorn bounds none of that by itself.
"""

import asyncio
import ipaddress
from collections.abc import Iterable
from typing import Final, cast
from urllib.parse import urlsplit

import h11
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_CONNECTIONS: Final = 256
# The loop accepts so many at a stroke; it must read the first ones' requests before so
# many came behind them that they would have to make room.
BACKLOG: Final = MAX_CONNECTIONS // 4
# From the first byte of a request to the last of its answer.
REQUEST_SECONDS: Final = 10
IDLE_SECONDS: Final = 5
MAX_HEADER_BYTES: Final = 8192
MAX_TARGET_BYTES: Final = 1024

_READING: Final = ("GET", "HEAD")

Headers = Iterable[tuple[bytes, bytes]]


class LimitedHttpProtocol(H11Protocol):
    """One connection that is bounded in time and must make room for newer ones."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; when there are too many, the one that has waited longest goes."""
        self._make_room()
        super().connection_made(transport)
        self._end: asyncio.TimerHandle | None = None
        self._begin_anew()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Give the next request on this connection its own time."""
        self._begin_anew()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers of all answers."""
        if self.conn.our_state is not h11.IDLE:
            # Amid an answer there is nothing left to say.
            self.transport.close()
            return
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=msg.encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _begin_anew(self) -> None:
        self.began = self.loop.time()
        if self._end is not None:
            self._end.cancel()
        self._end = self.loop.call_later(REQUEST_SECONDS, self.abort)

    def abort(self) -> None:
        """End the connection, whatever of an answer is left to send."""
        self.connections.discard(self)
        self.transport.abort()

    def _make_room(self) -> None:
        ours = [c for c in self.connections if isinstance(c, LimitedHttpProtocol)]
        if len(ours) >= MAX_CONNECTIONS:
            min(ours, key=LimitedHttpProtocol._precedence).abort()

    def _precedence(self) -> tuple[bool, float]:
        """Say who goes last: who is being answered, and among equals the newer one."""
        # uvicorn says that there always is one.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return (cycle is not None and not cycle.response_complete, self.began)


class RequestFilter:
    """Lets short requests that only read through to an application.

    ``is_local`` says that the port is on loopback, for the people of this machine.
    """

    def __init__(self, app: ASGIApp, *, is_local: bool) -> None:
        self._app = app
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or have it answered."""
        refusal = _refusal(scope) or (_refuse_name(scope) if self._is_local else None)
        await (self._app if refusal is None else refusal)(scope, receive, send)


def _refusal(scope: Scope) -> PlainTextResponse | None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if scope["method"] not in _READING:
        return _refuse(405, "here is only to read", Allow=", ".join(_READING))
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return _refuse(414, "no address here is that long")
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        return _refuse(431, "the headers are too long")
    if _has_body(headers):
        return _refuse(413, "no request here has a body")
    return None


def _refuse_name(scope: Scope) -> PlainTextResponse | None:
    """Refuse what quotes tasks under a foreign name; figures answer to any.

    A site that has its own name lead to loopback must not read the page in a visitor's
    browser.  Whoever opens the port to others has a proxy with a name of its own.
    """
    if scope["path"] == "/" and not all(map(_is_ours, _hosts(scope["headers"]))):
        return _refuse(421, "ask by address, as localhost or by a name without a dot")
    return None


def _refuse(status: int, why: str, **headers: str) -> PlainTextResponse:
    # Nothing that may still come on this connection is of use.
    return PlainTextResponse(f"{why}\n", status, {"Connection": "close", **headers})


def _has_body(headers: Headers) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in headers
    )


def _hosts(headers: Headers) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == b"host"]


def _is_ours(host: str) -> bool:
    """Say whether nobody could have made this name lead here."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if "." not in name and ":" not in name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(".localhost")
    return True
