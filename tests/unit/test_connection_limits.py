"""Answers without end: what is read of them, and what they still mean."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx
import pytest

from tests.clocks import ManualClock
from tests.connections import OwnConnection
from triaged.leadlex import protocol
from triaged.leadlex.errors import (
    LexiError,
    MalformedResponse,
    RateLimited,
)
from triaged.leadlex.reader import LexiReader
from triaged.leadlex.writer import LexiWriter

pytestmark = pytest.mark.anyio

BASE: Final = "https://data.leadlex.com/functions/v1/api-gateway"
MIB: Final = 1 << 20


class Endless(httpx.AsyncBaseTransport):
    """Answers with a piece over and over, and counts what was taken of it."""

    def __init__(self, status: int, piece: bytes, **headers: str) -> None:
        self.status, self.piece = status, piece
        self.headers = {k.replace("_", "-"): text for k, text in headers.items()}
        self.taken = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request

        async def pieces() -> AsyncIterator[bytes]:
            while True:
                self.taken += len(self.piece)
                yield self.piece

        return httpx.Response(self.status, headers=self.headers, content=pieces())


def connected_to(transport: httpx.AsyncBaseTransport) -> OwnConnection:
    return OwnConnection(
        base_url=BASE, key=lambda: "wbk_x", clock=ManualClock(), transport=transport
    )


async def error_of(
    transport: httpx.AsyncBaseTransport, *, on_list: bool = True
) -> LexiError:
    connection = connected_to(transport)
    async with connection:
        reader, writer = LexiReader(connection), LexiWriter(connection)
        call = reader.list_tasks() if on_list else writer.dismiss("a", "testing")
        with pytest.raises(LexiError) as raised:
            await call
    return raised.value


async def test_a_list_without_end_is_left_at_the_limit() -> None:
    """64 MiB are read and not a piece more, and the error tells the limit."""
    server = Endless(200, b" " * MIB)
    error = await error_of(server)

    assert type(error) is MalformedResponse
    assert "longer than 64 MiB" in str(error)
    assert server.taken == 65 * MIB


async def test_what_cannot_become_a_list_is_left_at_once() -> None:
    """A page for people is not read to its end."""
    server = Endless(200, b"<html>" * 1_000, x_request_id="req_1")
    error = await error_of(server)

    assert type(error) is MalformedResponse
    assert error.request_id == "req_1"
    assert server.taken == len(server.piece)


async def test_an_answer_about_one_task_is_left_much_sooner() -> None:
    """A confirmation is short; after a long answer the outcome is unknown."""
    server = Endless(200, b" " * 65_536)
    error = await error_of(server, on_list=False)

    assert type(error) is MalformedResponse
    assert server.taken == MIB + 65_536


@pytest.mark.parametrize("on_list", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, MalformedResponse), (429, RateLimited), (404, MalformedResponse)],
)
async def test_a_refusal_without_end_is_cut(
    status: int, kind: type[LexiError], *, on_list: bool
) -> None:
    """A 429 closes the gate however long its body is."""
    server = Endless(status, b" " * 65_536, x_ratelimit_remaining="0")
    error = await error_of(server, on_list=on_list)

    assert type(error) is kind
    assert error.rate_limit.remaining == 0
    assert server.taken <= 2 * MIB


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress)],
)
async def test_a_bomb_is_left_at_the_limit(
    encoding: str, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is that of what was unpacked, not of what was sent."""
    monkeypatch.setattr(protocol, "MAX_LIST_BYTES", 8 * MIB)
    blanks = pack(b" " * (24 * MIB))

    class Bomb(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            del request

            async def pieces() -> AsyncIterator[bytes]:
                for start in range(0, len(blanks), 4_096):
                    yield blanks[start : start + 4_096]
                raise AssertionError("read to its end")

            headers = {"Content-Encoding": encoding}
            return httpx.Response(200, headers=headers, content=pieces())

    error = await error_of(Bomb())

    assert "longer than 8 MiB" in str(error)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,deflate", "x"])
async def test_what_packs_too_well_is_not_unpacked(encoding: str) -> None:
    """Only what is known to multiply by a thousand at most is taken."""
    server = Endless(200, b"\x1f\x8b", content_encoding=encoding)
    error = await error_of(server)

    assert type(error) is MalformedResponse
    assert "which was not asked for" in str(error)
    assert server.taken == 0


async def test_an_error_does_not_hold_what_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A daemon keeps its last error until the next: it must not weigh 64 MiB."""
    monkeypatch.setattr(protocol, "MAX_LIST_BYTES", MIB)
    start = b'{"data":{"tasks":[{"id":"a","description":"[TEST]"},'
    server = Endless(200, start + b'{"id":"b"},' * 9)
    error: BaseException | None = await error_of(server)
    held = []
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            held += [repr(value) for value in trace.tb_frame.f_locals.values()]
            held += [repr(vars(v)) for v in trace.tb_frame.f_locals.values() if _own(v)]
            trace = trace.tb_next
        error = error.__cause__ or error.__context__

    assert len(held) > 10
    assert max(map(len, held)) < 2_000


def _own(value: object) -> bool:
    return type(value).__module__.startswith("triaged.leadlex.list_decoder")


async def test_gzip_is_understood() -> None:
    """What a proxy compressed without being asked is read."""
    packed = gzip.compress(b'{"data":{"tasks":[{"id":"a"}]}}')

    def server(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=packed)

    connection = connected_to(httpx.MockTransport(server))
    async with connection:
        listed = await LexiReader(connection).list_tasks()

    assert [task.id for task in listed.tasks] == ["a"]
    assert protocol.MAX_BODY_BYTES < protocol.MAX_LIST_BYTES


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_long_list_is_decoded_in_pieces(encoding: str) -> None:
    """Others run in between, however few pieces the network delivers it in."""
    row = b'{"id": "a", "status": "pending"}'
    body = b'{"data": {"tasks": [' + b",".join([row] * 60_000) + b"]}}"
    packed = gzip.compress(body) if encoding == "gzip" else body

    def server(_: httpx.Request) -> httpx.Response:
        headers = {"Content-Encoding": encoding}
        return httpx.Response(200, headers=headers, content=packed)

    connection = connected_to(httpx.MockTransport(server))
    async with connection:
        listing = asyncio.create_task(LexiReader(connection).list_tasks())
        turns = 0
        while not listing.done():
            turns += 1
            await asyncio.sleep(0)  # noqa: TID251 - no time passes
        listed = await listing

    assert len(listed.tasks) == 60_000
    assert turns > len(body) / (128 * 1024)
