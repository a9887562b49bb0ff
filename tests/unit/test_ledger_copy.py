"""Tests of copying a ledger from one store to the other."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import T0, a_task, an_intent
from tests.postgres import PostgresServer
from triaged.clock import SystemClock
from triaged.errors import AlreadyRunning, LedgerError
from triaged.ledger import Ledger
from triaged.ledger.copying import copy_ledger
from triaged.ledger.daemons import RegisteredDaemon
from triaged.ledger.location import LedgerLocation
from triaged.ledger.locks import FileDaemonLock
from triaged.ledger.opening import open_database
from triaged.ledger.postgres import PostgresDatabase
from triaged.ledger.schema import table_shapes

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def sqlite(tmp_path: Path) -> LedgerLocation:
    return LedgerLocation(tmp_path / "state")


@pytest.fixture
def database(postgres: PostgresServer, tmp_path: Path) -> LedgerLocation:
    return LedgerLocation(tmp_path, postgres.empty_ledger())


@pytest.fixture
def full(sqlite: LedgerLocation) -> LedgerLocation:
    """Fill a file with the rows of two workspaces."""
    for workspace in ("a", "b"):
        with Ledger.open(sqlite, workspace=workspace) as ledger:
            ledger.bind("https://api.example", at=T0)
            for number in range(3):
                intent = an_intent(
                    task=a_task(id=f"t{number}", description="Müller \U0001f600\0")
                )
                ledger.dismissals.record_intent(intent)
            ledger.counters.increment("observed", "r", by=2**40)
            ledger.vetoes.add("t1", at=T0, by="a\0b")
    return sqlite


def contents(place: LedgerLocation) -> dict[str, list[list[Any]]]:
    """Return all rows of a ledger."""
    with closing(open_database(place, create=False)) as opened:
        found = {}
        for table, shape in table_shapes().items():
            rows = opened.rows(
                f"SELECT * FROM {table} ORDER BY {', '.join(shape.key)}"  # noqa: S608 - names of ours
            )
            found[table] = [[row[name] for name in shape.columns] for row in rows]
        return found


def test_there_and_back_again(
    full: LedgerLocation, database: LedgerLocation, tmp_path: Path
) -> None:
    """All rows of all workspaces arrive as they are, and come back as they were."""
    back = LedgerLocation(tmp_path / "back")
    there = copy_ledger(full, database, now=NOW)
    home = copy_ledger(database, back, now=NOW)

    assert there == home
    assert (there.rows["dismissal"], there.rows["workspace"]) == (6, 2)
    assert contents(database) == contents(full) == contents(back)


def test_a_copy_is_a_ledger_in_use(
    full: LedgerLocation, database: LedgerLocation
) -> None:
    """A daemon goes on where the other one ended."""
    copy_ledger(full, database, now=NOW)
    with Ledger.open_existing(database, workspace="b") as ledger:
        unresolved = ledger.dismissals.unresolved_task_ids()
        ledger.counters.increment("observed", "r")

        assert unresolved == {"t0", "t1", "t2"}
        assert ledger.counters.values("observed") == {("r", ""): 2**40 + 1}


@pytest.mark.parametrize("is_filled_by", ["a veto", "a copy"])
def test_rows_are_never_merged(
    full: LedgerLocation, database: LedgerLocation, is_filled_by: str
) -> None:
    """A target with a single row is refused and stays as it is."""
    if is_filled_by == "a veto":
        with Ledger.open(database, workspace="z") as ledger:
            ledger.vetoes.add("t1", at=T0)
    else:
        copy_ledger(full, database, now=NOW)
    before = contents(database)
    with pytest.raises(LedgerError, match="is not empty: it has rows in"):
        copy_ledger(full, database, now=NOW)

    assert contents(database) == before


def test_a_copy_that_fails_leaves_nothing(
    full: LedgerLocation, postgres: PostgresServer, tmp_path: Path
) -> None:
    """A row that comes back different, here by a trigger, takes all others with it."""
    name = postgres.new_database()
    database = LedgerLocation(tmp_path, postgres.url(name))
    postgres.run(
        "CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.task_id := 'forged'; RETURN NEW; END $$;"
        " CREATE TRIGGER forge BEFORE INSERT ON triaged.veto"
        " FOR EACH ROW WHEN (NEW.workspace = 'b') EXECUTE FUNCTION forge()",
        database=name,
    )
    with pytest.raises(LedgerError, match="a row of veto was read back different"):
        copy_ledger(full, database, now=NOW)

    assert not any(contents(database).values())


def test_no_daemon_writes_meanwhile(
    full: LedgerLocation, database: LedgerLocation
) -> None:
    """What it wrote during a copy would be lost: it has to be stopped, on each side."""
    assert database.url is not None
    with FileDaemonLock(full.directory), pytest.raises(AlreadyRunning):
        copy_ledger(full, database, now=NOW)
    daemon = RegisteredDaemon(
        database.url, lambda url, _: PostgresDatabase(url), workspace="a", since=NOW
    )
    with daemon, pytest.raises(AlreadyRunning, match="is held by process"):
        copy_ledger(full, database, now=NOW)

    assert copy_ledger(full, database, now=NOW).total > 0


@pytest.mark.anyio
async def test_no_command_dismisses_meanwhile(
    full: LedgerLocation, database: LedgerLocation
) -> None:
    """An intent that `apply` records during a copy would be lost, too."""
    for place in (full, database):
        with Ledger.open(place) as ledger:
            async with ledger.dispatch_lock(SystemClock()).acquired():
                with pytest.raises(AlreadyRunning, match="is held by"):
                    copy_ledger(full, database, now=NOW)

    assert copy_ledger(full, database, now=NOW).total > 0


def test_a_missing_source_is_not_made(
    sqlite: LedgerLocation, database: LedgerLocation
) -> None:
    """A mistyped directory is an error, not an empty ledger that was copied."""
    with pytest.raises(LedgerError, match="there is no ledger here yet"):
        copy_ledger(sqlite, database, now=NOW)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=40), st.binary(max_size=99))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_survives(
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
    vetoes: dict[str, str],
    trace: bytes,
) -> None:
    """Any text and any bytes come back, in the order of the keys; NUL is replaced."""
    directory = tmp_path_factory.mktemp("copy")
    source, back = LedgerLocation(directory / "a"), LedgerLocation(directory / "b")
    database = LedgerLocation(directory, postgres.empty_ledger())
    with Ledger.open(source) as ledger, ledger.transaction():
        for task_id, author in vetoes.items():
            ledger.vetoes.add(task_id, at=T0, by=author)
        entry = ledger.dismissals.record_intent(an_intent())
    with closing(open_database(source)) as opened, opened.transaction("default"):
        opened.execute("UPDATE dismissal SET trace = ? WHERE id = ?", (trace, entry))
    copy_ledger(source, database, now=NOW)
    copy_ledger(database, back, now=NOW)

    assert contents(database) == contents(source) == contents(back)
