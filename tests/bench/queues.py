"""Leases beside two job queues on PostgreSQL: what they cost, and who does work twice.

Run ``python -m tests.bench.queues [--seconds N] [--lease N]``; needs ``pip install
--require-hashes -r requirements-bench.lock``. The server writes to the disk. A cycle
waits for 50 ms and then writes four rows in one durable transaction, by the same code
on a connection of the process; with leases that transaction is the ledger's own, which
checks and renews the lease. At most 100 cycles are open in a worker.

What is chosen for the others, beyond their defaults: a heartbeat is too old after the
length of a lease (for both their default, 30 s); procrastinate deletes jobs that are
done, looks for due jobs every 200 ms, as the leases do, and every 10 s for stalled
ones; pgqueuer, on asyncpg, takes batches of 20 after ``pgq autovac``. Before measuring,
the tables are vacuumed.
"""

import argparse
import asyncio
import dataclasses
import importlib.util
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import psycopg

from tests.bench.queue_engines import ENGINES, TABLES, Plan
from tests.bench.usage import Usage, cut, load, wait, watch
from tests.postgres import PostgresServer, running_server

# A cycle every five minutes each: 33 a second.
WORKSPACES: Final = 10_000
INTERVAL: Final = 300.0
CYCLE: Final = 0.05
AT_ONCE: Final = 100
# Until the first is due, when all workers have started; and from then on.
LEAD_SECONDS: Final = 10.0
WARM_UP_SECONDS: Final = 8.0
# Of the runs in which a worker is stopped or killed: cycles are long, so that some are
# open then, and those that run last run again soon.
LONG_CYCLE: Final = 2.0
FEW: Final = 40
SOME: Final = 660
SHORT_INTERVAL: Final = 20.0
# A cycle that begins later than this was held up.
LATE_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 180.0


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Workers at work on a database of their own."""

    server: PostgresServer
    url: str
    workers: tuple[subprocess.Popen[bytes], ...]

    def ask(self, query: str, *values: object) -> list[tuple[float, ...]]:
        """Return the rows that a query finds."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def number(self, query: str, *values: object) -> float:
        """Return the one number that a query finds."""
        return float(self.ask(query, *values)[0][0] or 0)

    def watch(self, seconds: float) -> Usage:
        """Let them work for a while."""
        assert [worker.poll() for worker in self.workers] == [None] * len(self.workers)
        pids = [worker.pid for worker in self.workers]
        return watch(self.server, self.url, pids, seconds)

    def doubles(self) -> float:
        """Return how many cycles were executed, and committed, more than once."""
        return self.number(
            "SELECT count(*) FROM (SELECT FROM done GROUP BY workspace, due"
            " HAVING count(*) > 1) AS twice"
        )


@contextmanager
def started(
    server: PostgresServer,
    plan: Plan,
    number: int,
    workspaces: int,
) -> Iterator[Run]:
    """Start so many workers on a new database with so many workspaces."""
    url = server.url(server.new_database(), tcp=True)
    rng = random.Random(3)  # noqa: S311 - when each is due first
    now = time.time() + LEAD_SECONDS  # noqa: TID251 - as the workers' clock
    dues = {f"w{n:05}": now + rng.random() * plan.interval for n in range(workspaces)}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES.encode())
        asyncio.run(ENGINES[plan.engine].enrol(url, dues))
        connection.execute("VACUUM ANALYZE")
    with ExitStack() as stack:
        workers = []
        for each in range(number):
            given = dataclasses.replace(plan, url=url, name=f"worker-{each}")
            text = json.dumps(dataclasses.asdict(given))
            command = [sys.executable, "-m", "tests.bench.queues", "--worker", text]
            workers.append(subprocess.Popen(command))
            stack.callback(workers[-1].wait)
            stack.callback(workers[-1].kill)
        wait(max(now - time.time(), 0.0))  # noqa: TID251 - as the workers' clock
        yield Run(server, url, tuple(workers))


def costs(server: PostgresServer, plan: Plan, number: int, seconds: float) -> str:
    """Return a row of the first table: at 33 cycles/s, and always with work."""
    with started(server, plan, number, WORKSPACES) as run:
        wait(WARM_UP_SECONDS)
        used = run.watch(seconds)
        rows = run.ask(
            "SELECT 1000 * (begun - due) FROM done WHERE begun BETWEEN %s AND %s",
            used.begun,
            used.ended,
        )
    median, worst = cut([late for (late,) in rows])
    always = dataclasses.replace(plan, interval=0.0)
    with started(server, always, number, WORKSPACES) as run:
        wait(WARM_UP_SECONDS)
        busy = run.watch(seconds)
        found = run.number(
            "SELECT count(*) FROM done WHERE at BETWEEN %s AND %s",
            busy.begun,
            busy.ended,
        )
    return (
        f"{plan.engine} | {number} | {median:.0f} / {worst:.0f} |"
        f" {len(rows) / used.seconds:.0f} | {used.server_cpu:.1f} | {used.commits:.0f}"
        f" | {used.worker_cpu:.1f} / {used.worker_mb:.0f} | {found / busy.seconds:,.0f}"
        f" | {os.getloadavg()[0]:.1f}"
    )


def stopped(server: PostgresServer, plan: Plan) -> str:
    """Return a row of the second table: one of two is stopped, and woken later."""
    plan = dataclasses.replace(
        plan, interval=0.0, cycle_seconds=LONG_CYCLE, at_once=FEW // 2
    )
    with started(server, plan, 2, FEW) as run:
        wait(WARM_UP_SECONDS + 3 * LONG_CYCLE)
        victim = run.workers[0]
        victim.send_signal(signal.SIGSTOP)
        at = time.time()  # noqa: TID251 - as the workers' clock
        # All run elsewhere, and longer than a lease lasts.
        _until(
            run,
            "SELECT count(DISTINCT workspace) FROM done WHERE begun > %s",
            at,
            least=FEW,
        )
        taken = time.time() - at  # noqa: TID251 - as the workers' clock
        wait(max(1.5 * plan.lease_seconds - taken, 0.0))
        victim.send_signal(signal.SIGCONT)
        wait(4 * LONG_CYCLE)
        doubles = run.doubles()
        fenced = run.number("SELECT count(*) FROM fenced")
    return f"{plan.engine} | {taken:.0f} | {doubles:.0f} | {fenced:.0f}"


def killed(server: PostgresServer, plan: Plan) -> str:
    """Return a row of the third table: one of four is killed, at 33 cycles/s."""
    plan = dataclasses.replace(plan, interval=SHORT_INTERVAL, cycle_seconds=LONG_CYCLE)
    with started(server, plan, 4, SOME) as run:
        # Each workspace has had a worker.
        wait(WARM_UP_SECONDS + 1.2 * SHORT_INTERVAL)
        at = time.time()  # noqa: TID251 - as the workers' clock
        run.workers[0].kill()
        wait(max(2 * plan.lease_seconds, 60) + SHORT_INTERVAL)
        late = [
            (begun - due, begun - at)
            for begun, due in run.ask(
                "SELECT begun, due FROM done WHERE begun > %s AND begun - due > %s",
                at,
                LATE_SECONDS,
            )
        ]
        ran = run.number("SELECT count(DISTINCT workspace) FROM done WHERE at > %s", at)
        doubles = run.doubles()
    latest, over = (max(x) for x in zip(*late, strict=True)) if late else (0.0, 0.0)
    return (
        f"{plan.engine} | {len(late)} | {latest:.1f} | {over:.1f} |"
        f" {SOME - ran:.0f} | {doubles:.0f}"
    )


def _until(run: Run, query: str, *values: object, least: float) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while run.number(query, *values) < least and time.monotonic() < until:
        wait(0.2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--lease", type=float, default=30.0, help="seconds it lasts")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        logging.disable()  # a woken worker has much to say
        plan = Plan(**json.loads(given.worker))
        asyncio.run(ENGINES[plan.engine].work(plan))
        return 0
    engines = given.engine or list(ENGINES)
    for library in {"procrastinate", "pgqueuer"}.intersection(engines):
        if importlib.util.find_spec(library) is None:
            parser.error(f"{library} is missing: install requirements-bench.lock")
    plans = [
        Plan(engine, "", "", INTERVAL, CYCLE, given.lease, AT_ONCE)
        for engine in engines
    ]
    with running_server(fsync="on", autovacuum="on", max_wal_size="1GB") as server:
        print(
            "engine | workers | late p50 / p99 ms | cycles/s | PostgreSQL CPU % |"
            " commits/s | CPU % / RSS MB a worker | saturated cycles/s | load"
        )
        for number in (1, 4):
            for plan in plans:  # side by side, as the machine may get busier
                print(costs(server, plan, number, given.seconds), flush=True)
        print(
            f"\none of two stopped beyond {given.lease:g} s, then woken:"
            "\nengine | all run elsewhere after s | executed twice | fenced"
        )
        for plan in plans:
            print(stopped(server, plan), flush=True)
        print(
            "\nkill -9 of one of four:\nengine | cycles late by > 5 s | latest by s |"
            " last of them after s | never run again | executed twice"
        )
        for plan in plans:
            print(killed(server, plan), flush=True)
    print(f"\n{load()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
