"""What goes over the wire: good answers, both kinds of error, and broken ones."""

import asyncio
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from triaged.sandbox.limits import Allowance
from triaged.sandbox.store import encode

# Where the server puts the connection's transport, for those who cut it.
TRANSPORT: Final = "transport"

ELSEWHERE: Final = "http://127.0.0.1:9/elsewhere"

_DAY_LIMIT_SHOWN: Final = 1_000
_CHUNK: Final = b" " * 65_536
_PAGE: Final = (
    "<!doctype html><html><head><title>{title}</title></head>"
    "<body><h1>{title}</h1><p>Please try again later.</p></body></html>"
)


def json_answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    return json_bytes(encode(value), status, headers)


def json_bytes(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON that is written already."""
    return Response(body, status, headers, media_type="application/json")


def refusal(
    status: int, code: str, message: str, *, fields: Mapping[str, str] | None = None
) -> Response:
    """Refuse in the API's own envelope; ``fields`` says what is wrong with which."""
    error: dict[str, object] = {"code": code, "message": message}
    if fields:
        error["details"] = {"fields": dict(fields)}
    return json_answer({"error": error}, status)


def platform_refusal(status: int, code: str, message: str) -> Response:
    """Refuse as the platform below the API does: another envelope."""
    return json_answer({"code": code, "message": message}, status)


def html(status: int, title: str) -> Response:
    """Answer with a page for people, where a program asked."""
    return Response(_PAGE.format(title=title), status, media_type="text/html")


def redirect(status: int) -> Response:
    """Send the client elsewhere; nobody is there."""
    return Response(status_code=status, headers={"Location": ELSEWHERE})


def rate_limited() -> Response:
    """Refuse for the quota."""
    status = HTTPStatus.TOO_MANY_REQUESTS
    return refusal(status, "rate_limited", "Rate limit exceeded")


def quota_headers(allowance: Allowance) -> dict[str, str]:
    """Write the day's window; an unlimited day has no headers."""
    if allowance.limit is None or allowance.remaining is None:
        return {}
    return {
        "X-RateLimit-Limit": str(allowance.limit),
        "X-RateLimit-Remaining": str(allowance.remaining),
        "X-RateLimit-Reset": str(math.ceil(allowance.reset)),
    }


def minute_spent_headers(allowance: Allowance) -> dict[str, str]:
    """Write headers that leave no doubt that the day is not spent."""
    headers = quota_headers(allowance)
    if headers:
        headers["X-RateLimit-Remaining"] = str(max(1, allowance.remaining or 0))
    return headers


def day_spent_headers(allowance: Allowance) -> dict[str, str]:
    """Write headers of a day that is spent, whatever is really left."""
    limit = _DAY_LIMIT_SHOWN if allowance.limit is None else allowance.limit
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(math.ceil(allowance.reset)),
    }


class AbortConnection(Response):
    """Close the connection without a word."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Break off, and wait until the server has noticed."""
        del send
        scope["state"][TRANSPORT].abort()
        await _gone(receive)


class TruncatedResponse(Response):
    """Promise a whole answer, send half of it, and close."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, whole.status_code, media_type=whole.media_type)
        self.headers["Content-Type"] = whole.headers["Content-Type"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and half of the body, then break off."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"][TRANSPORT].close()
        await _gone(receive)


class EndlessResponse(Response):
    """Begin a list that never ends."""

    def __init__(self) -> None:
        super().__init__(media_type="application/json")
        del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send on and on, until the connection is closed."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await _pour(send, scope["state"][TRANSPORT])
        await _gone(receive)


async def _pour(send: Send, transport: asyncio.Transport) -> None:
    chunk = b'{"data":{"tasks":['
    # Sending to a client that has gone returns at once: nothing else would end it.
    while not transport.is_closing():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        chunk = _CHUNK


async def _gone(receive: Receive) -> None:
    # The request has been read to its end: all that can still come is the hang-up.
    await receive()
