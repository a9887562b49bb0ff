"""Which workspaces a daemon claims, where several share a ledger."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.clocks import ManualClock
from tests.postgres import PostgresServer
from triaged.daemon.fleet_leases import (
    PROBE_SECONDS,
    RENEW_SECONDS,
    UNREACHABLE_CYCLES,
    FleetLeases,
)
from triaged.ledger.postgres import PostgresDatabase

HOUR = timedelta(hours=1)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(postgres.empty_ledger())) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def register(database: PostgresDatabase, *daemons: str) -> None:
    for name in daemons:
        database.statement(
            "INSERT INTO triaged.daemon VALUES (%s, '', '1', 'h', 1, false, now(),"
            " now(), '')",
            (name,),
        )


def claimed(leases: FleetLeases, free: int = 9) -> list[str]:
    return sorted(turn.workspace for turn in leases.claim(free))


def test_a_workspace_is_run_by_one_and_comes_back(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """What is claimed is no longer due; given back, it is due when that was asked."""
    register(database, "one")
    leases = FleetLeases(database, "one", clock)
    leases.follow(["a", "b"])
    first, again = claimed(leases), claimed(leases)
    is_held = database.has_lease("a")
    leases.give("a", timedelta(0))
    leases.give("b", HOUR)

    assert (first, again, is_held) == (["a", "b"], [], True)
    assert claimed(leases) == ["a"]
    assert not database.has_lease("b")


def test_a_workspace_of_other_files_is_given_back(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """A daemon whose files lack a workspace leaves it to one that knows it."""
    register(database, "old", "new")
    new, old = FleetLeases(database, "new", clock), FleetLeases(database, "old", clock)
    new.follow(["a", "b"])
    old.follow(["a"])
    new.claim(0)

    assert claimed(old) == ["a"]
    assert claimed(new) == ["b"]


def test_out_of_reach_it_leaves_to_others_and_probes(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """After so many failures in a row it tries one workspace now and then."""
    register(database, "one", "two")
    leases = FleetLeases(database, "one", clock)
    leases.follow(["a", "b", "c"])
    with capture_logs() as logs:
        leases.claim(0)
        for _ in range(UNREACHABLE_CYCLES):
            leases.note_reached(is_reached=False)
        probe, meanwhile = claimed(leases), claimed(leases)
        leases.give(probe[0], HOUR)
        clock.advance(timedelta(seconds=PROBE_SECONDS))
        later = claimed(leases)
        leases.note_reached(is_reached=True)
        rest = claimed(leases)

    assert (len(probe), meanwhile, len(later)) == (1, [], 1)
    assert rest
    events = [log["event"] for log in logs]
    assert events == ["fleet.left_to_others", "fleet.taken_again"]


def test_alone_it_goes_on(database: PostgresDatabase, clock: ManualClock) -> None:
    """Without another daemon there is no one to leave workspaces to."""
    register(database, "one")
    leases = FleetLeases(database, "one", clock)
    leases.follow(["a", "b"])
    leases.claim(0)
    for _ in range(UNREACHABLE_CYCLES):
        leases.note_reached(is_reached=False)

    assert claimed(leases) == ["a", "b"]


def test_a_long_cycle_keeps_its_lease_until_it_is_lost(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """It is renewed now and then; one that has ended is counted once."""
    register(database, "one")
    leases = FleetLeases(database, "one", clock)
    leases.follow(["a"])
    leases.claim(1)
    clock.advance(timedelta(seconds=RENEW_SECONDS))
    leases.claim(0)
    kept = leases.lost
    database.statement("UPDATE triaged.lease SET until = now() - interval '1 second'")
    for _ in range(2):
        clock.advance(timedelta(seconds=RENEW_SECONDS))
        leases.claim(0)

    assert (kept, leases.lost) == (0, 1)


def test_without_the_database_nothing_is_claimed(
    postgres: PostgresServer, database: PostgresDatabase, clock: ManualClock
) -> None:
    """It is told once that it is away, and once that it is back."""
    register(database, "one")
    leases = FleetLeases(database, "one", clock)
    leases.follow(["a"])
    with capture_logs() as logs:
        with postgres.away():
            away = [leases.claim(1), leases.claim(1)]
        while not (back := claimed(leases)):
            pass

    assert (away, back) == ([[], []], ["a"])
    events = [log["event"] for log in logs]
    assert events == ["ledger.unavailable", "ledger.available"]


def test_what_ended_meanwhile_is_given_back_later(
    postgres: PostgresServer, database: PostgresDatabase, clock: ManualClock
) -> None:
    """A cycle that ends while the database is away is due again after its delay."""
    register(database, "one")
    leases = FleetLeases(database, "one", clock)
    leases.follow(["a", "b"])
    leases.claim(2)
    with postgres.away():
        leases.give("a", timedelta(0))
        leases.give("b", HOUR)
        assert leases.claim(2) == []
    clock.advance(HOUR - timedelta(seconds=1))
    while not (back := claimed(leases)):
        pass
    (row,) = database.rows(
        "SELECT due_at BETWEEN now() AND now() + interval '1 second' AS is_soon"
        " FROM lease WHERE workspace = 'b'"
    )

    assert back == ["a"]
    assert row["is_soon"]


def test_what_has_just_ended_can_be_made_due(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """Changed settings are used at once, although the cycle has just ended."""
    register(database, "one")
    leases = FleetLeases(database, "one", clock)
    leases.follow(["a"])
    leases.claim(1)
    leases.give("a", HOUR)
    leases.hasten("a")

    assert claimed(leases) == ["a"]


def test_at_a_shutdown_everything_is_left(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """Another daemon may take it at once."""
    register(database, "one", "two")
    one, two = FleetLeases(database, "one", clock), FleetLeases(database, "two", clock)
    one.follow(["a"])
    two.follow(["a"])
    one.claim(1)
    one.leave()

    assert claimed(two) == ["a"]
