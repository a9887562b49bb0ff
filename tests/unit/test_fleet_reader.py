"""What is known of the ledger of a fleet, also while it is away."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from tests.clocks import ManualClock
from tests.postgres import PostgresServer
from tests.snapshots import a_snapshot
from tests.tcp_proxy import TcpProxy, tcp_proxy
from triaged.daemon.fleet_reader import FleetReader
from triaged.daemon.snapshot import LiveState, Snapshot
from triaged.ledger import Ledger
from triaged.ledger.flags import WHOLE_FLEET, FlagName
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import open_database


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[TcpProxy]:
    with tcp_proxy(postgres.port) as running:
        yield running


def a_live_state() -> LiveState:
    known = a_snapshot()
    names = LiveState.__dataclass_fields__
    return LiveState(**{name: getattr(known, name) for name in names})


def cut(proxy: TcpProxy) -> None:
    proxy.accepts = False
    proxy.cut()


def test_a_ledger_that_is_away_is_asked_seldom(
    tmp_path: Path, postgres: PostgresServer, proxy: TcpProxy
) -> None:
    """An attempt can take long, so the next requests do without; then it is found."""
    name, clock = postgres.new_database(), ManualClock()
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
    reader = FleetReader(LedgerLocation(tmp_path, url), clock)
    proxy.accepts = False
    reader.read()
    proxy.accepts = True
    reader.read()
    soon = reader.problem
    clock.advance(timedelta(seconds=5))
    reader.read()

    assert soon is not None
    assert reader.problem is None


def test_what_was_read_last_is_kept(
    tmp_path: Path, postgres: PostgresServer, proxy: TcpProxy
) -> None:
    """While the ledger is away, flags and totals are the last ones, and it says so."""
    name, clock = postgres.new_database(), ManualClock()
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
    place = LedgerLocation(tmp_path, url)
    with closing(open_database(place)) as database:
        Ledger(database, WHOLE_FLEET).flags.set(FlagName.PAUSED, at=T0)
    reader, live = FleetReader(place, clock), a_live_state()
    unknown = reader.with_totals(live)
    clock.advance(timedelta(seconds=7))
    reader.read([live.workspace], sums=True)
    known, problem = reader.with_totals(live), reader.problem
    cut(proxy)
    clock.advance(timedelta(seconds=7))
    reader.read([live.workspace], sums=True)

    assert not isinstance(unknown, Snapshot)
    assert isinstance(known, Snapshot)
    assert problem is None
    assert reader.problem is not None
    assert reader.away_since == 7
    assert reader.flags.is_all_paused
    assert reader.sums is not None
    assert reader.with_totals(live) == known
