"""Builds HTTP responses: normal, both error formats, and faulty ones."""

import asyncio
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from triaged.sandbox.limits import LimitResult
from triaged.sandbox.store import encode

# The scope key of the connection's transport, for responses that close it.
TRANSPORT: Final = "transport"

REDIRECT_URL: Final = "http://127.0.0.1:9/elsewhere"

_CHUNK: Final = b" " * 65_536
_PAGE: Final = (
    "<!doctype html><html><head><title>{title}</title></head>"
    "<body><h1>{title}</h1><p>Please try again later.</p></body></html>"
)


def json_response(value: object, status: int = 200) -> Response:
    """Return a JSON response."""
    return json_bytes(encode(value), status)


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Return a JSON response from encoded JSON."""
    return Response(body, status, media_type="application/json")


def api_error(
    status: int, code: str, message: str, *, fields: Mapping[str, str] | None = None
) -> Response:
    """Return an error in the format of the API; ``fields`` maps fields to messages."""
    error: dict[str, object] = {"code": code, "message": message}
    if fields:
        error["details"] = {"fields": dict(fields)}
    return json_response({"error": error}, status)


def platform_error(status: int, code: str, message: str) -> Response:
    """Return an error in the different format of the platform below the API."""
    return json_response({"code": code, "message": message}, status)


def html(status: int, title: str) -> Response:
    """Return an HTML page instead of JSON."""
    return Response(_PAGE.format(title=title), status, media_type="text/html")


def redirect() -> Response:
    """Return a redirect to an address where no server listens."""
    status = HTTPStatus.TEMPORARY_REDIRECT
    return Response(status_code=status, headers={"Location": REDIRECT_URL})


def invalid(field: str, message: str) -> Response:
    """Return the 400 of a request with an invalid field."""
    return api_error(
        HTTPStatus.BAD_REQUEST,
        "validation_error",
        "Validation failed",
        fields={field: message},
    )


def not_pending(status: str) -> Response:
    """Return the 400 of a task that has a final status."""
    message = f"Task has already been {status}"
    return api_error(HTTPStatus.BAD_REQUEST, "validation_error", message)


def key_rejected() -> Response:
    """Return the 401 of a key that is not accepted."""
    message = "Invalid or expired API key"
    return api_error(HTTPStatus.UNAUTHORIZED, "invalid_key", message)


def rate_limited() -> Response:
    """Return the 429 for an exceeded limit."""
    status = HTTPStatus.TOO_MANY_REQUESTS
    return api_error(status, "rate_limited", "Rate limit exceeded")


def quota_headers(limits: LimitResult) -> dict[str, str]:
    """Return the headers of the day's window; an unlimited day has none."""
    if limits.limit is None or limits.remaining is None:
        return {}
    return {
        "X-RateLimit-Limit": str(limits.limit),
        "X-RateLimit-Remaining": str(limits.remaining),
        "X-RateLimit-Reset": str(math.ceil(limits.reset)),
    }


class AbortConnection(Response):
    """Drop the connection without a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort the transport, and wait until the server has noticed."""
        del send
        scope["state"][TRANSPORT].abort()
        await _wait_for_disconnect(receive)


class TruncatedResponse(Response):
    """Announces a whole response, sends half of it, and closes the connection."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, whole.status_code, media_type=whole.media_type)
        self.headers["Content-Type"] = whole.headers["Content-Type"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _send_head(self, send)
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"][TRANSPORT].close()
        await _wait_for_disconnect(receive)


class EndlessResponse(Response):
    """A list that never ends."""

    def __init__(self) -> None:
        super().__init__(media_type="application/json")
        del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _send_head(self, send)
        await _send_forever(send, scope["state"][TRANSPORT])
        await _wait_for_disconnect(receive)


async def _send_head(response: Response, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )


async def _send_forever(send: Send, transport: asyncio.Transport) -> None:
    chunk = b'{"data":{"tasks":['
    # Sending to a disconnected client returns at once, so only this ends the loop.
    while not transport.is_closing():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        chunk = _CHUNK


async def _wait_for_disconnect(receive: Receive) -> None:
    # The request has been read completely, so the next message is the disconnect.
    await receive()
