"""What comes back from a server that repeats the key, and from errors that quote it."""

import traceback
from collections.abc import Callable
from typing import Final

import httpx
import pytest

from tests.builders import T0
from tests.clocks import ManualClock
from tests.connections import OwnConnection
from triaged.leadlex.errors import KeyRejected, LexiError, NoResponse
from triaged.leadlex.models import ApiCall
from triaged.leadlex.reader import LexiReader

pytestmark = pytest.mark.anyio

KEY: Final = "wbk_live_q7Zr2LkXv9TnB4sWm8YcH3fJd6GpAe1U"
SECRET: Final = KEY.removeprefix("wbk_live_")


async def context(
    server: Callable[[httpx.Request], httpx.Response],
) -> tuple[LexiError, list[ApiCall]]:
    """List on a server that fails; return the error and what was told of the call."""
    exchanges: list[ApiCall] = []
    async with OwnConnection(
        base_url="https://data.leadlex.com",
        key=lambda: KEY,
        clock=ManualClock(T0),
        on_call=exchanges.append,
        transport=httpx.MockTransport(server),
    ) as connection:
        with pytest.raises(LexiError) as raised:
            await LexiReader(connection).list_tasks()
    return raised.value, exchanges


def echo(request: httpx.Request) -> httpx.Response:
    said = request.headers["Authorization"]
    body = {"error": {"code": said, "message": f"{said[:28]}… is not {said}"}}
    return httpx.Response(401, json=body, headers={"X-Request-ID": said})


def fail(request: httpx.Request) -> httpx.Response:
    cause = OSError(f"illegal line {request.headers['Authorization']!r}")
    raise httpx.RemoteProtocolError(f"saw {KEY}") from cause


async def test_an_error_of_the_server_is_scrubbed() -> None:
    """Message, code and request id come without the key, and say where it was."""
    error, exchanges = await context(echo)

    assert isinstance(error, KeyRejected)
    assert error.code == "Bearer [API key]"
    assert SECRET[:8] not in f"{error} {error!r} {error.args} {exchanges}"


async def test_an_error_of_a_library_is_scrubbed() -> None:
    """A traceback through all its causes quotes no key."""
    error, _ = await context(fail)

    assert isinstance(error, NoResponse)
    told = "".join(traceback.format_exception(error))
    assert told.count("[API key]") == 3
    assert SECRET[:8] not in told
