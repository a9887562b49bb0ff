"""A sandbox in a thread of its own, on a free loopback port."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from triaged.clock import Clock
from triaged.sandbox.server import Sandbox, api_url, listen, root_url, serve_on
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import SandboxState

_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that serves: its addresses and its state."""

    world: SandboxState
    url: str
    api_url: str
    worlds: tuple[SandboxState, ...] = ()


@contextmanager
def running_sandbox(
    settings: SandboxSettings | None = None, clock: Clock | None = None
) -> Iterator[RunningSandbox]:
    """Serve a sandbox until the block ends."""
    sandbox = Sandbox(settings, clock)
    listener = listen()
    running = RunningSandbox(
        sandbox.world, root_url(listener), api_url(listener), tuple(sandbox.worlds)
    )
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
        assert is_ready.wait(_TIMEOUT_SECONDS)
        yield running
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(_TIMEOUT_SECONDS)
        assert not thread.is_alive()
