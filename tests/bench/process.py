"""What the process costs: start to first request, memory idle and under a long list.

Run ``python -m tests.bench.process``; a plain HTTP server of its own plays LeadLex.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

# One second where importing the given packages and one call take 0.39 s.
START_RATIO: Final = 1 / 0.39
IDLE_MIB: Final = 90.0
BUSY_MIB: Final = 150.0
TASKS: Final = 20_000

RULES: Final = Path(__file__).parents[2] / "rules.example.yaml"


class Server:
    """Answers every list with the same tasks and notes when it was asked."""

    def __init__(self, count: int) -> None:
        tasks = [
            {
                "id": f"4b1c7f0e-0000-4000-8000-{number:012d}",
                "type": "prospect_search",
                "status": "pending",
                "description": f"Find {number} General Counsel at life-science"
                " companies in Bavaria and add them to “Warm connections”",
                "created_at": "2026-11-01T08:30:00Z",
                "metadata": {"query": f"general counsel {number}", "limit": 50},
            }
            for number in range(count)
        ]
        self.body = json.dumps({"data": {"tasks": tasks}}).encode()
        self.asked = threading.Event()
        self.asked_at = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not server.asked.is_set():
                    server.asked_at = time.perf_counter()
                    server.asked.set()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"


@contextmanager
def daemon(url: str, directory: str) -> Iterator[subprocess.Popen[str]]:
    """Run the daemon and wait until its first cycle is over."""
    environ = {
        **os.environ,
        "TRIAGED_API_KEY": "wbk_bench",
        "TRIAGED_API_URL": url,
        "TRIAGED_RULES": str(RULES),
        "TRIAGED_STATE_DIR": directory,
        "TRIAGED_LISTEN": "127.0.0.1:0",
        "TRIAGED_LOG_FORMAT": "json",
        "TRIAGED_RATE_LIMIT": "1000/1m",
        "TRIAGED_DAILY_LIMIT": "100000",
        "TRIAGED_POLL_INTERVAL": "2s",
    }
    command = [sys.executable, "-m", "triaged", "run"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def wait_for_cycles(process: subprocess.Popen[str], count: int) -> None:
    """Read the log until so many cycles have finished."""
    assert process.stderr is not None
    for line in process.stderr:
        count -= '"cycle.finished"' in line
        if not count:
            return
    raise AssertionError("the daemon ended early")


def memory(pid: int, field: str) -> float:
    """Return a field of the process's status in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def start_seconds() -> float:
    """Measure from the start of the process to its first request."""
    server = Server(0)
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        with daemon(server.url, directory):
            assert server.asked.wait(30)
    server.http.shutdown()
    return server.asked_at - started


def baseline_seconds() -> float:
    """Measure the same for a process that only has the packages we were given."""
    server = Server(0)
    code = "import apscheduler.schedulers.asyncio, httpx, prometheus_client, structlog"
    call = f"import yaml; httpx.get({server.url!r})"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"{code}; {call}"], check=True)
    server.http.shutdown()
    return server.asked_at - started


def peak_memory(count: int, cycles: int) -> tuple[float, float]:
    """Measure memory after some cycles over so many tasks, and its peak."""
    server = Server(count)
    with (
        tempfile.TemporaryDirectory() as directory,
        daemon(server.url, directory) as process,
    ):
        wait_for_cycles(process, cycles)
        now, peak = memory(process.pid, "VmRSS"), memory(process.pid, "VmHWM")
    server.http.shutdown()
    return now, peak


def main() -> None:
    """Measure and print."""
    start_seconds()  # writes the byte code
    pairs = [(start_seconds(), baseline_seconds()) for _ in range(5)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (min(column) for column in zip(*pairs, strict=True))
    print(f"start to first request {ours:.2f} s, bare packages {theirs:.2f} s")
    idle, _ = peak_memory(0, 2)
    _, busy = peak_memory(TASKS, 3)
    rows = (
        ("start over bare packages", ratio, START_RATIO, "times"),
        ("idle, resident", idle, IDLE_MIB, "MiB"),
        (f"{TASKS:,} pending tasks, peak resident", busy, BUSY_MIB, "MiB"),
    )
    failed = False
    for name, value, limit, unit in rows:
        verdict = "PASS" if value < limit else "FAIL"
        failed |= verdict == "FAIL"
        print(f"{verdict}: {name} {value:.2f} {unit}, wanted below {limit:g} {unit}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
