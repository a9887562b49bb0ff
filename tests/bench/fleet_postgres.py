"""Cycles a second of 1 and 2 processes of one fleet on PostgreSQL, always with work.

Run ``python -m tests.bench.fleet_postgres [--seconds N]``. The server writes to the
disk; LeadLex is a transport in each process, so that what is measured is daemon and
database. A cycle lists 30 tasks and dismisses none.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from tests.bench.fleet import RULES, FakeApi, a_list, settings_for
from tests.postgres import PostgresServer, running_server
from triaged.clock import SystemClock
from triaged.daemon.fleet import Fleet, Shared
from triaged.daemon.fleet_leases import make_leases
from triaged.daemon.fleet_metrics import FleetMetrics
from triaged.daemon.internal_errors import InternalErrors
from triaged.leadlex.clients import HttpClients
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import make_daemon_lock, open_database

# Enough that each is due long before its turn comes.
WORKSPACES: Final = 2_000
TASKS: Final = 30
WARM_UP_SECONDS: Final = 5.0
MIN_CYCLES_PER_SECOND: Final = 60.0


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


async def work(url: str, directory: Path, seconds: float) -> None:
    """Run a daemon's part of the fleet; print its cycles, its CPU, and lateness."""
    structlog.configure(processors=[_drop])
    clock, place = SystemClock(), LedgerLocation(directory, url)
    database, metrics = open_database(place), FleetMetrics()
    failures: list[BaseException] = []
    with make_daemon_lock(place, workspace="", since=clock.now()) as lock:
        clients = HttpClients(FakeApi(a_list(TASKS)))

        async def tick() -> None:
            lock.heartbeat()
            fleet.store_states()

        fleet = Fleet(
            Shared(
                clock=clock,
                database=database,
                clients=clients,
                errors=InternalErrors(),
                dry_run=False,
                verify=lock.verify,
                on_fatal=failures.append,
                leases=make_leases(database, lock, clock, on_fatal=failures.append),
            ),
            tick=tick,
            on_started=metrics.lateness.observe,
        )
        given = settings_for(WORKSPACES, directory, "http://127.0.0.1:1")
        fleet.update(replace(s, poll_interval=timedelta(seconds=1)) for s in given)
        stop = asyncio.Event()
        running = asyncio.create_task(fleet.supervisor.run(stop))
        await asyncio.sleep(WARM_UP_SECONDS)  # noqa: TID251 - real time is measured
        before, used, at = cycles(fleet), time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)  # noqa: TID251 - real time is measured
        taken = time.perf_counter() - at
        done, used = cycles(fleet) - before, time.process_time() - used
        stop.set()
        fleet.stop()
        await running
        await clients.close()
        database.close()
    assert not failures, failures
    print(json.dumps({"rate": done / taken, "cpu_ms": 1000 * used / max(done, 1)}))


def cycles(fleet: Fleet) -> int:
    """Count the cycles so far."""
    return sum(sum(m.metrics.cycles.values()) for m in fleet.members.values())


@contextmanager
def workers(
    server: PostgresServer, number: int, seconds: float
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start so many processes on one new ledger."""
    url = server.url(server.new_database())
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(directory) / "rules.yaml").write_text(RULES)
        command = [sys.executable, "-m", "tests.bench.fleet_postgres"]
        command += ["--seconds", str(seconds), "--worker", url, directory]
        yield [
            stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(number)
        ]


def measure(server: PostgresServer, number: int, seconds: float) -> float:
    """Run so many processes; print and return their cycles a second together."""
    with workers(server, number, seconds) as running:
        printed = [json.loads(each.communicate()[0]) for each in running]
    rate: float = sum(each["rate"] for each in printed)
    cpu = max(each["cpu_ms"] for each in printed)
    print(f"{number} processes: {rate:.1f} cycles/s, {cpu:.1f} ms of CPU a cycle")
    return rate


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        url, directory = given.worker
        asyncio.run(work(url, Path(directory), given.seconds))
        return 0
    with running_server(fsync="on", max_wal_size="1GB") as server:
        rates = [measure(server, number, given.seconds) for number in (1, 2)]
    load = os.getloadavg()[0]
    passed = rates[0] >= MIN_CYCLES_PER_SECOND
    verdict = "PASS" if passed else "FAIL"
    print(
        f"{verdict}: one process {rates[0]:.1f} cycles/s, wanted >="
        f" {MIN_CYCLES_PER_SECOND:g} (load {load:.1f} on {os.cpu_count()} cores)"
    )
    return not passed


if __name__ == "__main__":
    sys.exit(main())
