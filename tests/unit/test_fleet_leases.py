"""Which workspaces a daemon claims, where several share a ledger."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.clocks import ManualClock
from tests.postgres import PostgresServer
from triaged.daemon.fleet_leases import (
    ENROL_SECONDS,
    PROBE_SECONDS,
    REBALANCE_SECONDS,
    RENEW_SECONDS,
    UNREACHABLE_CYCLES,
    FleetLeases,
)
from triaged.errors import LedgerError
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


def a_daemon(
    database: PostgresDatabase,
    name: str,
    clock: ManualClock,
    on_fatal: Callable[[LedgerError], None] | None = None,
) -> FleetLeases:
    return FleetLeases(database, name, clock, on_fatal=on_fatal or _fail)


def due(names: Iterable[str]) -> dict[str, timedelta]:
    return dict.fromkeys(names, timedelta(0))


def _fail(error: LedgerError) -> None:
    pytest.fail(str(error))


def enrolled(database: PostgresDatabase) -> list[str]:
    rows = database.rows(
        "SELECT workspace FROM lease WHERE is_enrolled ORDER BY workspace"
    )
    return [row["workspace"] for row in rows]


def claimed(leases: FleetLeases, free: int = 9) -> list[str]:
    return sorted(turn.workspace for turn in leases.claim(free))


def test_a_workspace_is_run_by_one_and_comes_back(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """What is claimed is no longer due; given back, it is due when that was asked."""
    register(database, "one")
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a", "b"]))
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
    new, old = a_daemon(database, "new", clock), a_daemon(database, "old", clock)
    new.follow(due(["a", "b"]))
    old.follow(due(["a"]))
    new.claim(0)

    assert claimed(old) == ["a"]
    assert claimed(new) == ["b"]


def test_out_of_reach_it_leaves_to_others_and_probes(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """After so many failures in a row it tries one workspace now and then."""
    register(database, "one", "two")
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a", "b", "c"]))
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
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a", "b"]))
    leases.claim(0)
    for _ in range(UNREACHABLE_CYCLES):
        leases.note_reached(is_reached=False)

    assert claimed(leases) == ["a", "b"]


def test_a_long_cycle_keeps_its_lease_until_it_is_lost(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """It is renewed now and then; one that has ended is counted once."""
    register(database, "one")
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a"]))
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
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a"]))
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
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a", "b"]))
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
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a"]))
    leases.claim(1)
    leases.give("a", HOUR)
    leases.hasten("a")

    assert claimed(leases) == ["a"]


def test_at_a_shutdown_everything_is_left(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """Another daemon may take it at once."""
    register(database, "one", "two")
    one, two = a_daemon(database, "one", clock), a_daemon(database, "two", clock)
    one.follow(due(["a"]))
    two.follow(due(["a"]))
    one.claim(1)
    one.leave()

    assert claimed(two) == ["a"]


def test_first_polls_are_spread(database: PostgresDatabase, clock: ManualClock) -> None:
    """A new workspace is due after its delay; one that is known, when it was before."""
    register(database, "one")
    leases = a_daemon(database, "one", clock)
    leases.follow(due(["a"]))
    leases.claim(0)
    leases.follow({"a": HOUR, "b": HOUR})

    assert claimed(leases) == ["a"]
    assert enrolled(database) == ["a", "b"]


def test_older_files_hold_up_no_workspace(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """What only new files have is left to the other daemon at once, and for good."""
    register(database, "old", "new")
    old, new = a_daemon(database, "old", clock), a_daemon(database, "new", clock)
    new.follow(due(["a", "b", "c"]))
    old.follow(due(["a"]))
    new.claim(0)
    first = claimed(old, 1)
    found = claimed(new)
    for workspace in found:
        new.give(workspace, timedelta(0))
    new.claim(0)
    again = claimed(old)

    assert first == ["a"]
    assert (found, again) == (["b", "c"], [])


def test_a_removed_workspace_is_no_longer_shared(
    database: PostgresDatabase, clock: ManualClock
) -> None:
    """Nor counted; a daemon that still has it in its files enrols it again."""
    register(database, "one", "two")
    one, two = a_daemon(database, "one", clock), a_daemon(database, "two", clock)
    for daemon in (one, two):
        daemon.follow(due(["a", "b"]))
        daemon.claim(0)
    one.follow(due(["a"]))
    clock.advance(timedelta(seconds=REBALANCE_SECONDS))
    one.claim(0)
    after_one = enrolled(database)
    clock.advance(timedelta(seconds=ENROL_SECONDS))
    two.claim(0)
    meanwhile = enrolled(database)
    two.follow(due(["a"]))
    clock.advance(timedelta(seconds=REBALANCE_SECONDS))
    two.claim(0)

    assert (after_one, meanwhile, enrolled(database)) == (["a"], ["a", "b"], ["a"])


@pytest.mark.parametrize("has_same_files", [True, False])
def test_what_no_daemon_knows_is_retired(
    database: PostgresDatabase, clock: ManualClock, *, has_same_files: bool
) -> None:
    """Left over from earlier files; another daemon's files may still have it."""
    register(database, "one")
    if not has_same_files:
        register(database, "two")
        database.statement(
            "UPDATE triaged.daemon SET config_sha256 = 'x' WHERE name = 'two'"
        )
    one = a_daemon(database, "one", clock)
    one.follow(due(["a", *(f"old{n}" for n in range(70))]))
    one.claim(0)
    restarted = a_daemon(database, "one", clock)
    restarted.follow(due(["a"]))
    found = claimed(restarted, 4)
    clock.advance(timedelta(seconds=REBALANCE_SECONDS))
    restarted.claim(0)

    assert found == ["a"]
    assert len(enrolled(database)) == (1 if has_same_files else 71)


def test_what_does_not_pass_ends_the_daemon(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    """Without the right to claim it runs nothing, and must not seem well."""
    url = postgres.empty_ledger()
    fatal: list[LedgerError] = []
    with closing(PostgresDatabase(url)) as database:
        leases = a_daemon(database, "one", clock, fatal.append)
        leases.follow(due(["a"]))
        database.statement("ALTER TABLE triaged.lease RENAME TO elsewhere")
        found = leases.claim(1)
        database.statement("ALTER TABLE triaged.elsewhere RENAME TO lease")

    assert (found, len(fatal)) == ([], 1)
