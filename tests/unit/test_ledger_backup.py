"""Copies of a ledger: consistent, private, and found out when they are not whole."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import T0
from triaged.errors import LedgerError
from triaged.ledger import Ledger
from triaged.ledger.backup import back_up, verify
from triaged.ledger.flags import FlagName


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    with Ledger.open(directory) as ledger:
        ledger.flags.set(FlagName.PAUSED, reason="audit", at=T0)
    return directory


def test_a_copy_is_a_whole_private_ledger(state: Path, tmp_path: Path) -> None:
    """It has everything that was committed, in one file that only its owner reads."""
    target = tmp_path / "copy.sqlite3"
    with Ledger.open(state) as ledger, ledger.transaction():
        ledger.flags.set(FlagName.BREAKER, reason="not committed", at=T0)
        made = back_up(state, target, overwrite=False)

    assert made == verify(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.sqlite3", "state"]
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    target.rename(restored / "ledger.sqlite3")
    with Ledger.open(restored) as ledger:
        assert ledger.flags.get(FlagName.PAUSED) is not None
        assert ledger.flags.get(FlagName.BREAKER) is None


def test_a_file_is_never_replaced_unasked(state: Path, tmp_path: Path) -> None:
    """An older backup, or a link to anything, stays what it is."""
    target = tmp_path / "copy"
    target.write_text("precious")
    with pytest.raises(LedgerError, match="exists already"):
        back_up(state, target, overwrite=False)

    assert target.read_text() == "precious"
    back_up(state, target, overwrite=True)
    assert verify(target).dismissals == 0


def test_without_a_ledger_there_is_no_backup(tmp_path: Path) -> None:
    """Nothing is created, neither the copy nor a ledger."""
    with pytest.raises(LedgerError, match="no ledger here"):
        back_up(tmp_path, tmp_path / "copy", overwrite=False)

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(state: Path, tmp_path: Path) -> None:
    """The error names the file that was to be written."""
    with pytest.raises(LedgerError, match="nowhere/copy: cannot be written"):
        back_up(state, tmp_path / "nowhere/copy", overwrite=False)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _overwrite_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:20480] = b"\xa5" * 12288
    path.write_bytes(content)


def _sql(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
            connection.commit()

    return change


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_cut, "malformed|damaged|lacks"),
        (_empty, "not a triaged ledger"),
        (_overwrite_pages, "malformed|damaged"),
        (_sql("PRAGMA application_id=7"), "not a triaged ledger"),
        (_sql("PRAGMA user_version=999"), "of version 999"),
        (_sql("DROP TABLE veto"), "lacks veto"),
        (_sql("ALTER TABLE dismissal DROP COLUMN detail"), "lacks dismissal.detail"),
        (Path.unlink, "no such file"),
    ],
)
def test_what_is_not_whole_is_found_out(
    state: Path, tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    """Cut, damaged, foreign, newer or incomplete: verifying fails and says which."""
    target = tmp_path / "copy"
    back_up(state, target, overwrite=False)
    damage(target)

    with pytest.raises(LedgerError, match=why):
        verify(target)
