"""A web server of a daemon that has nothing to do, on a real socket."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.clocks import ManualClock
from tests.e2e.harness import KEY, RULES
from triaged.clock import Clock
from triaged.daemon.health import Health
from triaged.daemon.http_server import HttpServer
from triaged.daemon.internal_errors import InternalErrors
from triaged.daemon.metrics import Metrics
from triaged.daemon.serving import listen
from triaged.daemon.snapshot import LiveState
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.quota import QuotaSettings
from triaged.rulesfile.loader import parse
from triaged.settings import Settings
from triaged.workspace import Workspace, open_workspace


class FakeDaemon:
    """A daemon that has nothing to do."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.metrics = Metrics("default")
        self.errors = InternalErrors()
        self.health = Health(
            heartbeat_at=0.0, interval=timedelta(minutes=5), poll_due=9.0
        )
        self.ruleset = parse(RULES.encode(), "rules.yaml").ruleset
        self.quota = workspace.rate_limiter.snapshot()
        self.error: Exception | None = None
        self.readers: set[int] = set()

    def live_state(self) -> LiveState:
        self.readers.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        return LiveState(
            workspace="default",
            now=self.workspace.clock.now(),
            dry_run=False,
            ruleset=self.ruleset,
            health=self.health,
            quota=self.quota,
            clock_skew=timedelta(0),
            errors=self.errors.counts(),
        )


class HttpProbe:
    """Where a web server listens."""

    def __init__(self, port: int, daemon: FakeDaemon) -> None:
        self.port = port
        self.daemon = daemon

    async def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        """Send a request without a body."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as http:
            return await http.request(method, path, headers=headers)

    async def say(self, words: bytes) -> bytes:
        """Send bytes; return all that comes back until the other side closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(words)
        try:
            return await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    directory: Path, host: str = "127.0.0.1", clock: Clock | None = None, **given: Any
) -> AsyncIterator[HttpProbe]:
    """Serve a daemon's pages until the block ends; ``given`` are settings."""
    settings = Settings(
        key=KeySource(value=parse_key(KEY)),
        api_url="http://127.0.0.1:1",
        quota=QuotaSettings(),
        state_dir=directory / "state",
        **given,
    )
    listener = listen(host, 0)
    async with open_workspace(settings, clock or ManualClock()) as workspace:
        daemon = FakeDaemon(workspace)
        server = HttpServer(daemon)
        server.start(listener)
        try:
            yield HttpProbe(listener.getsockname()[1], daemon)
        finally:
            await server.stop()
            listener.close()


def form_fields(page: str, action: str) -> dict[str, str]:
    """Return the fields of a page's first form with this action, as a browser would."""
    form = page.partition(f'action="{action}"')[2].partition("</form>")[0]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
