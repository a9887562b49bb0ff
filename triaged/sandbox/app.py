"""The sandbox as an ASGI application: the API, the control API, and a page."""

from collections.abc import Mapping, MutableMapping, Sequence
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from triaged.clock import Clock
from triaged.sandbox import responses
from triaged.sandbox.admin_api import AdminRoutes
from triaged.sandbox.api import ApiRoutes
from triaged.sandbox.state import SandboxState


def build_app(worlds: Sequence[SandboxState]) -> ASGIApp:
    """Build the application around the states of one sandbox, one for each key."""
    apps = [_app_of(state) for state in worlds]
    app = apps[0]
    if len(apps) > 1:
        app = _KeyRouter(
            {str(w.settings.key): a for w, a in zip(worlds, apps, strict=True)}
        )
    return _DateHeaderMiddleware(app, worlds[0].clock)


def _app_of(state: SandboxState) -> ASGIApp:
    app = Starlette(
        routes=[*ApiRoutes(state).routes(), *AdminRoutes(state).routes()],
        exception_handlers={
            HTTPException: _platform_error,
            ClientDisconnect: _client_disconnected,
        },
    )
    app.router.redirect_slashes = False
    return app


class _KeyRouter:
    """Gives each request to the workspace of its key.

    The control API and the page have none: there ``?workspace=2`` is the second one.
    An unknown key gets to the first workspace, which refuses it.
    """

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps
        self._by_number = list(apps.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app_for(Request(scope))(scope, receive, send)

    def _app_for(self, request: Request) -> ASGIApp:
        _, _, key = request.headers.get("authorization", "").partition(" ")
        if key in self._apps:
            return self._apps[key]
        number = request.query_params.get("workspace", "1")
        at = int(number) - 1 if number.isascii() and number.isdigit() else 0
        return self._by_number[at] if 0 <= at < len(self._apps) else self._by_number[0]


class _DateHeaderMiddleware:
    """Sets the `Date` of every response from the clock of the sandbox."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                date = format_datetime(self._clock.now(), usegmt=True)
                MutableHeaders(scope=message)["Date"] = date
            await send(message)

        await self._app(scope, receive, send_dated)


async def _platform_error(_: Request, error: Exception) -> Response:
    status = HTTPStatus(getattr(error, "status_code", HTTPStatus.NOT_FOUND))
    if status == HTTPStatus.NOT_FOUND:
        return responses.platform_error(
            status, "NOT_FOUND", "Requested function was not found"
        )
    return responses.platform_error(
        status, status.name, getattr(error, "detail", status.phrase)
    )


async def _client_disconnected(_: Request, __: Exception) -> Response:
    # The client disconnected before its request was complete.
    return Response(status_code=HTTPStatus.BAD_REQUEST)
