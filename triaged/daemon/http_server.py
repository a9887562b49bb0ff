"""The HTTP server of the daemon: metrics, health and status page.

It binds the configured address (loopback by default). Only the forms of the page, where
they are enabled, change anything; all else supports GET and HEAD. Requests that use the
ledger run in separate threads with their own connections, so that they cannot delay a
poll.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import Final, Protocol, TypeVar

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from triaged.clock import Clock
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics, WorkspaceCollector, make_registry
from triaged.daemon.page_forms import LEDGER_SECONDS, PageForms
from triaged.daemon.snapshot import LiveState, Snapshot, with_totals
from triaged.daemon.status_page import (
    StatusPages,
    content_security_policy,
    stylesheet,
)
from triaged.errors import LedgerUnavailable, TriagedError, os_reason
from triaged.ledger import Ledger
from triaged.ledger.views import LedgerTotals, open_views
from triaged.settings import PageMode
from triaged.workspace import Workspace

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


class DaemonView(Protocol):
    """The interface through which the server reads a daemon's state."""

    workspace: Workspace
    health: Health
    metrics: Metrics
    errors: InternalErrors

    def live_state(self) -> LiveState:
        """Return the state for page and metrics, without reading the ledger.

        This is called from another thread.
        """
        ...


class HttpServer:
    """Serves one daemon's state within the daemon's own loop."""

    def __init__(self, daemon: DaemonView) -> None:
        self._daemon = daemon
        self._clock: Clock = daemon.workspace.clock
        settings = daemon.workspace.settings
        self._ledger = settings.ledger
        self._label = settings.workspace
        self._mode = settings.page
        self._registry = make_registry(
            WorkspaceCollector(daemon.metrics, self._snapshot), process=True
        )
        self._totals: LedgerTotals | None = None
        self._forms = PageForms(
            lambda _: Ledger.open(
                self._ledger,
                workspace=self._label,
                create=False,
                busy_seconds=LEDGER_SECONDS,
            ),
            self._clock,
            user_header=settings.page_user_header,
            errors=daemon.errors,
            forget_page=self._forget_page,
        )
        self._pages = StatusPages(
            partial(open_views, self._ledger, self._label),
            form_token=self._forms.token if self._mode is PageMode.KEEP else None,
        )
        # One thread: requests wait for each other only.
        self._thread = ThreadPoolExecutor(1, "http")
        self._serving: Serving | None = None

    def start(self, listener: socket.socket) -> None:
        policy = content_security_policy(forms=self._mode is PageMode.KEEP)
        app = self._app(is_local=is_local(listener))
        self._serving = Serving(app, listener, policy)

    async def stop(self) -> None:
        if self._serving is not None:
            await self._serving.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._forms.close()

    def _app(self, *, is_local: bool) -> Starlette:
        guarded = guard(is_local=is_local)
        routes = [
            Route("/metrics", self._metrics),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
        ]
        if self._mode is not PageMode.OFF:
            routes += [
                Route("/style.css", self._style),
                Route("/", self._page, middleware=guarded),
                Route("/tasks/{task_id:task_id}", self._task, middleware=guarded),
            ]
        if self._mode is PageMode.KEEP:
            routes += self._forms.routes("", guarded)
        app = Starlette(routes=routes)
        # A redirect would contain the untrusted host name of the request.
        app.router.redirect_slashes = False
        return app

    async def _healthz(self, _: Request) -> Response:
        why = self._daemon.health.why_not_alive(self._clock.monotonic())
        return PlainTextResponse(f"{why or 'ok'}\n", 503 if why else 200)

    async def _readyz(self, _: Request) -> Response:
        document = self._daemon.health.to_dict(self._clock.now())
        return JSONResponse(document, 200 if document["ready"] else 503)

    async def _style(self, _: Request) -> Response:
        return Response(stylesheet(), media_type="text/css")

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = await self._in_thread(Where.METRICS, lambda: encode(self._registry))
        if body is None:
            return _failed()
        return Response(body, media_type=content_type)

    async def _page(self, _: Request) -> Response:
        page = await self._in_thread(
            Where.PAGE, lambda: self._pages.status(self._daemon.live_state())
        )
        return _failed() if page is None else HTMLResponse(page)

    async def _task(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        found = await self._in_thread(
            Where.PAGE, lambda: self._pages.task(task_id, self._daemon.live_state())
        )
        if found is None:
            return _failed()
        return HTMLResponse(found.html, found.status)

    async def _forget_page(self, _: str) -> None:
        """Drop the page in memory, after any that is being made in the thread."""
        await self._in_thread(Where.PAGE, self._pages.forget)

    def _snapshot(self) -> Snapshot:
        """Return state and totals: the last known ones while the ledger is away."""
        try:
            with open_views(self._ledger, self._label) as views:
                self._totals = views.totals()
        except LedgerUnavailable:
            if self._totals is None:
                raise
        return with_totals(self._daemon.live_state(), self._totals)

    async def _in_thread(self, where: Where, work: Callable[[], T]) -> T | None:
        """Run a function in the thread; return None if it raised, which is counted."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work)
        except Exception as error:  # noqa: BLE001 - fails this request only
            self._daemon.errors.record(where, error)
            return None


def guard(*, is_local: bool) -> list[Middleware]:
    """Return what checks the host name of a request for a page.

    Prevents DNS rebinding: a site whose name resolves to loopback must not read tasks
    in a visitor's browser. For a public address the proxy checks the name.
    """
    names = list(_LOCAL_NAMES) if is_local else ["*"]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)]


def is_local(listener: socket.socket) -> bool:
    """Return whether a socket is bound to loopback."""
    return ip_address(listener.getsockname()[0]).is_loopback


class Serving:
    """An application that is served on a bound socket, until it is stopped.

    ``policy`` is the Content-Security-Policy of responses that set none themselves.
    """

    def __init__(self, app: Starlette, listener: socket.socket, policy: str) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Or a client on loopback could choose its address with X-Forwarded-For.
            proxy_headers=False,
            headers=[*_SECURITY_HEADERS.items(), ("Content-Security-Policy", policy)],
            # Invalid requests from any client must not fill the log.
            log_level="error",
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        self._server.should_exit = True
        await asyncio.wait({self._task})


def _failed() -> Response:
    return PlainTextResponse("internal error; see the log\n", 500)


class _Server(uvicorn.Server):
    """A server that does not handle signals, which belong to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; port 0 is any free one.

    Raises:
        ListenError: the address cannot be bound.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        why = os_reason(error)
        raise ListenError(host, port, why) from error


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
