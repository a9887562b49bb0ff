"""Serves the routes of a daemon on a bound socket, whatever they answer.

The configured address is bound (loopback by default). Only the forms of the pages,
where they are enabled, change anything; all else supports GET and HEAD.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Final, TypeAlias, TypeVar

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.page_forms import PageForms
from triaged.daemon.render import content_security_policy, stylesheet
from triaged.errors import LedgerUnavailable, TriagedError, os_reason
from triaged.settings import PageMode

MAX_CONNECTIONS: Final = 1000
MAX_HEADER_BYTES: Final = 8192
IDLE_SECONDS: Final = 5

_SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer, browsers would send the forms of the page with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_LOCAL_NAMES: Final = ("localhost", "*.localhost", "127.0.0.1", "[::1]")

T = TypeVar("T")
# What answers requests, by path.
Endpoints: TypeAlias = Mapping[str, Callable[[Request], Awaitable[Response]]]


class ListenError(TriagedError):
    """The address cannot be bound; a later start may succeed."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(host, port, why)
        self.address = f"{host}:{port}"
        self.why = why

    def __str__(self) -> str:
        return f"TRIAGED_LISTEN: {self.address} cannot be bound: {self.why}"


class _TaskIdConvertor(PathConvertor):
    """Any path, line breaks included: ids are text that others choose."""

    regex = "(?s:.*)"


register_url_convertor("task_id", _TaskIdConvertor())


class Serving:
    """The server of a daemon, and the thread in which requests use the ledger.

    That thread is separate, with connections of its own, so that no request can delay a
    poll. ``mode`` says whether there are pages, and forms on them.
    """

    def __init__(
        self, mode: PageMode, forms: PageForms, errors: InternalErrors
    ) -> None:
        self._mode = mode
        self._forms = forms
        self._errors = errors
        # One thread: requests wait for each other only.
        self._thread = ThreadPoolExecutor(1, "http")
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    def start(
        self,
        listener: socket.socket,
        endpoints: Endpoints,
        *,
        guarded: Endpoints | None = None,
        pages: Endpoints,
        forms_below: str = "",
    ) -> None:
        """Serve on a bound socket; for ``guarded`` and pages the host name counts."""
        guard = _guard(listener)
        routes = [Route(path, endpoint) for path, endpoint in endpoints.items()]
        named = dict(guarded or {})
        if self._mode is not PageMode.OFF:
            routes.append(Route("/style.css", _style))
            named |= pages
        routes += [Route(path, each, middleware=guard) for path, each in named.items()]
        if self._mode is PageMode.KEEP:
            routes += self._forms.routes(forms_below, guard)
        app = Starlette(routes=routes)
        # A redirect would contain the untrusted host name of the request.
        app.router.redirect_slashes = False
        policy = content_security_policy(forms=self._mode is PageMode.KEEP)
        self._server = _Server(_config(app, policy))
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task})
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._forms.close()

    async def in_thread(self, where: Where, work: Callable[[], T]) -> T | None:
        """Run a function in the thread; return None if it raised, which is counted."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work)
        except Exception as error:  # noqa: BLE001 - fails this request only
            self._errors.record(where, error)
            return None

    async def answer(self, where: Where, work: Callable[[], Response]) -> Response:
        """Return the answer that a function in the thread makes.

        That the ledger is away for now is no error of the program.
        """

        def answer_or_away() -> Response:
            try:
                return work()
            except LedgerUnavailable as error:
                return PlainTextResponse(f"{ledger_away(error)}\n", 503)

        answer = await self.in_thread(where, answer_or_away)
        if answer is None:
            return PlainTextResponse("internal error; see the log\n", 500)
        return answer


def ledger_away(error: object) -> str:
    """Return in words that the ledger cannot be used for now."""
    return f"the ledger cannot be used: {error}"


def liveness(why_not: str | None) -> Response:
    """Return the answer to ``/healthz``."""
    return PlainTextResponse(f"{why_not or 'ok'}\n", 503 if why_not else 200)


def metrics_answer(request: Request, registry: CollectorRegistry) -> Response:
    """Return metrics in the format that the request accepts."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


async def _style(_: Request) -> Response:
    return Response(stylesheet(), media_type="text/css")


def _guard(listener: socket.socket) -> list[Middleware]:
    """Return what checks the host name of a request for a page.

    Prevents DNS rebinding: a site whose name resolves to loopback must not read tasks
    in a visitor's browser. For a public address the proxy checks the name.
    """
    is_local = ip_address(listener.getsockname()[0]).is_loopback
    names = list(_LOCAL_NAMES) if is_local else ["*"]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)]


def _config(app: Starlette, policy: str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Or a client on loopback could choose its address with X-Forwarded-For.
        proxy_headers=False,
        # For responses that set no policy themselves.
        headers=[*_SECURITY_HEADERS.items(), ("Content-Security-Policy", policy)],
        # Invalid requests from any client must not fill the log.
        log_level="error",
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=1,
    )


class _Server(uvicorn.Server):
    """A server that does not handle signals, which belong to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Bind an address, or raise ``ListenError``; port 0 is any free one."""
    try:
        return _bound(host, port)
    except OSError as error:
        raise ListenError(host, port, os_reason(error)) from error


def _bound(host: str, port: int) -> socket.socket:
    is_any = host == "::"
    if is_any and not socket.has_dualstack_ipv6():
        host, is_any = "0.0.0.0", False  # noqa: S104 - the same without IPv6
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # asyncio sets TCP_NODELAY only on sockets with the explicit protocol TCP.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_any:
            # Accept IPv4 and IPv6, whatever net.ipv6.bindv6only is.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
