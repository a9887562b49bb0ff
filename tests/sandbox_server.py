"""A sandbox in a thread of its own, on a free loopback port, for tests to import."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.builders import T0
from triaged.clock import Clock
from triaged.sandbox.server import Sandbox, api_url, listen, root_url, serve_on
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import SandboxState

_PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """Where it listens, and the world behind it."""

    world: SandboxState
    url: str
    api_url: str


class LeapingClock:
    """A clock that stands still, except that it leaps over every wait."""

    def __init__(self, now: datetime = T0) -> None:
        self.at = now
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)


@contextmanager
def running_sandbox(
    settings: SandboxSettings | None = None, clock: Clock | None = None
) -> Iterator[RunningSandbox]:
    """Serve a sandbox until the block ends."""
    sandbox = Sandbox(settings, clock)
    listener = listen()
    running = RunningSandbox(sandbox.world, root_url(listener), api_url(listener))
    is_ready = threading.Event()
    loop = asyncio.new_event_loop()
    serving = loop.create_task(
        serve_on(sandbox, listener, on_ready=lambda _: is_ready.set())
    )

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)
        loop.close()

    thread = threading.Thread(target=run, name="sandbox")
    thread.start()
    try:
        assert is_ready.wait(_PATIENCE_SECONDS)
        yield running
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(_PATIENCE_SECONDS)
        assert not thread.is_alive()
