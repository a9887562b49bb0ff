"""A daemon's part of a fleet on PostgreSQL, until SIGTERM: see ``fleet_postgres``.

``python -m tests.bench.fleet_worker URL DIRECTORY WORKSPACES INTERVAL`` prints for each
cycle that begins when it does and how late. LeadLex is a transport in the process.
"""

import asyncio
import logging
import signal
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from tests.bench.fleet import FakeApi, a_list, settings_for
from triaged.clock import SystemClock
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_leases import make_leases
from triaged.daemon.fleet_member import Shared
from triaged.daemon.internal_errors import InternalErrors
from triaged.leadlex.clients import HttpClients
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import make_daemon_lock, open_database
from triaged.quota import QuotaSettings

TASKS: Final = 30
# So much that no poll is put off for it.
DAILY_LIMIT: Final = 100_000_000
QUOTA: Final = QuotaSettings(minute_limit=100_000, daily_limit=DAILY_LIMIT)


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


def _started(late: float) -> None:
    print(f"{time.time():.3f} {late:.4f}")  # noqa: TID251 - read by another process


async def work(url: str, directory: Path, workspaces: int, interval: float) -> None:
    """Run a daemon's part of the fleet."""
    structlog.configure(processors=[_drop])
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # as the daemon does
    clock, place = SystemClock(), LedgerLocation(directory, url)
    database = open_database(place)
    failures: list[BaseException] = []
    with make_daemon_lock(place, workspace="", since=clock.now()) as lock:
        clients = HttpClients(FakeApi(a_list(TASKS), limit=DAILY_LIMIT))

        async def tick() -> None:
            lock.heartbeat()
            fleet.store_states()
            fleet.rules.poll()
            fleet.look_at_keys()
            sys.stdout.flush()

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
            on_started=_started,
        )
        given = settings_for(workspaces, directory, "http://127.0.0.1:1")
        every = timedelta(seconds=interval)
        fleet.update(replace(s, poll_interval=every, quota=QUOTA) for s in given)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await fleet.supervisor.run(stop)
        fleet.stop()
        await clients.close()
        database.close()
    problems = {each.problem for each in fleet.members.values()} - {None}
    assert not failures, failures
    assert not problems, problems
    assert not sum(fleet.shared.errors.counts().values())


if __name__ == "__main__":
    asyncio.run(
        work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    )
