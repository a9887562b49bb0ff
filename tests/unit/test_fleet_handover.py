"""What a daemon tells of workspaces that another one runs on the same ledger."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.clocks import ManualClock
from tests.postgres import PostgresServer
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_leases import FleetLeases
from triaged.daemon.fleet_member import Shared
from triaged.daemon.internal_errors import InternalErrors
from triaged.errors import LedgerError
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.leadlex.clients import HttpClients
from triaged.ledger.fleet_views import FleetFlags
from triaged.ledger.postgres import PostgresDatabase
from triaged.quota import QuotaSettings
from triaged.settings import Settings
from triaged.triage.report import CycleReport, CycleResult

pytestmark = pytest.mark.anyio

NO_FLAGS = FleetFlags(paused=frozenset(), breaker=frozenset(), is_all_paused=False)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(postgres.empty_ledger())) as opened:
        yield opened


async def no_tick() -> None:
    pass


def fatal(error: LedgerError) -> None:
    raise error


@asynccontextmanager
async def a_fleet(
    database: PostgresDatabase, clock: ManualClock, interval: timedelta
) -> AsyncIterator[Fleet]:
    """Make a fleet of one workspace, whose cycle has just succeeded here."""
    clients = HttpClients()
    fleet = Fleet(
        Shared(
            clock=clock,
            database=database,
            clients=clients,
            errors=InternalErrors(),
            dry_run=False,
            verify=lambda: None,
            on_fatal=fatal,
            leases=FleetLeases(database, "one", clock, on_fatal=fatal),
        ),
        tick=no_tick,
    )
    settings = Settings(
        key=KeySource(value=parse_key("wbk_1")),
        rules=(Path("rules.yaml"),),
        workspace="a",
        poll_interval=interval,
        quota=QuotaSettings(),
        state_dir=Path("state"),
    )
    fleet.update([settings])
    member = fleet.members["a"]
    member.health.last_success_at = clock.now()
    member.health.last_report = CycleReport(
        id="c",
        started_at=clock.now(),
        duration_seconds=0.1,
        result=CycleResult.OK,
        listed=True,
    )
    try:
        yield fleet
    finally:
        fleet.supervisor.close()
        await clients.close()


@pytest.mark.parametrize("seconds", [1, 5, 29, 30, 31, 300])
async def test_a_workspace_that_was_handed_over_never_fails(
    database: PostgresDatabase, seconds: int
) -> None:
    """At any interval it works until it is known to be run elsewhere."""
    clock = ManualClock()
    seen = []
    async with a_fleet(database, clock, timedelta(seconds=seconds)) as fleet:
        for _ in range(4 * seconds + 60):
            clock.advance(timedelta(seconds=1))
            seen.append(str(fleet.states(NO_FLAGS)["a"]))

    assert list(dict.fromkeys(seen)) == ["working", "elsewhere"]


async def test_nobody_takes_over_while_the_ledger_is_away(
    database: PostgresDatabase,
) -> None:
    """What was run here fails, and what was run elsewhere stays so."""
    clock = ManualClock()
    async with a_fleet(database, clock, timedelta(minutes=5)) as fleet:
        clock.advance(timedelta(hours=1))
        states = [
            str(fleet.states(NO_FLAGS, away_since=since)["a"])
            for since in (None, 60.0, 3600.0)
        ]

    assert states == ["elsewhere", "failing", "elsewhere"]
