"""Tests of damaged ledgers: what is left of them stays as it is."""

import shutil
from pathlib import Path

import pytest

from tests.builders import T0, a_task
from triaged.errors import LedgerError
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Intent, Source
from triaged.ledger.location import FILE
from triaged.ledger.sqlite import SqliteDatabase

WAL = f"{FILE}-wal"
DAMAGED = "the file is damaged: "
INTENT = Intent(
    task=a_task(),
    rule="clutter",
    reason="testing",
    source=Source.DAEMON,
    cycle="c",
    decided_at=T0,
    rules_sha256="0",
    trace="{}",
)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """Return the directory of a ledger whose program died before it tidied up."""
    with Ledger.open(tmp_path / "live") as ledger:
        ledger.vetoes.add("task-1", at=T0)
        directory = tmp_path / "crashed"
        directory.mkdir()
        for name in (FILE, WAL):
            shutil.copy(tmp_path / "live" / name, directory)
    return directory


def change(path: Path, old: bytes, new: bytes) -> None:
    """Change some bytes of a file, keeping its length."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def test_what_was_logged_is_there(crashed: Path) -> None:
    """A ledger is read with what had not been written back to it."""
    with Ledger.open(crashed) as ledger:
        vetoed = ledger.vetoes.task_ids()

    assert vetoed == {"task-1"}


def test_a_damaged_ledger_keeps_its_log(crashed: Path) -> None:
    """Refusing writes nothing back: whoever repairs it has all that was there."""
    path, log = crashed / FILE, crashed / WAL
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * 4096 + content[12_288:])
    before = path.read_bytes(), log.read_bytes()
    with pytest.raises(LedgerError) as raised:
        SqliteDatabase(crashed)

    assert raised.value.hint.startswith(DAMAGED)
    assert (path.read_bytes(), log.read_bytes()) == before


def test_a_log_without_its_ledger_is_refused(crashed: Path) -> None:
    """No new ledger is made beside an old one's log: SQLite would play it back."""
    (crashed / FILE).unlink()
    with pytest.raises(LedgerError) as raised:
        SqliteDatabase(crashed)

    assert raised.value.problem == f"is gone, and its {WAL} is not"
    assert (
        raised.value.hint
        == "put it back, or move that away too to start with an empty ledger"
    )
    assert [path.name for path in crashed.iterdir()] == [WAL]


def test_an_empty_log_is_no_hindrance(tmp_path: Path) -> None:
    """A log that holds nothing does not keep a new ledger from being made."""
    (tmp_path / WAL).touch()
    SqliteDatabase(tmp_path).close()

    assert (tmp_path / FILE).is_file()


@pytest.mark.parametrize("new", [b"CREATE T\xbbBLE veto", b"CREATE TUBLE veto"])
def test_tables_that_make_no_sense(tmp_path: Path, new: bytes) -> None:
    """A definition that cannot be read, or not even be told, is damage."""
    SqliteDatabase(tmp_path).close()
    change(tmp_path / FILE, b"CREATE TABLE veto", new)
    with pytest.raises(LedgerError) as raised:
        SqliteDatabase(tmp_path)

    assert raised.value.hint.startswith(DAMAGED)


def test_tables_of_another_shape(tmp_path: Path) -> None:
    """A statement that does not fit the tables is damage of the file."""
    SqliteDatabase(tmp_path).close()
    change(tmp_path / FILE, b"fingerprint", b"fingerprunt")
    with Ledger.open(tmp_path) as ledger, pytest.raises(LedgerError) as raised:
        ledger.holds.all()

    assert "no such column: fingerprint" in raised.value.problem
    assert raised.value.hint.startswith(DAMAGED)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """Where the ledger can be read and not written, another place is the way out."""
    store = SqliteDatabase(tmp_path)
    store.rows("PRAGMA query_only=ON")
    with pytest.raises(LedgerError, match="readonly") as raised:
        store.rows("DELETE FROM veto")

    assert raised.value.hint == "give a writable TRIAGED_STATE_DIR"


@pytest.mark.parametrize(
    ("old", "new"), [(b'{"id"', b'{"id{'), (b"2026-03-01T", b"2026-13-91T")]
)
def test_a_row_of_nonsense_is_damage(tmp_path: Path, old: bytes, new: bytes) -> None:
    """What SQLite takes for a row and we cannot read is said to be damage."""
    with Ledger.open(tmp_path) as ledger:
        ledger.dismissals.record_intent(INTENT)
    change(tmp_path / FILE, old, new)
    with Ledger.open(tmp_path) as ledger, pytest.raises(LedgerError) as raised:
        ledger.dismissals.unresolved()

    assert raised.value.hint.startswith(DAMAGED)
