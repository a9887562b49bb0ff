"""What the daemon of a fleet tells its service manager."""

import asyncio
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.tcp_proxy import tcp_proxy
from triaged.clock import SystemClock
from triaged.daemon.fleet_process import STATUS_SECONDS, FleetDaemon
from triaged.daemon.fleet_watcher import FleetWatcher
from triaged.daemon.internal_errors import InternalErrors
from triaged.daemon.systemd import SystemdNotifier
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import open_database
from triaged.settings import read_settings


class Told(SystemdNotifier):
    """Hands on each status."""

    def __init__(self) -> None:
        super().__init__({})
        self._texts: asyncio.Queue[str] = asyncio.Queue()

    def status(self, text: str) -> None:
        self._texts.put_nowait(text)

    async def next(self) -> str:
        """Wait for the next status."""
        return await asyncio.wait_for(self._texts.get(), 30)


class LaterClock(SystemClock):
    """A clock by which the next status is due."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.mark.anyio
async def test_a_lost_database_is_no_internal_error(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """The status says so, and no error of the program is counted."""
    clock, told, errors = LaterClock(), Told(), InternalErrors()
    name = postgres.new_database()
    with tcp_proxy(postgres.port) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        given = {"TRIAGED_FLEET": str(tmp_path), "TRIAGED_LEDGER_URL": url}
        database = open_database(LedgerLocation(tmp_path, url))
        daemon = FleetDaemon(
            read_settings(given, {}),
            clock,
            database,
            FleetWatcher(tmp_path, {}),
            dry_run=True,
            notifier=told,
            errors=errors,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.fleet.supervisor.run(stop))
        clock.ahead = STATUS_SECONDS
        before = await told.next()
        proxy.accepts = False
        proxy.cut()
        clock.ahead *= 2
        after = await told.next()
        stop.set()
        await running
        database.close()

    assert before == "0 workspaces, 0 need attention"
    assert after == "0 workspaces, the ledger is out of reach"
    assert sum(errors.counts().values()) == 0
