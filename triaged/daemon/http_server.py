"""The daemon's HTTP side: metrics, health and a page, all of them read-only.

It binds what it is told, loopback by default, answers GET and HEAD, and knows nothing
that could change anything.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, Protocol

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from triaged.daemon.health import Health
from triaged.daemon.http_limits import (
    BACKLOG,
    IDLE_SECONDS,
    MAX_HEADER_BYTES,
    LimitedHttpProtocol,
    RequestFilter,
)
from triaged.daemon.metrics import Metrics
from triaged.daemon.rules_watcher import RulesWatcher
from triaged.daemon.status_page import (
    CONTENT_SECURITY_POLICY,
    StatusPageData,
    render_page,
)
from triaged.errors import ConfigError, Problem
from triaged.ledger.dismissals import DismissalFilter
from triaged.ledger.flags import FlagName
from triaged.workspace import Workspace

_RECENT: Final = 20
_SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class DaemonView(Protocol):
    """What is shown of a daemon."""

    health: Health
    rules_watcher: RulesWatcher
    dry_run: bool
    metrics: Metrics

    def refresh_metrics(self) -> None:
        """Bring metrics that others may have changed up to date."""
        ...


class HttpServer:
    """Serves one daemon's state within the daemon's own loop."""

    def __init__(self, shown: DaemonView, workspace: Workspace) -> None:
        self._shown = shown
        self._workspace = workspace
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        app = Starlette(
            routes=[
                Route("/metrics", self._metrics),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/", self._page),
            ]
        )
        # A redirect would name the host that the request claims to be for.
        app.router.redirect_slashes = False
        self._app = app

    def start(self, listener: socket.socket) -> None:
        """Serve on a socket that is bound already."""
        is_local = ip_address(listener.getsockname()[0]).is_loopback
        config = uvicorn.Config(
            RequestFilter(self._app, is_local=is_local),
            http=LimitedHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=list(_SECURITY_HEADERS.items()),
            # Whoever sends us nonsense must not fill the log.
            log_level="error",
            backlog=BACKLOG,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """Stop serving."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def _metrics(self, request: Request) -> Response:
        self._shown.refresh_metrics()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = encode(self._shown.metrics.registry)
        return Response(body, media_type=content_type)

    async def _healthz(self, _: Request) -> Response:
        alive = self._shown.health.is_alive(self._workspace.clock.now())
        text, status = ("ok\n", 200) if alive else ("the loop hangs\n", 503)
        return PlainTextResponse(text, status)

    async def _readyz(self, _: Request) -> Response:
        shown = self._shown.health.to_dict(self._workspace.clock.now())
        status = 200 if shown["ready"] else 503
        return JSONResponse(shown, status)

    async def _page(self, _: Request) -> Response:
        ledger, now = self._workspace.ledger, self._workspace.clock.now()
        paused = ledger.flags.get(FlagName.PAUSED)
        breaker = ledger.flags.get(FlagName.BREAKER)
        facts = StatusPageData(
            workspace=ledger.workspace,
            now=now,
            dry_run=self._shown.dry_run,
            health=self._shown.health,
            quota=self._workspace.rate_limiter.snapshot(),
            ruleset=self._shown.rules_watcher.rules.ruleset,
            paused=None if paused is None else paused.reason,
            breaker=None if breaker is None else breaker.reason,
            spent=ledger.dismissals.count_by_rule(now),
            held=tuple(ledger.holds.all().items()),
            observed=ledger.observations.count_on(now),
            recent=ledger.dismissals.query(DismissalFilter(last=_RECENT)),
            left=ledger.decisions.latest_left(_RECENT),
        )
        return HTMLResponse(render_page(facts))


class _Server(uvicorn.Server):
    """A server that leaves signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; port 0 is any free one.

    Raises:
        ConfigError: the address cannot be bound.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        why = f"{host}:{port} cannot be bound: {error.strerror}"
        problem = Problem("settings", 0, 0, "TRIAGED_LISTEN", why)
        raise ConfigError([problem]) from error


def _bound(host: str, port: int) -> socket.socket:
    is_any = host == "::"
    if is_any and not socket.has_dualstack_ipv6():
        host, is_any = "0.0.0.0", False  # noqa: S104 - the same without IPv6
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # asyncio sets TCP_NODELAY only on sockets that say that they are TCP.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_any:
            # Both protocols, whatever the machine's net.ipv6.bindv6only is.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
