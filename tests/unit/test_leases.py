"""Tests of leases: one holder each, fenced, shared out evenly, and in time."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Final

import pytest

from tests.builders import T0, an_intent
from tests.postgres import PostgresServer
from triaged.clock import SystemClock
from triaged.errors import LeaseLost
from triaged.ledger import Ledger
from triaged.ledger.daemons import (
    RegisteredDaemon,
    find_owner,
    find_serving,
    list_daemons,
)
from triaged.ledger.flags import FlagName
from triaged.ledger.lease_lock import LeaseDispatchLock
from triaged.ledger.leases import Lease, Leases
from triaged.ledger.opening import make_dispatch_lock
from triaged.ledger.postgres import PostgresDatabase

NOW: Final = timedelta(0)
HOUR: Final = timedelta(hours=1)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.empty_ledger()


@pytest.fixture
def database(url: str) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(url)) as opened:
        yield opened


@pytest.fixture
def other(url: str) -> Iterator[PostgresDatabase]:
    """Connect as another daemon would."""
    with closing(PostgresDatabase(url)) as opened:
        yield opened


def names(leases: list[Lease]) -> list[str]:
    return [lease.workspace for lease in leases]


def age(database: PostgresDatabase, seconds: float, workspace: str = "%") -> None:
    """Let time pass for the leases: what is due or ends, did so earlier."""
    database.statement(
        "UPDATE triaged.lease SET until = until - %s * interval '1 second',"
        " due_at = due_at - %s * interval '1 second' WHERE workspace LIKE %s",
        (seconds, seconds, workspace),
    )


def register(database: PostgresDatabase, *names: str) -> None:
    for name in names:
        database.statement(
            "INSERT INTO triaged.daemon VALUES (%s, '', '1', 'h', 1, false, now(),"
            " now(), '')",
            (name,),
        )


def fleet(database: PostgresDatabase, number: int, *daemons: str) -> list[Leases]:
    """Enrol workspaces that are due, and daemons that know of each other."""
    register(database, *daemons)
    found = [Leases(database, name) for name in daemons]
    found[0].enrol({f"w{n:02}": NOW for n in range(number)})
    for leases in found:
        leases.rebalance()
    return found


def test_a_workspace_has_one_holder(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    """What one holds, no other gets; what is given back may be had by anyone."""
    ours, theirs = Leases(database, "us"), Leases(other, "them")
    lease = ours.claim_one("a")
    refused = theirs.claim_one("a")
    holder = theirs.holder_of("a")
    assert lease is not None
    was_held = ours.give(lease, None)
    again = theirs.claim_one("a")

    assert (refused, holder, was_held) == (None, "us", True)
    assert again == Lease("a", "them", lease.fence + 1)
    assert not ours.give(lease, None)


def test_a_lease_that_ended_fences_its_holder(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    """Who was stopped beyond the lease writes nothing, taken over or not."""
    ledger = Ledger(database, "a")
    leases = Leases(database, "us")
    lease = leases.claim_one("a")
    assert lease is not None
    database.use_lease(lease)
    ledger.dismissals.record_intent(an_intent("in time"))
    age(other, 91)
    with pytest.raises(LeaseLost, match="the lease of workspace a has ended"):
        ledger.dismissals.record_intent(an_intent("too late"))
    with pytest.raises(LeaseLost):
        leases.renew(lease)
    taken = Leases(other, "them").claim_one("a")
    with pytest.raises(LeaseLost):
        ledger.counters.increment("observed", "r")
    with pytest.raises(LeaseLost):
        ledger.verify()
    database.drop_lease(lease)

    assert taken is not None
    assert ledger.dismissals.unresolved_task_ids() == {"in time"}
    assert ledger.counters.values("observed") == {}


def test_a_transaction_renews_its_lease(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    """A holder at work never loses its lease, however long the work takes."""
    leases = Leases(database, "us")
    lease = leases.claim_one("a")
    assert lease is not None
    database.use_lease(lease)
    for _ in range(3):
        age(other, 80)
        Ledger(database, "a").counters.increment("observed", "r")

    assert leases.holder_of("a") == "us"
    leases.renew(lease)


def test_a_dismissal_leaves_only_if_the_lease_outlasts_it(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    """A call may take a minute: with less than that left, another could take over."""
    ledger, leases = Ledger(database, "a"), Leases(database, "us")
    ledger.verify()
    lease = leases.claim_one("a")
    assert lease is not None
    database.use_lease(lease)
    age(other, 24)
    ledger.verify()
    age(other, 2)
    with pytest.raises(LeaseLost):
        ledger.verify()
    leases.renew(lease)
    ledger.verify()


def test_a_command_without_a_lease_waits_for_no_cycle(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    """Pause and veto take effect between the transactions of the holder."""
    lease = Leases(database, "us").claim_one("a")
    assert lease is not None
    database.use_lease(lease)
    Ledger(other, "a").flags.set(FlagName.PAUSED, at=T0)

    assert Ledger(database, "a").flags.get(FlagName.PAUSED) is not None


def test_only_what_is_due_is_claimed(database: PostgresDatabase) -> None:
    """The longest due first, as many as asked for, and none of the retired."""
    (leases,) = fleet(database, 4, "us")
    age(database, 5, "w02")
    first = leases.claim(1)
    rest = leases.claim(9)
    for lease in (*first, *rest):
        leases.give(lease, HOUR)
    later = leases.claim(9)
    leases.retire(["w00", "w01"])
    age(database, 3600)

    assert names(first) == ["w02"]
    assert sorted(names(rest)) == ["w00", "w01", "w03"]
    assert later == []
    assert sorted(names(leases.claim(9))) == ["w02", "w03"]


def test_enrolling_again_changes_nothing(database: PostgresDatabase) -> None:
    """A daemon that starts takes nothing from those that run."""
    (leases,) = fleet(database, 2, "us")
    held = leases.claim(2)
    Leases(database, "them").enrol({"w00": NOW, "w01": NOW})
    for lease in held:
        leases.renew(lease)

    assert leases.claim(9) == []


def test_daemons_take_equal_shares(database: PostgresDatabase) -> None:
    """No daemon takes more than an equal share, so the last one gets its own."""
    daemons = fleet(database, 10, "d1", "d2", "d3")
    shares = [len(leases.claim(99)) for leases in daemons]

    assert shares == [4, 4, 2]


def test_a_new_daemon_gets_its_share(database: PostgresDatabase) -> None:
    """What is above an equal share is left to others as soon as it is given back."""
    (old,) = fleet(database, 6, "d1")
    for lease in old.claim(99):
        old.give(lease, NOW)
    (new,) = fleet(database, 6, "d2")
    old.rebalance()
    kept, taken = old.claim(99), new.claim(99)

    assert (len(kept), len(taken)) == (3, 3)
    assert not set(names(kept)) & set(names(taken))


def test_a_workspace_stays_with_its_daemon_for_a_while(
    database: PostgresDatabase,
) -> None:
    """Its caches are there; after 15 seconds any daemon with room takes it."""
    first, second = fleet(database, 1, "d1", "d2")
    for lease in first.claim(1):
        first.give(lease, NOW)
    second.rebalance()
    early = second.claim(1)
    age(database, 15)
    late = second.claim(1)

    assert early == []
    assert names(late) == ["w00"]


def test_what_is_very_late_is_taken_beyond_the_share(
    database: PostgresDatabase,
) -> None:
    """A daemon that is seen and claims nothing does not keep its share from running."""
    busy, _idle = fleet(database, 4, "d1", "d2")
    first = busy.claim(99)
    age(database, 61)
    rest = [w for w in names(busy.claim(99)) if w not in names(first)]

    assert len(first) == 2
    assert len(rest) == 2


def test_a_daemon_that_leaves_hands_over_at_once(database: PostgresDatabase) -> None:
    """At a shutdown nobody waits for the fifteen seconds."""
    first, second = fleet(database, 1, "d1", "d2")
    for lease in first.claim(1):
        first.give(lease, NOW)
    first.leave()
    second.rebalance()

    assert names(second.claim(1)) == ["w00"]


def test_daemons_are_registered_while_they_run(
    database: PostgresDatabase, url: str
) -> None:
    """A command finds the daemon of a workspace, and none after its end."""
    monotonic = [0.0]
    running = RegisteredDaemon(
        url,
        lambda url, _: PostgresDatabase(url),
        workspace="acme",
        since=T0,
        monotonic=lambda: monotonic[0],
    )
    before = find_owner(database, "acme")
    with running:
        owner = find_owner(database, "acme")
        seen = list_daemons(database)[0].seen_at
        running.heartbeat()
        too_soon = list_daemons(database)[0].seen_at
        running.describe(config_sha256="ab12")
        running.heartbeat()
        (record,) = list_daemons(database)
        foreign = find_owner(database, "other")

    assert (before, foreign) == (None, None)
    assert owner is not None
    assert owner.workspace == "acme"
    assert seen is not None
    assert record.seen_at is not None
    assert too_soon == seen < record.seen_at
    assert (record.config_sha256, record.is_alive) == ("ab12", True)
    assert list_daemons(database) == []


def test_a_daemon_of_a_fleet_is_found_by_its_workspaces(
    database: PostgresDatabase,
) -> None:
    """It serves what it ran last."""
    (leases,) = fleet(database, 1, "d1")
    before = find_owner(database, "w00")
    leases.claim(1)
    owner = find_owner(database, "w00")

    assert before is None
    assert owner is not None
    assert str(owner) == "process 1 on h"


@pytest.mark.anyio
async def test_the_dispatch_lock_is_the_lease(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    """Two processes never dismiss for one workspace; who waits says for whom."""
    told: list[str] = []
    order: list[str] = []
    clock = SystemClock()
    ours = make_dispatch_lock(database, "a", clock, lambda _: None)
    theirs = LeaseDispatchLock(
        other, Leases(other, "them"), "a", clock, on_wait=told.append
    )

    async def wait_for_it() -> None:
        async with theirs.acquired() as is_held:
            order.append(f"they {is_held}")

    async with ours.acquired() as is_held:
        waiting = asyncio.create_task(wait_for_it())
        await clock.sleep(2.5)
        order.append(f"we {is_held}")
    await waiting

    assert order == ["we True", "they True"]
    assert len(told) == 1
    assert Leases(other, "x").holder_of("a") is None


@pytest.mark.anyio
async def test_a_wait_can_be_given_up(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    """A process that is told to stop does not wait for one that may be stopped."""
    clock = SystemClock()
    async with (
        make_dispatch_lock(database, "a", clock, lambda _: None).acquired(),
        make_dispatch_lock(other, "a", clock, lambda _: None).acquired(
            lambda: True
        ) as held,
    ):
        assert not held


@pytest.mark.anyio
async def test_a_lease_is_renewed_while_nothing_is_written(
    database: PostgresDatabase,
    other: PostgresDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wait for the quota may be longer than a lease."""
    monkeypatch.setattr("triaged.ledger.lease_lock.RENEW_SECONDS", 0.1)
    clock = SystemClock()
    lock = LeaseDispatchLock(database, Leases(database, "us", seconds=0.6), "a", clock)
    async with lock.acquired():
        await clock.sleep(1.2)
        taken = Leases(other, "them").claim_one("a")
        Ledger(database, "a").counters.increment("observed", "r")

    assert taken is None


def test_commands_see_who_holds_and_who_ran_last(database: PostgresDatabase) -> None:
    """A cycle is its holder's; what waits is its last daemon's, if that lives."""
    one, two = fleet(database, 3, "d1", "d2")
    (running,) = one.claim(1)
    (waiting,) = two.claim(1)
    two.give(waiting, timedelta(0))
    records = {each.name: (each.held, each.own) for each in list_daemons(database)}
    serving = find_serving(database)
    database.statement(
        "UPDATE triaged.daemon SET seen_at = now() - interval '1 hour'"
        " WHERE name = 'd2'"
    )
    after = find_serving(database)

    assert records == {"d1": (1, 1), "d2": (0, 1)}
    assert set(serving.holders) == {running.workspace, waiting.workspace}
    assert serving.wrote({"host": "h", "pid": 1})
    assert not serving.wrote({"host": "other", "pid": 1})
    assert not serving.wrote({})
    assert set(after.holders) == {running.workspace}
