"""A TCP proxy on loopback that knows where an exchange begins, and maims some of them.

It reads a whole request before it does anything, so a mishap happens at an exact byte.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
# An RST instead of a FIN, so that the other side loses what it has not read.
_NO_LINGER: Final = struct.pack("ii", 1, 0)
# Long enough that the other side reads pieces apart.
_PAUSE_SECONDS: Final = 0.001
_TIMEOUT_SECONDS: Final = 10.0


class FaultMode(Enum):
    """What goes wrong with an exchange, at ``ProxyFault.at`` where that matters."""

    CUT_REQUEST = "the request is cut after ``at`` bytes"
    CUT_ANSWER = "the answer is cut after ``at`` bytes"
    LATE = "the answer comes after ``at`` seconds"
    TRICKLE = "the answer comes a byte at a time, ``at`` seconds apart"
    PIECES = "the answer comes in pieces of ``at`` bytes"
    DUMB = "the proxy ends its side towards the client before the answer"
    DEAF = "the proxy ends its side towards the server behind the request"
    TWICE = "the answer comes twice"
    GARBAGE = "something else comes before the answer"
    INTERIM = "an interim answer comes before the answer"
    OVERTAKEN = "the request reaches the server just before the next dismissal does"
    REPEATED = "the request is sent to the server twice, and the first answer counts"


@dataclass(frozen=True, slots=True)
class ProxyFault:
    """What goes wrong, where, and whether with an RST where something is closed."""

    manner: FaultMode
    at: float = 0
    reset: bool = False


class ChaosProxy:
    """Passes exchanges on, and lets those that a script wants meet their mishap."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._script: deque[tuple[bytes, ProxyFault]] = deque()
        self._writers: set[asyncio.StreamWriter] = set()
        self._exchanges = 0
        self._held: list[bytes] = []
        self.rude = False
        self.sizes: dict[bytes, tuple[int, int]] = {}

    def maim(self, wanted: bytes, *proxy_faults: ProxyFault) -> None:
        """Let the next exchanges with ``wanted`` in the first line go wrong, in turn.

        The sizes of whole exchanges, request and answer, are in ``sizes`` by method.
        """
        self._script += [(wanted, mishap) for mishap in proxy_faults]

    def forgive(self) -> int:
        """Drop the faults that no exchange has met; return their number."""
        left = len(self._script)
        self._script.clear()
        return left

    async def settle(self) -> None:
        """Wait until the server has answered all that it was sent."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while self._exchanges:
                await _wait(_PAUSE_SECONDS)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one client's connection, exchange by exchange."""
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                if self.rude:
                    _close(writer, reset=True)
                    break
                request = await _read_message(reader)
                if not request:
                    break
                self._exchanges += 1
                try:
                    await self._exchange(request, writer)
                finally:
                    self._exchanges -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            _close(writer, reset=False)

    def hang_up(self) -> None:
        """Close every connection that is open."""
        for writer in tuple(self._writers):
            _close(writer, reset=False)

    async def _exchange(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        mishap = self._due(request)
        await self._let_go(request)
        if mishap is None:
            answer = await self._ask(request)
            method = request.partition(b" ")[0]
            self.sizes[method] = len(request), len(answer)
            writer.write(answer)
        elif mishap.manner is FaultMode.CUT_REQUEST:
            await self._send_part(request[: int(mishap.at)], reset=mishap.reset)
            _close(writer, reset=mishap.reset)
        elif mishap.manner is FaultMode.OVERTAKEN:
            _end(writer, reset=mishap.reset)
            self._held.append(request)
        elif mishap.manner is FaultMode.DUMB:
            _end(writer, reset=mishap.reset)
            await self._ask(request)
        else:
            half_closed = mishap.manner is FaultMode.DEAF
            answer = await self._ask(request, half_closed=half_closed)
            if mishap.manner is FaultMode.REPEATED:
                await self._ask(request)
            await _answer(answer, mishap, writer)
            if not answer:
                _close(writer, reset=False)

    def _due(self, request: bytes) -> ProxyFault | None:
        first_line = request.partition(b"\r\n")[0]
        for position, (wanted, mishap) in enumerate(self._script):
            if wanted in first_line:
                del self._script[position]
                return mishap
        return None

    async def _let_go(self, request: bytes) -> None:
        """Before another dismissal, let the server have those that were held up."""
        while self._held and request.startswith(b"POST "):
            await self._ask(self._held.pop())

    async def _ask(self, request: bytes, *, half_closed: bool = False) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(request)
            if half_closed:
                writer.write_eof()
            return await _read_message(reader)
        finally:
            _close(writer, reset=False)

    async def _send_part(self, part: bytes, *, reset: bool) -> None:
        """Let the server have a part of a request, and take that part in."""
        reader, writer = await asyncio.open_connection(*self._upstream)
        writer.write(part)
        await writer.drain()
        _end(writer, reset=reset)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await reader.read()
        _close(writer, reset=reset)


@asynccontextmanager
async def chaos_before(url: str) -> AsyncIterator[tuple[ChaosProxy, str]]:
    """Put a proxy before a server; give it and the URL that leads through it."""
    host, _, rest = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    proxy = ChaosProxy(name, int(port))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()[1]
    try:
        yield proxy, f"http://127.0.0.1:{own}/{rest}"
    finally:
        server.close()
        await proxy.settle()
        proxy.hang_up()


async def _answer(
    answer: bytes, mishap: ProxyFault, writer: asyncio.StreamWriter
) -> None:
    """Let the client have the answer, or what the mishap makes of it."""
    if mishap.manner is FaultMode.LATE:
        await _wait(mishap.at)
    pause = mishap.at if mishap.manner is FaultMode.TRICKLE else _PAUSE_SECONDS
    for piece in _pieces(answer, mishap):
        if writer.is_closing():
            return
        writer.write(piece)
        await writer.drain()
        await _wait(pause)
    if mishap.manner is FaultMode.CUT_ANSWER:
        _close(writer, reset=mishap.reset)


def _pieces(answer: bytes, mishap: ProxyFault) -> list[bytes]:
    match mishap.manner:
        case FaultMode.CUT_ANSWER:
            return [answer[: int(mishap.at)]]
        case FaultMode.TRICKLE | FaultMode.PIECES:
            step = int(mishap.at) or 1
            return [answer[at : at + step] for at in range(0, len(answer), step)]
        case FaultMode.TWICE:
            return [answer + answer]
        case FaultMode.GARBAGE:
            return [b"\x00\xff{}\r\n\r\n" + answer]
        case FaultMode.INTERIM:
            return [b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer]
        case _:
            return [answer]


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """Read a request or an answer; nothing at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return head + body


async def _wait(seconds: float) -> None:
    await asyncio.sleep(seconds)  # noqa: TID251 - the network takes its time for real


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """Say no more to the other side, which may go on."""
    if reset:
        _close(writer, reset=True)
    else:
        writer.write_eof()


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset and not writer.is_closing():
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        writer.transport.abort()
    writer.close()
