"""What a ledger in PostgreSQL costs, and how daemons share it by leases.

``python -m tests.bench.leases [--seconds N]`` starts a server that writes to the disk,
and prints three tables: one durable commit in each store, cycles a second of processes
that always have work, and how late cycles begin at 33 a second. A cycle is a claim, a
transaction that writes four rows, and giving back.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.builders import an_intent
from tests.postgres import PostgresServer, running_server
from triaged.ledger import Ledger
from triaged.ledger.leases import LEASE_SECONDS, Lease, Leases
from triaged.ledger.location import LedgerLocation
from triaged.ledger.postgres import PostgresDatabase

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
COMMITS: Final = 500
BATCH: Final = 20
# As many a second as 10,000 workspaces with a poll every five minutes.
RATE: Final = 33
POLL_SECONDS: Final = 0.2


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--worker", nargs=3, metavar=("URL", "NAME", "INTERVAL"))
    given = parser.parse_args()
    if given.worker:
        url, name, interval = given.worker
        work(url, name, interval=float(interval), seconds=given.seconds)
        return 0
    with running_server(fsync="on", autovacuum="on", max_wal_size="1GB") as server:
        print("one durable commit   p50 ms   p99 ms")
        for store, times in commits(server).items():
            print(f"{store:<18} {_row(times)}")
        print("\nalways work          cycles/s")
        for number in (1, 2, 4):
            done = run(server, number, 100, interval=0.0, seconds=given.seconds)
            print(f"{number} processes {len(done) / given.seconds:18.0f}")
        print(f"\n{RATE} cycles/s          late p50 ms   p99 ms   cycles/s")
        for number in (1, 4):
            interval = 2 * given.seconds / 3
            late = run(
                server,
                number,
                int(RATE * interval),
                interval=interval,
                seconds=given.seconds,
            )
            rate = len(late) / given.seconds
            print(f"{number} processes        {_row(late)} {rate:10.0f}")
    return 0


def commits(server: PostgresServer) -> dict[str, list[float]]:
    """Record intents, each in a transaction of its own; return the milliseconds."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        places = {
            "SQLite": LedgerLocation(Path(directory)),
            "PostgreSQL": LedgerLocation(
                Path(directory), server.url(server.new_database(), tcp=True)
            ),
        }
        for store, place in places.items():
            with Ledger.open(place) as ledger:
                found[store] = [
                    _milliseconds(ledger, f"task-{n}") for n in range(COMMITS)
                ]
    return found


def _milliseconds(ledger: Ledger, task_id: str) -> float:
    intent = an_intent(task_id)
    started = time.perf_counter()
    ledger.dismissals.record_intent(intent)
    return 1000 * (time.perf_counter() - started)


def run(
    server: PostgresServer,
    processes: int,
    workspaces: int,
    *,
    interval: float,
    seconds: float,
) -> list[float]:
    """Let processes share workspaces for a while; return how late each cycle began."""
    url = server.url(server.new_database(), tcp=True)
    with closing(PostgresDatabase(url)) as database:
        Leases(database, "bench").enrol(
            {f"w{n:05}": timedelta(0) for n in range(workspaces)}
        )
        database.statement(
            "UPDATE triaged.lease SET due_at = clock_timestamp()"
            " + random() * %s * interval '1 second'",
            (interval,),
        )
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.bench.leases"),
                *("--seconds", str(seconds)),
                *("--worker", url, f"worker-{number}", str(interval)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    late: list[float] = []
    for worker in workers:
        out, _ = worker.communicate(timeout=10 * seconds + 60)
        late += map(float, out.split())
    return late


def work(url: str, name: str, *, interval: float, seconds: float) -> None:
    """Run cycles for a while; print how many milliseconds late each one began."""
    late: list[float] = []
    with closing(PostgresDatabase(url)) as database:
        leases = Leases(database, name)
        until = time.monotonic() + seconds
        beat = 0.0
        while time.monotonic() < until:
            if time.monotonic() >= beat:
                beat = time.monotonic() + 1
                register(database, name)
                leases.rebalance()
            claimed = leases.claim(BATCH)
            late += _lateness(database, claimed)
            for lease in claimed:
                _cycle(database, lease)
                leases.give(lease, timedelta(seconds=interval))
            if not claimed and interval:
                time.sleep(POLL_SECONDS)  # noqa: TID251 - a process of its own
    print(*(f"{each:.1f}" for each in late))


def register(database: PostgresDatabase, name: str) -> None:
    """Tell that this process is alive, as a daemon does."""
    database.statement(
        "INSERT INTO triaged.daemon"
        " VALUES (%s, '', '1', 'h', 1, false, now(), now(), '')"
        " ON CONFLICT (name) DO UPDATE SET seen_at = now()",
        (name,),
    )


def _lateness(database: PostgresDatabase, claimed: list[Lease]) -> list[float]:
    if not claimed:
        return []
    rows = database.statement(
        "SELECT 1000 * extract(epoch FROM until - due_at)::float - %s AS late"
        " FROM triaged.lease WHERE workspace = ANY(%s)",
        (1000 * LEASE_SECONDS, [lease.workspace for lease in claimed]),
    ).fetchall()
    return [row["late"] for row in rows]


def _cycle(database: PostgresDatabase, lease: Lease) -> None:
    database.use_lease(lease)
    ledger = Ledger(database, lease.workspace)
    with ledger.transaction():
        ledger.counters.increment("attempts", "confirmed")
        ledger.counters.increment("observed", "rule", "testing")
        ledger.state.save_quota(lease.fence, {"spent": lease.fence})
        ledger.rulesets.save("ab12", "rules", at=NOW)
    database.drop_lease(lease)


def _row(times: list[float]) -> str:
    cut = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    return f"{statistics.median(times or [0.0]):8.2f} {cut[98]:8.2f}"


if __name__ == "__main__":
    sys.exit(main())
