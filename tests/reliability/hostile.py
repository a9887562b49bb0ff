"""What a LeadLex gone bad might send: answers of any size, streamed, and the damage.

The answers are generators of pieces, so that the server needs no memory of its own.
"""

import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.e2e.harness import KEY

MIB: Final = 1 << 20

Pieces = Callable[[], Iterator[bytes]]

HEAD: Final = b'{"data":{"tasks":['
TAIL: Final = b"]}}"

RULES: Final = r"""
version: 1
safety: {min_age: 1m}
rules:
  - name: clutter
    match: {description: '^\[TEST\]'}
    dismiss: testing
  - name: old
    match: {type: prospect_search, age: {over: 3650d}}
    dismiss: not_relevant
"""


def tasks(count: int, text: str) -> Pieces:
    """Send ``count`` tasks, each with this description."""
    described = text.encode()

    def pieces() -> Iterator[bytes]:
        yield HEAD
        for start in range(0, count, 500):
            rows = range(start, min(start + 500, count))
            comma = b"," if start else b""
            yield comma + b",".join(_row(number, described) for number in rows)
        yield TAIL

    return pieces


def _row(number: int, described: bytes) -> bytes:
    return (
        b'{"id":"4b1c7f0e-0000-4000-8000-%012d","type":"prospect_search",'
        b'"status":"pending","description":"%s","created_at":"2026-01-01T08:30:00Z",'
        b'"metadata":{"query":"general counsel %d","limit":50,"source":"api"}}'
        % (number, described, number)
    )


def filled(before: bytes, filler: bytes, size: int, after: bytes = b"") -> Pieces:
    """Send a beginning, a filler over and over until the size is reached, an end."""
    block = filler * max(1, 65_536 // len(filler))

    def pieces() -> Iterator[bytes]:
        yield before
        for _ in range(size // len(block)):
            yield block
        yield after

    return pieces


def packed(pieces: Pieces) -> Pieces:
    """Send the same, compressed by gzip."""

    def compressed() -> Iterator[bytes]:
        gzip = zlib.compressobj(9, wbits=31)
        for piece in pieces():
            if some := gzip.compress(piece):
                yield some
        yield gzip.flush()

    return compressed


def one_after_the_other(first: Pieces, then: Pieces) -> Pieces:
    """Send the first answer once, then the other, again and again."""
    left = [first]

    def pieces() -> Iterator[bytes]:
        return (left.pop() if left else then)()

    return pieces


@dataclass(slots=True)
class ServedBytes:
    """How the server was asked and how much it could send, compressed or not."""

    url: str
    asked: int = 0
    sent: int = 0
    whole: bool = False


@contextmanager
def serving(pieces: Pieces, *, length: int | None, gzip: bool) -> Iterator[ServedBytes]:
    """Answer every request with these pieces, chunked unless a length is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told.asked += 1
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            if gzip:
                self.send_header("Content-Encoding", "gzip")
            if length is None:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            try:
                self._pour()
            except OSError:
                self.close_connection = True

        def _pour(self) -> None:
            for piece in pieces():
                framed = b"%x\r\n%s\r\n" % (len(piece), piece)
                self.wfile.write(framed if length is None else piece)
                told.sent += len(piece)
            if length is None:
                self.wfile.write(b"0\r\n\r\n")
            told.whole = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = ServedBytes(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a command ended and what it cost."""

    code: int
    out: str
    said: str
    peak_mib: float
    seconds: float


# A forked child inherits its parent's peak in ru_maxrss; VmHWM is reset by exec.
_MEASURED: Final = """
import atexit, os, re, sys
from triaged.cli import main
def tell():
    with open("/proc/self/status") as status, open(os.environ["PEAK"], "w") as peak:
        peak.write(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1])
atexit.register(tell)
main()
"""


def measure(url: str, directory: Path, *arguments: str) -> Run:
    """Run a command in a process of its own and look at its peak of memory."""
    rules, peak = directory / "rules.yaml", directory / "peak"
    rules.write_text(RULES)
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TRIAGED_")},
        "PEAK": str(peak),
        "TRIAGED_API_URL": url,
        "TRIAGED_API_KEY": KEY,
        "TRIAGED_RULES": str(rules),
        "TRIAGED_STATE_DIR": str(directory / "state"),
        "TRIAGED_RATE_LIMIT": "10000/1m",
        "TRIAGED_DAILY_LIMIT": "100000",
        "TRIAGED_LOG_FORMAT": "json",
    }
    began = time.monotonic()
    with (directory / "out").open("w+b") as out, (directory / "err").open("w+b") as err:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, *arguments],
            env=environ,
            stdout=out,
            stderr=err,
            check=False,
            timeout=180,
        )
    return Run(
        code=done.returncode,
        out=(directory / "out").read_text(),
        said=(directory / "err").read_text(),
        peak_mib=int(peak.read_text()) / 1024,
        seconds=time.monotonic() - began,
    )
