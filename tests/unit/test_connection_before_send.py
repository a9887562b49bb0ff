"""The hook before a call: the last moment at which a dismissal can be stopped."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import httpx
import pytest

from tests.clocks import ManualClock
from tests.connections import OwnConnection
from triaged.errors import TriagedError
from triaged.leadlex.errors import Unreachable
from triaged.leadlex.models import ApiCall
from triaged.leadlex.writer import LexiWriter

pytestmark = pytest.mark.anyio

_CONFIRMED = b'{"data":{"task_id":"a","status":"dismissed"}}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_CONFIRMED) + _CONFIRMED
)


class StoppedError(TriagedError):
    """What a hook raises: pause, say, came first."""


class RawServer:
    """Keeps what connections write to it, and answers each piece the same way."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.received = b""
        self.connections = 0
        self.port = 0

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        while piece := await reader.read(65_536):
            self.received += piece
            if b"\r\n\r\n" in piece:
                writer.write(self.answer)
        writer.close()


@asynccontextmanager
async def raw_server(answer: bytes = _ANSWER) -> AsyncIterator[RawServer]:
    raw = RawServer(answer)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    raw.port = server.sockets[0].getsockname()[1]
    async with server:
        yield raw


def connect(
    port: int,
    transport: httpx.AsyncBaseTransport | None = None,
    calls: list[ApiCall] | None = None,
) -> OwnConnection:
    return OwnConnection(
        base_url=f"http://127.0.0.1:{port}",
        key=lambda: "wbk_x",
        clock=ManualClock(),
        on_call=([] if calls is None else calls).append,
        transport=transport,
    )


async def test_the_hook_comes_before_the_first_byte() -> None:
    """While the hook runs, the connection is open and nothing has been received."""
    received: list[bytes] = []
    async with raw_server() as server, connect(server.port) as connection:
        for _ in range(2):
            await LexiWriter(connection).dismiss(
                "a", "testing", before_send=lambda: received.append(server.received)
            )
            server.received = b""

    assert received == [b"", b""]
    assert server.connections == 1


@pytest.mark.parametrize(
    "error", [StoppedError("paused"), TimeoutError(), httpx.ReadError("x"), OSError()]
)
async def test_a_hook_that_raises_sends_nothing(error: Exception) -> None:
    """The exception reaches the caller as it is, and the server receives no byte."""
    calls: list[ApiCall] = []

    def stop() -> None:
        raise error

    async with raw_server() as server, connect(server.port, None, calls) as connection:
        writer = LexiWriter(connection)
        with pytest.raises(type(error)) as raised:
            await writer.dismiss("a", "testing", before_send=stop)
        await asyncio.sleep(0.05)  # noqa: TID251 - what was sent would arrive by then
        stopped = server.received
        await writer.dismiss("a", "testing")

    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert stopped == b""
    assert server.received.startswith(b"POST /v1/lexi/tasks/a/dismiss ")
    assert [call.status for call in calls] == [None, 200]


class PausedWhileConnecting(httpcore.AnyIOBackend):
    """Opens a connection; while it does, what the hook asks about changes."""

    def __init__(self) -> None:
        self.is_paused = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's name
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await super().connect_tcp(
            host, port, timeout, local_address, socket_options
        )
        self.is_paused = True
        return stream


async def test_the_hook_comes_after_a_slow_connect() -> None:
    """What becomes forbidden while the connection opens is not sent any more."""
    backend = PausedWhileConnecting()
    transport = httpx.AsyncHTTPTransport()
    transport._pool = httpcore.AsyncConnectionPool(network_backend=backend)  # noqa: SLF001

    def stop_when_paused() -> None:
        if backend.is_paused:
            raise StoppedError

    async with raw_server() as server, connect(server.port, transport) as connection:
        with pytest.raises(StoppedError):
            await LexiWriter(connection).dismiss(
                "a", "testing", before_send=stop_when_paused
            )

    assert (server.connections, server.received) == (1, b"")


async def test_a_tunnel_is_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses its tunnel has passed nothing on: the hook never ran."""
    refused = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    ran: list[bool] = []
    async with raw_server(refused) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        connection = OwnConnection(
            base_url="https://data.leadlex.com",
            key=lambda: "wbk_x",
            clock=ManualClock(),
        )
        async with connection:
            with pytest.raises(Unreachable):
                await LexiWriter(connection).dismiss(
                    "a", "testing", before_send=lambda: ran.append(True)
                )

    assert proxy.received.startswith(b"CONNECT data.leadlex.com:443")
    assert ran == []


async def test_the_hook_runs_once_on_a_transport_without_events() -> None:
    """A transport without trace events is called directly after the hook."""
    order: list[str] = []

    def server(_: httpx.Request) -> httpx.Response:
        order.append("server")
        return httpx.Response(200, content=_CONFIRMED)

    async with connect(1, httpx.MockTransport(server)) as connection:
        await LexiWriter(connection).dismiss(
            "a", "testing", before_send=lambda: order.append("hook")
        )

    assert order == ["hook", "server"]
