"""The sandbox as an ASGI application: the API, the control beside it, and a page."""

from collections.abc import MutableMapping
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


def build_app(world: SandboxState) -> ASGIApp:
    """Build the application around one world."""
    app = Starlette(
        routes=[*ApiRoutes(world).routes(), *AdminRoutes(world).routes()],
        exception_handlers={HTTPException: _platform, ClientDisconnect: _nobody},
    )
    app.router.redirect_slashes = False
    return _Dated(app, world.clock)


class _Dated:
    """Dates every answer by the sandbox's clock, which a test may have set wrong."""

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


async def _platform(_: Request, error: Exception) -> Response:
    status = HTTPStatus(getattr(error, "status_code", HTTPStatus.NOT_FOUND))
    if status == HTTPStatus.NOT_FOUND:
        return responses.platform_refusal(
            status, "NOT_FOUND", "Requested function was not found"
        )
    return responses.platform_refusal(
        status, status.name, getattr(error, "detail", status.phrase)
    )


async def _nobody(_: Request, __: Exception) -> Response:
    # The client hung up within its own request; nothing was asked.
    return Response(status_code=HTTPStatus.BAD_REQUEST)
