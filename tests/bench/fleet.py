"""What many workspaces in one process cost: memory, start, CPU when idle, cycles/s.

Run ``python -m tests.bench.fleet``; LeadLex is a transport in the same process, so that
what is measured is the daemon and SQLite. ``--http`` measures with a real server in a
process of its own instead, whose time is not counted.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import httpx
import structlog

from triaged.clock import SystemClock
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_member import Shared
from triaged.daemon.fleet_metrics import FleetMetrics
from triaged.daemon.fleet_supervisor import MAX_WORKING
from triaged.daemon.internal_errors import InternalErrors
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.leadlex.clients import HttpClients
from triaged.ledger.opening import open_database
from triaged.quota import QuotaSettings
from triaged.settings import Settings

MAX_MIB: Final = 600.0
MAX_CPU_PERCENT: Final = 15.0
MAX_START_SECONDS: Final = 20.0
MIN_CYCLES_PER_SECOND: Final = 200.0

RULES: Final = r"""
version: 1
rules:
  - name: clutter
    match: {description: '^\s*\[?TEST\b'}
    dismiss: testing
  - name: noise
    mode: observe
    match: {description: {words: [newsletter, 'white paper']}}
    dismiss: not_relevant
  - name: old
    mode: observe
    match: {type: prospect_search, age: {over: 90d}}
    dismiss: not_relevant
"""


def a_list(count: int) -> bytes:
    """Return the answer of the API with so many pending tasks."""
    tasks = [
        {
            "id": f"4b1c7f0e-0000-4000-8000-{number:012d}",
            "type": "prospect_search",
            "status": "pending",
            "description": f"Find {number} General Counsel at life-science companies"
            " in Bavaria and add them to “Warm connections”",
            "created_at": "2026-11-01T08:30:00Z",
            "metadata": {"query": f"general counsel {number}", "limit": 50},
        }
        for number in range(count)
    ]
    return json.dumps({"data": {"tasks": tasks}}).encode()


class FakeApi(httpx.AsyncBaseTransport):
    """Answers each list with the same tasks, as LeadLex does."""

    def __init__(self, body: bytes, *, limit: int = 10_000) -> None:
        self._limit = limit
        self._body = body
        self._calls = 0

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        self._calls += 1
        await asyncio.sleep(0)  # noqa: TID251 - lets others run, no time passes
        return httpx.Response(
            200, headers=headers(self._calls, self._limit), content=self._body
        )


def headers(number: int, limit: int = 10_000) -> dict[str, str]:
    """Return the headers of an answer."""
    now = datetime.now(UTC)  # noqa: TID251 - the server's own clock
    return {
        "Content-Type": "application/json",
        "Date": format_datetime(now, usegmt=True),
        "X-Request-ID": f"req_{number:012d}",
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(limit * 9 // 10),
    }


def settings_for(count: int, directory: Path, url: str) -> list[Settings]:
    """Return the settings of so many workspaces with the same rules."""
    base = Settings(
        api_url=url,
        rules=(directory / "rules.yaml",),
        quota=QuotaSettings.for_plan("org"),
        poll_interval=timedelta(minutes=5),
        state_dir=directory / "state",
    )
    return [
        replace(
            base,
            workspace=f"w{number:05d}",
            key=KeySource(value=parse_key(f"wbk_bench_{number:05d}_0123456789")),
        )
        for number in range(count)
    ]


@contextlib.asynccontextmanager
async def opened(
    count: int, tasks: int, directory: Path, url: str | None
) -> AsyncIterator[tuple[Fleet, FleetMetrics]]:
    """Build a fleet of so many workspaces, as the daemon does."""
    structlog.configure(processors=[_drop])
    (directory / "rules.yaml").write_text(RULES)
    database = open_database(directory / "state")
    clients = HttpClients(FakeApi(a_list(tasks)) if url is None else None)
    metrics = FleetMetrics()
    failures: list[BaseException] = []
    fleet: Fleet

    async def tick() -> None:
        fleet.store_states()
        fleet.rules.poll()
        fleet.look_at_keys()

    fleet = Fleet(
        Shared(
            clock=SystemClock(),
            database=database,
            clients=clients,
            errors=InternalErrors(),
            dry_run=False,
            verify=lambda: None,
            on_fatal=failures.append,
        ),
        tick=tick,
        on_started=metrics.lateness.observe,
    )
    fleet.update(settings_for(count, directory, url or "http://127.0.0.1:1"))
    try:
        yield fleet, metrics
    finally:
        await clients.close()
        database.close()
    assert not failures, failures
    assert not sum(fleet.shared.errors.counts().values())
    problems = {each.problem for each in fleet.members.values()} - {None}
    assert not problems, problems


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


async def idle(count: int, tasks: int, seconds: float, url: str | None) -> None:
    """Measure start, memory, descriptors and CPU at so many idle workspaces."""
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        async with opened(count, tasks, Path(name), url) as (fleet, metrics):
            stop = asyncio.Event()
            running = asyncio.create_task(fleet.supervisor.run(stop))
            start = time.perf_counter() - started
            # Half of an interval, so that many workspaces have had their first cycle.
            await asyncio.sleep(seconds / 2)  # noqa: TID251 - real time is measured
            before, at = time.process_time(), time.perf_counter()
            await asyncio.sleep(seconds / 2)  # noqa: TID251 - real time is measured
            cpu = (time.process_time() - before) / (time.perf_counter() - at)
            stop.set()
            fleet.stop()
            await running
            ran = sum(sum(m.metrics.cycles.values()) for m in fleet.members.values())
            late = metrics.lateness
            report(
                start=start,
                cpu=100 * cpu,
                rate=ran / seconds,
                late=late.total / max(late.count, 1),
            )


async def saturated(count: int, tasks: int, url: str | None) -> None:
    """Measure how many cycles a second a process makes, and memory after them all."""
    with tempfile.TemporaryDirectory() as name:
        async with opened(count, tasks, Path(name), url) as (fleet, _):
            places = asyncio.Semaphore(MAX_WORKING)

            async def run(member: Any) -> None:
                async with places:
                    await member.run_cycle()

            async def all_once() -> tuple[float, float]:
                begun, used = time.perf_counter(), time.process_time()
                await asyncio.gather(*map(run, fleet.members.values()))
                fleet.store_states()
                used = time.process_time() - used
                return count / (time.perf_counter() - begun), 1000 * used / count

            first, _ = await all_once()
            again = [await all_once() for _ in range(1 if count > 1000 else 5)]
            fleet.supervisor.close()
            fastest, cpu_ms = max(again)
            report(first=first, again=fastest, cpu_ms=cpu_ms)


def report(**figures: float) -> None:
    """Print figures, memory and descriptors as JSON, for the process that asked."""
    status = Path("/proc/self/status").read_text()
    rss = next(x for x in status.splitlines() if x.startswith("VmRSS:"))
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    found = {"rss": int(rss.split()[1]) / 1024, "files": files}
    print(json.dumps({**figures, **found}))


def measured(*arguments: object) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.fleet", *map(str, arguments)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(printed.stdout)
    return found


class HttpApi(asyncio.Protocol):
    """The same answers over a socket; reads no more of a request than its end."""

    body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._calls = id(self)

    def data_received(self, data: bytes) -> None:
        self._calls += 1
        lines = [f"{name}: {value}" for name, value in headers(self._calls).items()]
        head = "\r\n".join(
            ["HTTP/1.1 200 OK", f"Content-Length: {len(self.body)}", *lines, "", ""]
        )
        self._transport.write(head.encode() + self.body)


async def serve(tasks: int) -> None:
    """Serve the API on a free port, and print its address."""
    HttpApi.body = a_list(tasks)
    server = await asyncio.get_running_loop().create_server(HttpApi, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def http_server(tasks: int) -> Any:
    """Run the API in a process of its own; yields its address."""
    command = [sys.executable, "-m", "tests.bench.fleet", "--serve", str(tasks)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspaces", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="of idling")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--idle", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--saturated", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve is not None:
        asyncio.run(serve(given.serve))
    elif given.idle:
        count, tasks = given.idle
        asyncio.run(idle(count, tasks, given.seconds, given.url))
    elif given.saturated:
        count, tasks = given.saturated
        asyncio.run(saturated(count, tasks, given.url))
    else:
        sys.exit(compare(given))


def sync_seconds() -> float:
    """Return the median time until the disk has what was written to it."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def compare(given: argparse.Namespace) -> int:
    """Measure everything, and hold it against the goals."""
    count = given.workspaces
    with contextlib.ExitStack() as stack:
        few: tuple[str, ...] = ()
        many: tuple[str, ...] = ()
        if given.http:
            few = ("--url", stack.enter_context(http_server(5)))
            many = ("--url", stack.enter_context(http_server(30)))
        at_rest = measured("--idle", count, 5, "--seconds", given.seconds, *few)
        busy = measured("--saturated", 500, 30, *many)
        opened_all = measured("--saturated", count, 5, *few)
    sync_ms = 1000 * sync_seconds()
    print(
        f"a cycle of 30 tasks takes {busy['cpu_ms']:.1f} ms of CPU, one of 5"
        f" {opened_all['cpu_ms']:.1f} ms; fdatasync takes {sync_ms:.2f} ms, and a cycle"
        " makes two"
    )
    print(
        f"{count:,} workspaces: {at_rest['rate']:.0f} cycles/s when idle, mean lateness"
        f" {1000 * at_rest['late']:.0f} ms; after a cycle of each"
        f" {opened_all['files']:.0f} descriptors"
    )
    rows = (
        ("start", at_rest["start"], "<", MAX_START_SECONDS, "s"),
        ("CPU when idle", at_rest["cpu"], "<", MAX_CPU_PERCENT, "% of a core"),
        ("resident after two cycles each", opened_all["rss"], "<", MAX_MIB, "MiB"),
        ("saturated, 30 tasks", busy["again"], ">", MIN_CYCLES_PER_SECOND, "cycles/s"),
        ("first cycles, 5 tasks", opened_all["first"], ">", 0.0, "cycles/s"),
    )
    failed = False
    for name, value, sign, limit, unit in rows:
        passed = value < limit if sign == "<" else value > limit
        failed |= not passed
        verdict = "PASS" if passed else "FAIL"
        print(f"{verdict}: {name} {value:.1f} {unit}, wanted {sign} {limit:g}")
    return failed


if __name__ == "__main__":
    main()
