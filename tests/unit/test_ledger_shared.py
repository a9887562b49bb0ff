"""Tests of several ledgers over one database."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.builders import T0
from triaged.ledger import Ledger
from triaged.ledger.database import Database
from triaged.ledger.flags import FlagName
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import open_database
from triaged.ledger.ownership import TransactionMisused


@pytest.fixture
def database(place: LedgerLocation) -> Iterator[Database]:
    opened = open_database(place)
    yield opened
    opened.close()


def test_ledgers_share_a_database_and_keep_apart(database: Database) -> None:
    """Each workspace sees what is its own, whatever the order of the writes."""
    a, b = Ledger(database, "a"), Ledger(database, "b")
    a.vetoes.add("t1", at=T0)
    with b.transaction():
        b.vetoes.add("t2", at=T0)
        b.flags.set(FlagName.PAUSED, at=T0)
    a.vetoes.add("t3", at=T0)

    assert a.vetoes.task_ids() == {"t1", "t3"}
    assert b.vetoes.task_ids() == {"t2"}
    assert a.flags.get(FlagName.PAUSED) is None


def test_a_ledger_closes_only_a_database_of_its_own(
    database: Database, place: LedgerLocation
) -> None:
    """One workspace that ends does not end the others."""
    own = Ledger.open(place, workspace="own")
    with Ledger(database, "a"):
        pass
    own.close()

    assert Ledger(database, "b").vetoes.task_ids() == frozenset()


def test_a_transaction_is_of_one_workspace(database: Database) -> None:
    """Work of another workspace never rides on a transaction; nothing of it is kept."""
    a, b = Ledger(database, "a"), Ledger(database, "b")
    with a.transaction():
        a.vetoes.add("kept", at=T0)
        with pytest.raises(TransactionMisused, match="workspace b inside one of a"):
            b.vetoes.add("refused", at=T0)

    assert a.vetoes.task_ids() == {"kept"}
    assert b.vetoes.task_ids() == frozenset()


def test_a_transaction_is_of_one_task(database: Database) -> None:
    """A body that awaits lets others run: they are refused, not joined."""
    ledger = Ledger(database, "a")

    async def meddle() -> None:
        with pytest.raises(TransactionMisused, match="must not await"):
            ledger.counters.increment("observed", "rule")
        with pytest.raises(TransactionMisused, match="must not await"):
            ledger.vetoes.add("t1", at=T0)

    async def await_inside() -> None:
        with ledger.transaction():
            await asyncio.create_task(meddle())

    asyncio.run(await_inside())
    ledger.vetoes.add("t2", at=T0)

    assert ledger.vetoes.task_ids() == {"t2"}
