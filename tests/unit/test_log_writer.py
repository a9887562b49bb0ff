"""The log's thread: lines in order, and no stream that can hold the caller up."""

import fcntl
import os
import threading
import time
from typing import TextIO

import pytest

from triaged.cli.log_writer import LogWriter


class Pipe:
    """A pipe of the smallest size, and its two ends."""

    def __init__(self) -> None:
        self.read_end, write_end = os.pipe()
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
        self.stream: TextIO = os.fdopen(write_end, "w")

    def read(self) -> str:
        return os.read(self.read_end, 1 << 20).decode()


def test_lines_keep_their_order() -> None:
    """What many threads queue is written whole, each thread's lines in order."""
    pipe, lost = Pipe(), threading.Event()
    writer = LogWriter(pipe.stream, on_lost=lost.set)
    for number in range(100):
        writer.put(f"{number}\n")

    assert writer.drain()
    assert pipe.read() == "".join(f"{number}\n" for number in range(100))
    assert not lost.is_set()


def test_a_pipe_that_is_not_read() -> None:
    """The caller never waits; the oldest lines are dropped, counted, the last kept."""
    pipe = Pipe()
    lost: list[None] = []
    writer = LogWriter(pipe.stream, on_lost=lambda: lost.append(None), capacity=10)
    began = time.monotonic()
    for number in range(1000):
        writer.put(f"{number:01000}\n")

    assert time.monotonic() - began < 1
    assert not writer.drain(0.1)
    text = ""
    while not text.endswith(f"{999:01000}\n"):
        text += pipe.read()
    written = [int(line) for line in text.split()]
    assert written == sorted(written)
    assert written[-10:] == list(range(990, 1000))
    assert len(written) + len(lost) == 1000


@pytest.mark.parametrize("mode", ["closed pipe", "full disk"])
def test_a_stream_that_fails(mode: str) -> None:
    """A broken pipe or a full disk costs the lines, which are counted."""
    lost: list[None] = []
    if mode == "closed pipe":
        pipe = Pipe()
        os.close(pipe.read_end)
        stream = pipe.stream
    else:
        stream = open("/dev/full", "w")  # noqa: PTH123, SIM115 - a device
    writer = LogWriter(stream, on_lost=lambda: lost.append(None))
    for _ in range(5):
        writer.put("x\n")

    assert writer.drain()
    assert len(lost) == 5


def test_a_pipe_that_would_block() -> None:
    """A non-blocking stream is waited for, by the thread alone."""
    pipe = Pipe()
    os.set_blocking(pipe.stream.fileno(), False)
    writer = LogWriter(pipe.stream)
    for _ in range(100):
        writer.put("x" * 99 + "\n")
    text = ""
    while len(text) < 10_000:
        text += pipe.read()

    assert writer.drain()


def test_what_the_encoding_cannot_show() -> None:
    """A character that the stream's encoding lacks is written as an escape."""
    read_end, write_end = os.pipe()
    writer = LogWriter(os.fdopen(write_end, "w", encoding="latin-1"))
    writer.put("a…b\n")

    assert writer.drain()
    assert os.read(read_end, 99) == b"a\\u2026b\n"
