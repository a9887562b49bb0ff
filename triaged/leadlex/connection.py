"""The HTTP connection to LeadLex; its callers check the quota, and try again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import httpx

from triaged.clock import Clock
from triaged.leadlex import protocol
from triaged.leadlex.clients import HttpClients
from triaged.leadlex.errors import (
    LexiError,
    NoResponse,
    RequestRejected,
    Unreachable,
    facts,
    malformed_response,
)
from triaged.leadlex.headers import is_from_cache, read_rate_limit
from triaged.leadlex.models import ApiCall, ApiResponse
from triaged.leadlex.redaction import Redactor
from triaged.leadlex.replay import ReplayDetector, StaleDetector
from triaged.leadlex.sending import NotSentError, Sending
from triaged.quota import RateLimitHeaders

# With these, a chunk of 64 KiB decompresses to 64 MiB at most.
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
# Decoded in some milliseconds.
_PIECE_BYTES: Final = 64 * 1024

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_REPLAYED: Final = "an earlier answer came again, instead of one to this request"

# Seconds for a whole call; per-read timeouts do not stop a body that trickles in.
TOTAL_TIMEOUT: Final = 60.0


class Connection:
    """The HTTP connection of one LeadLex workspace.

    The key is sent to the configured base URL only: redirects are not followed, and a
    proxy from the environment is used for https only.

    Raises:
        ConfigError: an environment variable for proxies or TLS is invalid.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: Callable[[], str],
        clock: Clock,
        clients: HttpClients,
        on_call: Callable[[ApiCall], None] = lambda _: None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._clock = clock
        self._on_call = on_call
        self.redactor = Redactor()
        self._replays = ReplayDetector()
        self._stale = StaleDetector()
        self._is_traced = clients.is_traced
        self._http, proxy = clients.client_for(base_url)
        if proxy and proxy.password:
            self.redactor.add(proxy.password)

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
        """Make one call and return a 2xx response; ``feed``, if given, gets its body.

        ``before_send`` is called exactly once, when a connection is open and no part of
        the request has been written. If it raises, nothing is sent and the exception
        propagates unchanged.

        Raises:
            LexiError: the call failed; the subclass tells how (see ``errors``).
        """
        started = self._clock.monotonic()
        key = self._key()
        self.redactor.add(key)
        sending = Sending(before_send)
        head: ApiResponse | None = None
        try:
            request = self._request(operation, method, path, json, key)
            async with (
                asyncio.timeout(TOTAL_TIMEOUT),
                self._exchange(request, sending) as response,
            ):
                response.headers = _redact_headers(response.headers, self.redactor)
                head = self._read_head(response)
                if self._replays.is_replay(
                    response.headers.raw, self._clock.monotonic()
                ):
                    raise malformed_response(operation, head, ValueError(_REPLAYED))
                try:
                    body = await _read_body(response, feed)
                except ValueError as error:
                    if response.is_success:
                        raise malformed_response(operation, head, error) from error
                    body = b""  # the status alone is enough
        except NotSentError as stopped:
            hook_error = stopped.error
        # httpx parses even a redirect that it does not follow: hence InvalidURL.
        except (
            httpx.HTTPError,
            httpx.StreamError,
            httpx.InvalidURL,
            TimeoutError,
        ) as error:
            self.redactor.redact_exception(error)
            raise self._translate(operation, error, head, sending) from error
        else:
            if httpx.codes.is_success(head.status):
                return replace(head, body=body)
            raise self._refusal(operation, replace(head, body=body))
        finally:
            self._report(operation, started, head)
        # Raised outside the handler, so that the exception has no added context.
        raise hook_error

    @asynccontextmanager
    async def _exchange(
        self, request: httpx.Request, sending: Sending
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
        headers = response.headers
        rate_limit = read_rate_limit(headers, received_at=self._clock.now())
        is_old = self._stale.is_stale(rate_limit.date, self._clock.monotonic())
        if is_cached := is_old or is_from_cache(headers):
            # The rate limit and date of a replayed response are out of date.
            rate_limit = RateLimitHeaders(retry_after=rate_limit.retry_after)
        return ApiResponse(
            response.status_code,
            b"",
            rate_limit,
            _short(headers.get("x-request-id")),
            headers,
            is_cached,
        )

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
            # An id that is too long for a URL fails this task, not the cycle.
            raise RequestRejected(operation, message=_describe(error)) from error

    def _translate(
        self,
        operation: str,
        error: Exception,
        head: ApiResponse | None,
        sending: Sending,
    ) -> LexiError:
        if head is not None and head.status == HTTPStatus.TOO_MANY_REQUESTS:
            # The status alone determines the error, even if the body was cut off.
            return self._refusal(operation, head)
        never_sent = isinstance(error, _NEVER_SENT) or not sending.has_started
        kind = Unreachable if never_sent else NoResponse
        return kind(operation, message=_describe(error), **facts(head))

    def _refusal(self, operation: str, answer: ApiResponse) -> LexiError:
        refusal = protocol.error_from_response(
            operation,
            answer.status,
            answer.body,
            request_id=answer.request_id,
            redact=self.redactor.redact_text,
        )
        refusal.rate_limit = answer.rate_limit
        return refusal

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


async def _read_body(
    response: httpx.Response, feed: Callable[[bytes], None] | None
) -> bytes:
    """Return a whole body; with ``feed``, a 2xx body is passed on instead."""
    # Other encodings, or several layers, may expand one chunk beyond any bound.
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _ENCODINGS:
        raise ValueError(f"compressed as {encoding[:40]!r}, which was not asked for")
    if encoding == "x-gzip":
        # RFC 9110 8.4.1.3 treats x-gzip as gzip; httpx supports only the latter.
        response.headers["content-encoding"] = "gzip"
    is_fed = feed is not None and response.is_success
    limit = protocol.MAX_LIST_BYTES if is_fed else protocol.MAX_BODY_BYTES
    body = bytearray()
    take = feed if feed is not None and is_fed else body.extend
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > limit:
            # A traceback keeps its frames alive, and with them the data that was read.
            body.clear()
            raise ValueError(f"longer than {limit // protocol.MIB} MiB")
        for start in range(0, len(chunk), _PIECE_BYTES):
            take(chunk[start : start + _PIECE_BYTES])
            if size > _PIECE_BYTES:
                # Decoding a long body must not hold up everything else.
                await asyncio.sleep(0)  # noqa: TID251 - no time passes
    return bytes(body)


def _redact_headers(headers: httpx.Headers, redactor: Redactor) -> httpx.Headers:
    return httpx.Headers(
        [
            (name, redactor.redact_text(value.decode("latin-1")).encode("latin-1"))
            for name, value in headers.raw
        ]
    )


def _describe(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _short(text: str | None) -> str | None:
    return text[:100] if text else None
