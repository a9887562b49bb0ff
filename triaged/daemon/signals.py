"""Converts signals to events, for the duration of a block."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def signal_events(
    loop: asyncio.AbstractEventLoop, stop: asyncio.Event, reload: asyncio.Event | None
) -> Iterator[None]:
    """Map SIGTERM and SIGINT to ``stop`` and SIGHUP to ``reload`` in the block."""
    wanted = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if reload is not None:
        wanted[signal.SIGHUP] = reload
    before = {number: signal.getsignal(number) for number in wanted}
    for number, event in wanted.items():
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
