"""The HTTP server of the daemon of one workspace: metrics, health and status page."""

import contextlib
import socket
from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from triaged.daemon.exposition import collect, make_registry
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.page_forms import PageForms, open_for_form
from triaged.daemon.serving import Serving, liveness, metrics_answer
from triaged.daemon.snapshot import LiveState, with_totals
from triaged.daemon.status_page import StatusPages
from triaged.errors import LedgerUnavailable
from triaged.ledger.views import LedgerTotals, open_views
from triaged.settings import PageMode
from triaged.workspace import Workspace


class DaemonView(Protocol):
    """The interface through which the server reads a daemon's state."""

    workspace: Workspace
    health: Health
    metrics: Metrics
    errors: InternalErrors

    def live_state(self) -> LiveState:
        """Return the state without reading the ledger; called from another thread."""
        ...


class HttpServer:
    """Serves one daemon's state within the daemon's own loop."""

    def __init__(self, daemon: DaemonView) -> None:
        self._daemon = daemon
        self._clock = daemon.workspace.clock
        settings = daemon.workspace.settings
        self._open_views = partial(open_views, settings.ledger, settings.workspace)
        self._registry = make_registry(
            lambda: collect([(daemon.metrics, self._snapshot())]), process=True
        )
        self._totals: LedgerTotals | None = None
        forms = PageForms(
            lambda _: open_for_form(settings.ledger, settings.workspace),
            self._clock,
            user_header=settings.page_user_header,
            errors=daemon.errors,
            forget_page=self._forget_page,
        )
        self._pages = StatusPages(
            self._open_views,
            form_token=forms.token if settings.page is PageMode.KEEP else None,
        )
        self._serving = Serving(settings.page, forms, daemon.errors)
        self.stop = self._serving.stop

    def start(self, listener: socket.socket) -> None:
        self._serving.start(
            listener,
            {
                "/metrics": self._metrics,
                "/healthz": self._healthz,
                "/readyz": self._readyz,
            },
            pages={"/": self._page, "/tasks/{task_id:task_id}": self._task},
        )

    async def _healthz(self, _: Request) -> Response:
        return liveness(self._daemon.health.why_not_alive(self._clock.monotonic()))

    async def _readyz(self, _: Request) -> Response:
        document = self._daemon.health.to_dict(self._clock.now())
        return JSONResponse(document, 200 if document["ready"] else 503)

    async def _metrics(self, request: Request) -> Response:
        return await self._serving.answer(
            Where.METRICS, lambda: metrics_answer(request, self._registry)
        )

    async def _page(self, _: Request) -> Response:
        return await self._serving.answer(
            Where.PAGE,
            lambda: HTMLResponse(self._pages.status(self._daemon.live_state())),
        )

    async def _task(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        return await self._serving.answer(
            Where.PAGE, lambda: self._pages.task(task_id, self._daemon.live_state())
        )

    async def _forget_page(self, _: str) -> None:
        """Drop the page in memory, after any that is being made in the thread."""
        await self._serving.in_thread(Where.PAGE, self._pages.forget)

    def _snapshot(self) -> LiveState:
        """Return state and totals: the last known ones while the ledger is away."""
        with contextlib.suppress(LedgerUnavailable), self._open_views() as views:
            self._totals = views.totals()
        live = self._daemon.live_state()
        return live if self._totals is None else with_totals(live, self._totals)
