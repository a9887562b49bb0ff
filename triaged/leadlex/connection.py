"""LeadLex over httpx: the connection, and a reader that cannot write.

Whether a call may leave is not decided here, nor whether it is tried again.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, Self

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
from triaged.quota import ServerWord

_BODY_NOT_NEEDED: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

# Of these a chunk of 64 KiB is 64 MiB at most.
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "deflate"})

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
        self._echoes = ReplayDetector()
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
    ) -> ApiResponse:
        """Make one call and return a 2xx answer; its body goes to ``feed``, if given.

        Raises:
            LexiError: anything else, by its leaf (see ``errors``).
        """
        started = self._clock.monotonic()
        seen: list[ApiResponse] = []
        key = self._key()
        scrubber = Redactor(key)
        try:
            async with asyncio.timeout(TOTAL_TIMEOUT):
                request = self._request(operation, method, path, json, key)
                answer = await self._send(operation, request, seen, feed, scrubber)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            scrubber.redact_exception(error)
            raise Unreachable(operation, message=_describe(error)) from error
        # httpx reads even the redirect that it does not follow: hence InvalidURL.
        except (
            httpx.HTTPError,
            httpx.StreamError,
            httpx.InvalidURL,
            TimeoutError,
        ) as error:
            scrubber.redact_exception(error)
            if seen and seen[0].status in _BODY_NOT_NEEDED:
                # The status alone has the meaning; that the body was cut changes none.
                status, request_id = seen[0].status, seen[0].request_id
                refusal = protocol.error_from_response(
                    operation, status, b"", request_id=request_id
                )
                raise _attach_response(refusal, seen) from error
            unanswered = NoResponse(operation, message=_describe(error))
            raise _attach_response(unanswered, seen) from error
        finally:
            self._report(operation, started, seen)
        if not httpx.codes.is_success(answer.status):
            refusal = protocol.error_from_response(
                operation, answer.status, answer.body, request_id=answer.request_id
            )
            raise _attach_response(refusal, seen)
        return answer

    async def _send(
        self,
        operation: str,
        request: httpx.Request,
        seen: list[ApiResponse],
        feed: Callable[[bytes], None] | None,
        scrubber: Redactor,
    ) -> ApiResponse:
        response = await self._http.send(request, stream=True)
        response.headers = _redact_headers(response.headers, scrubber)
        try:
            word = protocol.read_word(response.headers, received_at=self._clock.now())
            request_id = _short(response.headers.get("x-request-id"))
            answer = ApiResponse(response.status_code, b"", word, request_id)
            seen.append(answer)
            if self._echoes.is_replay(response.headers.raw):
                raise _attach_response(
                    MalformedResponse(operation, message=_REPLAYED), seen
                )
            try:
                body = await _read_body(response, feed, scrubber)
            except ValueError as error:
                if not response.is_success:
                    return answer  # the status has the meaning
                raise malformed_response(operation, answer, error) from error
            return replace(answer, body=body)
        finally:
            await response.aclose()

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

    def _report(self, operation: str, started: float, seen: list[ApiResponse]) -> None:
        self._on_call(
            ApiCall(
                operation=operation,
                status=seen[0].status if seen else None,
                seconds=self._clock.monotonic() - started,
                request_id=seen[0].request_id if seen else None,
                rate_limit=seen[0].rate_limit if seen else ServerWord(),
            )
        )


async def _read_body(
    response: httpx.Response,
    feed: Callable[[bytes], None] | None,
    scrubber: Redactor,
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
    async for chunk in scrubber.redact_stream(response.aiter_bytes()):
        size += len(chunk)
        if size > limit:
            # An error keeps its frames, and they would keep what was read.
            body.clear()
            raise ValueError(f"longer than {limit // protocol.MIB} MiB")
        take(chunk)
    return bytes(body)


def _redact_headers(headers: httpx.Headers, scrubber: Redactor) -> httpx.Headers:
    return httpx.Headers([(k, scrubber.redact_bytes(v)) for k, v in headers.raw])


def _no_ca_context() -> ssl.SSLContext:
    """Return a context that trusts nobody: plain http to loopback needs no more."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def malformed_response(
    operation: str, answer: ApiResponse, error: ValueError
) -> LexiError:
    """Say that an answer is not what the protocol says."""
    malformed_response = MalformedResponse(
        operation,
        status=answer.status,
        message=str(error)[:200],
        request_id=answer.request_id,
    )
    malformed_response.rate_limit = answer.rate_limit
    return malformed_response


def _attach_response(error: LexiError, seen: list[ApiResponse]) -> LexiError:
    if seen:
        error.rate_limit = seen[0].rate_limit
        error.status = error.status or seen[0].status
        error.request_id = error.request_id or seen[0].request_id
    return error


def _describe(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _short(text: str | None) -> str | None:
    return text[:100] if text else None
