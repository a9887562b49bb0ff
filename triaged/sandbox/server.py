"""Serves a sandbox on loopback, within the caller's event loop.

It prints nothing and handles no signals, since it may run beside a daemon.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from triaged.clock import Clock
from triaged.sandbox.api import BASE
from triaged.sandbox.app import build_app
from triaged.sandbox.responses import TRANSPORT
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import SandboxState


class Sandbox:
    """The LeadLex simulator: made-up workspaces behind the documented API."""

    def __init__(
        self, settings: SandboxSettings | None = None, clock: Clock | None = None
    ) -> None:
        given = settings or SandboxSettings()
        self.worlds = [
            SandboxState(replace(given, key=key, seed=given.seed + number), clock)
            for number, key in enumerate(given.keys())
        ]
        self.world = self.worlds[0]
        self.app = build_app(self.worlds)


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Bind a loopback address, and no other; port 0 is any free one."""
    name = "127.0.0.1" if host == "localhost" else host
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise ValueError(f"the sandbox listens on loopback only, not on {host!r}")
    family = socket.AF_INET6 if address.version > 4 else socket.AF_INET  # noqa: PLR2004
    return socket.create_server((str(address), port), family=family)


def root_url(listener: socket.socket) -> str:
    """Return the URL of the page of the sandbox."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def api_url(listener: socket.socket) -> str:
    """Return the API's base URL, for ``TRIAGED_API_URL``."""
    return root_url(listener) + BASE


async def serve_on(
    sandbox: Sandbox,
    listener: socket.socket,
    *,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve on a bound socket until cancelled, and close it at the end.

    ``on_ready`` is called with the base URL of the API.
    """
    config = uvicorn.Config(
        sandbox.app,
        http=_AbortableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    url = api_url(listener)
    server = _Server(config, on_started=lambda: on_ready(url))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        for world in sandbox.worlds:
            world.close()
        server.shutdown_soon()
        await serving


class _AbortableProtocol(H11Protocol):
    """Gives the application access to the transport, so that it can abort it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does this only for sockets made with the protocol named, and head and
        # body go out as two segments: 40 ms a call otherwise.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class _Server(uvicorn.Server):
    """Reports when it listens; handles no signals, which belong to the caller."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def shutdown_soon(self) -> None:
        """Stop without waiting for clients that read an endless response."""
        self.should_exit = True
        for connection in self.server_state.connections:
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
