"""Tests of the database file: opening, refusing, transactions, two processes."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.errors import LedgerError
from triaged.ledger import Ledger
from triaged.ledger.database import (
    format_timestamp,
    parse_stored_timestamp,
)
from triaged.ledger.location import FILE
from triaged.ledger.schema import VERSION
from triaged.ledger.sqlite import SqliteDatabase

INSERT = "INSERT INTO veto (workspace, task_id, since) VALUES ('w', ?, 'now')"
DAMAGED = (
    "the file is damaged: move it away, with its -wal,"
    " and restore a backup or start with an empty one"
)

# Each process adds its own 200 rows, each in a transaction that reads first.
BUSY_WRITER = """
import sys
from pathlib import Path
from triaged.ledger.sqlite import SqliteDatabase
store = SqliteDatabase(Path(sys.argv[1]))
for n in range(200):
    with store.transaction("w"):
        count = store.row("SELECT COUNT(*) AS n FROM veto")["n"]
        store.execute(sys.argv[2], (f"{count}",))
"""


@pytest.fixture
def store(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path)


def vetoes(store: SqliteDatabase) -> list[str]:
    return [row["task_id"] for row in store.rows("SELECT task_id FROM veto")]


def write(
    store: SqliteDatabase, *task_ids: str, error: BaseException | None = None
) -> None:
    """Write rows in one transaction, and break it off at its end if told to."""
    with store.transaction("w"):
        for task_id in task_ids:
            store.execute(INSERT, (task_id,))
        if error is not None:
            raise error


def refusal(directory: Path) -> LedgerError:
    """Return why the ledger of a directory cannot be opened."""
    with pytest.raises(LedgerError) as raised:
        SqliteDatabase(directory)
    return raised.value


def test_a_ledger_is_made_where_there_is_none(tmp_path: Path) -> None:
    """The state directory and the file come into being, for the owner's eyes only."""
    directory = tmp_path / "deep" / "state"
    with Ledger.open(directory) as ledger:
        path = Path(ledger.location)

    assert path == directory / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in directory.iterdir()] == [FILE]


def test_a_ledger_is_opened_again(tmp_path: Path) -> None:
    """What was written is there after closing and opening."""
    with Ledger.open(tmp_path) as ledger:
        ledger.vetoes.add("task-1", at=T0)
    with Ledger.open(tmp_path, create=False) as ledger:
        vetoed = ledger.vetoes.task_ids()

    assert vetoed == {"task-1"}


def test_no_ledger_is_made_for_who_only_reads(tmp_path: Path) -> None:
    """Without leave to create, a missing ledger is an error and stays missing."""
    with pytest.raises(LedgerError, match="there is no ledger here yet"):
        Ledger.open(tmp_path, create=False)

    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_on_the_disk(store: SqliteDatabase) -> None:
    """WAL with full synchronisation: a transaction that ended survives a power cut."""
    journal = store.row("PRAGMA journal_mode")
    synchronous = store.row("PRAGMA synchronous")
    assert journal is not None
    assert synchronous is not None

    assert tuple(journal) == ("wal",)
    assert tuple(synchronous) == (2,)


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"not a database " * 999])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty or overwritten file is never taken for a fresh ledger, nor touched."""
    path = tmp_path / FILE
    path.write_bytes(content)
    error = refusal(tmp_path)

    assert (error.path, error.hint) == (str(path), DAMAGED)
    assert path.read_bytes() == content


@pytest.mark.parametrize("kept", [1, 100, 4096, 20_000])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    """A ledger that lost its end is refused at start, not in the middle of a cycle."""
    SqliteDatabase(tmp_path).close()
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:kept])

    assert refusal(tmp_path).hint == DAMAGED


def test_a_page_gone_bad_is_refused(tmp_path: Path) -> None:
    """Bytes that a disk made up are found by the check at start."""
    SqliteDatabase(tmp_path).close()
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    content[8192:12_288] = b"\xff" * 4096
    path.write_bytes(content)

    assert refusal(tmp_path).hint == DAMAGED


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A database that is not ours is left alone."""
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("CREATE TABLE t (x)")

    assert refusal(tmp_path).problem == "is not a triaged ledger"


@pytest.mark.parametrize("version", [-1, 0, VERSION + 1])
def test_another_version_is_refused(tmp_path: Path, version: int) -> None:
    """A ledger of another version is named, and not guessed at."""
    SqliteDatabase(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute(f"PRAGMA user_version={version}")
    error = refusal(tmp_path)

    assert error.problem == (
        f"is of version {version}; this triaged knows version {VERSION}"
    )
    assert error.hint == "use the triaged that wrote it, or a newer one"


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    """Something that is no file at all is an error like any other."""
    (tmp_path / FILE).mkdir()

    assert refusal(tmp_path).problem == "is no file"


def test_a_ledger_nobody_may_look_for(tmp_path: Path) -> None:
    """A place that cannot even be looked at holds no ledger for a reader."""
    with pytest.raises(LedgerError, match="there is no ledger here yet"):
        SqliteDatabase(_too_long(tmp_path), create=False)


def _under_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "state"


def _too_long(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 300)


def _never_writable(_: Path) -> Path:
    return Path("/proc/triaged")


@pytest.mark.parametrize("place", [_under_a_file, _too_long, _never_writable])
def test_a_directory_that_cannot_be_written(tmp_path: Path, place: object) -> None:
    """Where no ledger can be made, the way out is named."""
    assert callable(place)
    error = refusal(place(tmp_path))

    assert error.problem.startswith("cannot be made: ")
    assert error.hint == "give a writable TRIAGED_STATE_DIR"


def test_a_draft_left_by_a_crash_is_no_hindrance(tmp_path: Path) -> None:
    """Another process 1, killed while it made the file, stops nobody."""
    (tmp_path / f".{FILE}.{os.getpid()}").touch()
    SqliteDatabase(tmp_path).close()

    assert (tmp_path / FILE).is_file()


def test_a_transaction_is_all_or_nothing(store: SqliteDatabase) -> None:
    """What fails half-way leaves nothing behind, and the next one works."""
    with pytest.raises(KeyboardInterrupt):
        write(store, "a", error=KeyboardInterrupt())
    write(store, "b")

    assert vetoes(store) == ["b"]


def test_inner_transactions_belong_to_the_outermost(store: SqliteDatabase) -> None:
    """Nothing is kept of an inner transaction whose outer one fails."""

    def nest() -> None:
        with store.transaction("w"):
            write(store, "a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nest()

    assert vetoes(store) == []


def test_a_statement_that_fails_is_a_ledger_error(store: SqliteDatabase) -> None:
    """SQLite's faults are translated, and say that nothing is dismissed."""
    write(store, "a")
    with pytest.raises(LedgerError) as raised:
        write(store, "a")

    assert "UNIQUE" in raised.value.problem
    assert raised.value.hint == "nothing is dismissed until it can be written"
    assert str(raised.value).startswith(str(store.path))


def test_a_commit_that_fails_leaves_no_transaction_open(store: SqliteDatabase) -> None:
    """After a failed COMMIT nothing is kept, and the next transaction works."""
    store.rows("PRAGMA foreign_keys=ON")
    store.rows("CREATE TABLE p (id INTEGER PRIMARY KEY)")
    store.rows("CREATE TABLE c (id REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)")

    def break_a_promise() -> None:
        with store.transaction("w"):
            write(store, "a")
            store.execute("INSERT INTO c VALUES (1)")

    with pytest.raises(LedgerError):
        break_a_promise()
    write(store, "b")

    assert vetoes(store) == ["b"]


def test_a_full_disk_is_a_ledger_error(store: SqliteDatabase) -> None:
    """When the file cannot grow, what did not fit is not half there."""
    pages = store.row("PRAGMA page_count")
    assert pages is not None
    store.rows(f"PRAGMA max_page_count={pages[0]}")
    with pytest.raises(LedgerError, match="full"):
        write(store, *(f"{n}" * 100 for n in range(1000)))

    assert vetoes(store) == []


def test_two_processes_write_one_ledger(tmp_path: Path) -> None:
    """Read-and-write steps of two processes, from the making on, never collide."""
    writers = [
        subprocess.Popen([sys.executable, "-c", BUSY_WRITER, str(tmp_path), INSERT])
        for _ in range(2)
    ]
    codes = [writer.wait(60) for writer in writers]

    assert codes == [0, 0]
    assert sorted(map(int, vetoes(SqliteDatabase(tmp_path)))) == list(range(400))


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_keep_their_value(moment: datetime) -> None:
    """Whatever moment goes in comes out."""
    assert parse_stored_timestamp(format_timestamp(moment)) == moment


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2, max_size=2))
def test_moments_sort_as_text(moments: list[datetime]) -> None:
    """Texts of moments are ordered as the moments are."""
    assert sorted(map(format_timestamp, moments)) == list(
        map(format_timestamp, sorted(moments))
    )


def test_moments_are_kept_in_utc() -> None:
    """A moment of another time zone is written in UTC."""
    moment = T0.astimezone(timezone(timedelta(hours=5)))

    assert format_timestamp(moment) == "2026-03-01T00:00:00.000000Z"
