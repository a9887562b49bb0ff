"""LeadLex over httpx: the connection, and a reader that cannot write.

Whether a call may leave is not decided here, nor whether it is tried again.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Self

import httpx

from triaged import __version__
from triaged.clock import Clock
from triaged.leadlex import protocol
from triaged.leadlex.errors import (
    LexiError,
    MalformedResponse,
    NoResponse,
    RequestRejected,
    Unreachable,
)
from triaged.leadlex.models import ApiCall, ApiResponse
from triaged.leadlex.redaction import Redactor
from triaged.leadlex.replay import ReplayDetector
from triaged.quota import RateLimitHeaders

_BODY_NOT_NEEDED: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

# Of these a chunk of 64 KiB is 64 MiB at most.
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "deflate"})

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_SEND_EVENT: Final = "http11.send_request_headers.started"

_REPLAYED: Final = "an earlier answer came again, instead of one to this request"

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 30.0
# Per-read time-outs do not end a body that trickles; this does.
TOTAL_TIMEOUT: Final = 60.0


class Connection:
    """One HTTP connection pool to one LeadLex workspace.

    The key goes to the configured base URL and nowhere else: redirects are not
    followed, and a proxy from the environment is used for https only.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: Callable[[], str],
        clock: Clock,
        on_call: Callable[[ApiCall], None] = lambda _: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._clock = clock
        self._on_call = on_call
        self._replays = ReplayDetector()
        # Only httpx's own transport tells when it begins to write.
        self._is_traced = transport is None or isinstance(
            transport, httpx.AsyncHTTPTransport
        )
        is_secure = base_url.startswith("https:")
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            follow_redirects=False,
            trust_env=is_secure,
            verify=ssl.create_default_context() if is_secure else _no_ca_context(),
            transport=transport,
            # A cookie that no header can carry would spoil all later calls.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={
                "User-Agent": f"triaged/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        json: object = None,
        feed: Callable[[bytes], None] | None = None,
        before_send: Callable[[], None] | None = None,
    ) -> ApiResponse:
        """Make one call and return a 2xx answer; its body goes to ``feed``, if given.

        ``before_send`` is called exactly once, when a connection is open and nothing of
        the request has been written.  If it raises, nothing is sent, and the caller
        gets that exception unchanged.

        Raises:
            LexiError: anything else, by its leaf (see ``errors``).
        """
        started = self._clock.monotonic()
        key = self._key()
        redactor = Redactor(key)
        sending = _Sending(before_send)
        head: ApiResponse | None = None
        try:
            request = self._request(operation, method, path, json, key)
            async with (
                asyncio.timeout(TOTAL_TIMEOUT),
                self._exchange(request, sending) as response,
            ):
                response.headers = _redact_headers(response.headers, redactor)
                head = self._read_head(response)
                if self._replays.is_replay(response.headers.raw):
                    raise malformed_response(operation, head, ValueError(_REPLAYED))
                try:
                    body = await _read_body(response, feed, redactor)
                except ValueError as error:
                    if response.is_success:
                        raise malformed_response(operation, head, error) from error
                    body = b""  # the status has the meaning
        except _NotSentError as stopped:
            hook_error = stopped.error
        # httpx reads even the redirect that it does not follow: hence InvalidURL.
        except (
            httpx.HTTPError,
            httpx.StreamError,
            httpx.InvalidURL,
            TimeoutError,
        ) as error:
            redactor.redact_exception(error)
            raise _translate(operation, error, head, sending) from error
        else:
            if httpx.codes.is_success(head.status):
                return replace(head, body=body)
            raise _refusal(operation, replace(head, body=body))
        finally:
            self._report(operation, started, head)
        # Outside the handler, so that it comes as it was raised, without a context.
        raise hook_error

    @asynccontextmanager
    async def _exchange(
        self, request: httpx.Request, sending: "_Sending"
    ) -> AsyncIterator[httpx.Response]:
        if self._is_traced:
            request.extensions["trace"] = sending.trace
        else:
            sending.start()
        response = await self._http.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    def _read_head(self, response: httpx.Response) -> ApiResponse:
        word = protocol.read_word(response.headers, received_at=self._clock.now())
        request_id = _short(response.headers.get("x-request-id"))
        return ApiResponse(response.status_code, b"", word, request_id)

    def _request(
        self, operation: str, method: str, path: str, json: object, key: str
    ) -> httpx.Request:
        try:
            return self._http.build_request(
                method,
                self._base_url + path,
                json=json,
                headers={"Authorization": f"Bearer {key}"},
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            # An id too long for any URL costs itself, not the cycle.
            raise RequestRejected(operation, message=_describe(error)) from error

    def _report(self, operation: str, started: float, head: ApiResponse | None) -> None:
        self._on_call(
            ApiCall(
                operation=operation,
                status=head.status if head else None,
                seconds=self._clock.monotonic() - started,
                request_id=head.request_id if head else None,
                rate_limit=head.rate_limit if head else RateLimitHeaders(),
            )
        )


class _NotSentError(Exception):
    """Carries what ``before_send`` raised past httpx and ``asyncio.timeout``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _Sending:
    """Runs ``before_send`` directly before the request is written to the socket."""

    def __init__(self, before_send: Callable[[], None] | None) -> None:
        self._before_send = before_send
        self.has_started = False

    def start(self) -> None:
        """Run the hook; from here on the request may have reached LeadLex."""
        if self._before_send is not None:
            try:
                self._before_send()
            except Exception as error:
                raise _NotSentError(error) from error
        self.has_started = True

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take an event of httpcore's ``trace`` extension."""
        # A proxy's tunnel is opened by a request of its own, with the same extensions.
        if event == _SEND_EVENT and info["request"].method != b"CONNECT":
            self.start()


def _translate(
    operation: str,
    error: Exception,
    head: ApiResponse | None,
    sending: _Sending,
) -> LexiError:
    """Name what a failure of the transport means for the call."""
    if head is not None and head.status in _BODY_NOT_NEEDED:
        # The status alone has the meaning; a body that was cut does not change it.
        return _refusal(operation, head)
    never_sent = isinstance(error, _NEVER_SENT) or not sending.has_started
    kind = Unreachable if never_sent else NoResponse
    return kind(operation, message=_describe(error), **_facts(head))


def _refusal(operation: str, answer: ApiResponse) -> LexiError:
    refusal = protocol.error_from_response(
        operation, answer.status, answer.body, request_id=answer.request_id
    )
    refusal.rate_limit = answer.rate_limit
    return refusal


async def _read_body(
    response: httpx.Response,
    feed: Callable[[bytes], None] | None,
    redactor: Redactor,
) -> bytes:
    """Read a body to its end; a good one is fed on, and nothing is left to return.

    Raises:
        ValueError: there is no end in sight, or ``feed`` wants no more of it.
    """
    # Others, and each further layer, multiply beyond what a single chunk may hold.
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in _ENCODINGS:
        raise ValueError(f"compressed as {encoding[:40]!r}, which nobody asked for")
    is_fed = feed is not None and response.is_success
    limit = protocol.MAX_LIST_BYTES if is_fed else protocol.MAX_BODY_BYTES
    body = bytearray()
    take = feed if feed is not None and is_fed else body.extend
    size = 0
    async for chunk in redactor.redact_stream(response.aiter_bytes()):
        size += len(chunk)
        if size > limit:
            # An error keeps its frames, and they would keep what was read.
            body.clear()
            raise ValueError(f"longer than {limit // protocol.MIB} MiB")
        take(chunk)
    return bytes(body)


def _redact_headers(headers: httpx.Headers, redactor: Redactor) -> httpx.Headers:
    return httpx.Headers([(k, redactor.redact_bytes(v)) for k, v in headers.raw])


def _no_ca_context() -> ssl.SSLContext:
    """Return a context that trusts nobody: plain http to loopback needs no more."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def malformed_response(
    operation: str, answer: ApiResponse, error: ValueError
) -> LexiError:
    """Make the error for an answer that is outside the protocol."""
    return MalformedResponse(operation, message=str(error)[:200], **_facts(answer))


def _facts(head: ApiResponse | None) -> dict[str, Any]:
    if head is None:
        return {}
    return {
        "status": head.status,
        "request_id": head.request_id,
        "rate_limit": head.rate_limit,
    }


def _describe(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _short(text: str | None) -> str | None:
    return text[:100] if text else None
