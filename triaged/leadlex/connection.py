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
from triaged.leadlex import protocol as wire
from triaged.leadlex.errors import Garbled, LexiError, Rejected, Unanswered, Unreachable
from triaged.leadlex.models import Answer, Exchange
from triaged.leadlex.redaction import Scrubber
from triaged.leadlex.replay import Echoes
from triaged.quota import ServerWord

_SAYS_ENOUGH: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

# Of these a chunk of 64 KiB is 64 MiB at most.
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "deflate"})

_ECHO: Final = "an earlier answer came again, instead of one to this request"

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
# Per-read time-outs do not end a body that trickles; this does.
CALL_SECONDS: Final = 60.0


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
        on_exchange: Callable[[Exchange], None] = lambda _: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._clock = clock
        self._on_exchange = on_exchange
        self._echoes = Echoes()
        is_secure = base_url.startswith("https:")
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=is_secure,
            verify=ssl.create_default_context() if is_secure else _no_trust(),
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
    ) -> Answer:
        """Make one call and return a 2xx answer; its body goes to ``feed``, if given.

        Raises:
            LexiError: anything else, by its leaf (see ``errors``).
        """
        started = self._clock.monotonic()
        seen: list[Answer] = []
        key = self._key()
        scrubber = Scrubber(key)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                request = self._request(operation, method, path, json, key)
                answer = await self._send(operation, request, seen, feed, scrubber)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            scrubber.error(error)
            raise Unreachable(operation, message=_name(error)) from error
        # httpx reads even the redirect that it does not follow: hence InvalidURL.
        except (
            httpx.HTTPError,
            httpx.StreamError,
            httpx.InvalidURL,
            TimeoutError,
        ) as error:
            scrubber.error(error)
            if seen and seen[0].status in _SAYS_ENOUGH:
                # The status alone has the meaning; that the body was cut changes none.
                status, request_id = seen[0].status, seen[0].request_id
                refusal = wire.error_for(operation, status, b"", request_id=request_id)
                raise _with_word(refusal, seen) from error
            unanswered = Unanswered(operation, message=_name(error))
            raise _with_word(unanswered, seen) from error
        finally:
            self._report(operation, started, seen)
        if not httpx.codes.is_success(answer.status):
            refusal = wire.error_for(
                operation, answer.status, answer.body, request_id=answer.request_id
            )
            raise _with_word(refusal, seen)
        return answer

    async def _send(
        self,
        operation: str,
        request: httpx.Request,
        seen: list[Answer],
        feed: Callable[[bytes], None] | None,
        scrubber: Scrubber,
    ) -> Answer:
        response = await self._http.send(request, stream=True)
        response.headers = _without_key(response.headers, scrubber)
        try:
            word = wire.read_word(response.headers, received_at=self._clock.now())
            request_id = _short(response.headers.get("x-request-id"))
            answer = Answer(response.status_code, b"", word, request_id)
            seen.append(answer)
            if self._echoes.heard_before(response.headers.raw):
                raise _with_word(Garbled(operation, message=_ECHO), seen)
            try:
                body = await _read_body(response, feed, scrubber)
            except ValueError as error:
                if not response.is_success:
                    return answer  # the status has the meaning
                raise garbled(operation, answer, error) from error
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
            raise Rejected(operation, message=_name(error)) from error

    def _report(self, operation: str, started: float, seen: list[Answer]) -> None:
        self._on_exchange(
            Exchange(
                operation=operation,
                status=seen[0].status if seen else None,
                seconds=self._clock.monotonic() - started,
                request_id=seen[0].request_id if seen else None,
                word=seen[0].word if seen else ServerWord(),
            )
        )


async def _read_body(
    response: httpx.Response,
    feed: Callable[[bytes], None] | None,
    scrubber: Scrubber,
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
    limit = wire.MAX_LIST_BYTES if is_fed else wire.MAX_BODY_BYTES
    body = bytearray()
    take = feed if feed is not None and is_fed else body.extend
    size = 0
    async for chunk in scrubber.pieces(response.aiter_bytes()):
        size += len(chunk)
        if size > limit:
            # An error keeps its frames, and they would keep what was read.
            body.clear()
            raise ValueError(f"longer than {limit // wire.MIB} MiB")
        take(chunk)
    return bytes(body)


def _without_key(headers: httpx.Headers, scrubber: Scrubber) -> httpx.Headers:
    return httpx.Headers([(k, scrubber.clean(v)) for k, v in headers.raw])


def _no_trust() -> ssl.SSLContext:
    """Return a context that trusts nobody: plain http to loopback needs no more."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def garbled(operation: str, answer: Answer, error: ValueError) -> LexiError:
    """Say that an answer is not what the protocol says."""
    garbled = Garbled(
        operation,
        status=answer.status,
        message=str(error)[:200],
        request_id=answer.request_id,
    )
    garbled.word = answer.word
    return garbled


def _with_word(error: LexiError, seen: list[Answer]) -> LexiError:
    if seen:
        error.word = seen[0].word
        error.status = error.status or seen[0].status
        error.request_id = error.request_id or seen[0].request_id
    return error


def _name(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _short(text: str | None) -> str | None:
    return text[:100] if text else None
