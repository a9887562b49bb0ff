"""The rights on a state directory and its files: who else could read or change it."""

from pathlib import Path

import pytest

from triaged.errors import LedgerError
from triaged.ledger import Ledger
from triaged.ledger.location import FILE
from triaged.ledger.locks import FileDaemonLock
from triaged.ledger.privacy import make_private


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o777


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state directory with a ledger, as it was made."""
    directory = tmp_path / "state"
    Ledger.open(directory).close()
    return directory


@pytest.mark.parametrize("loose", [0o777, 0o1777, 0o755, 0o707, 0o770, 0o711])
def test_a_loose_directory_becomes_private(state: Path, loose: int) -> None:
    """Others could replace the ledger, and with it each veto."""
    state.chmod(loose)

    Ledger.open(state).close()

    assert mode(state) == 0o700


@pytest.mark.parametrize("loose", [0o666, 0o644, 0o660, 0o604, 0o602])
def test_loose_files_become_private(state: Path, loose: int) -> None:
    """Others could read the texts of tasks, or write what was decided."""
    lock = state / "daemon.lock"
    lock.touch()
    wal = state / f"{FILE}-wal"
    wal.touch()
    for path in (state / FILE, lock, wal):
        path.chmod(loose)

    make_private(state)

    assert [mode(path) for path in (state / FILE, lock, wal)] == [0o600] * 3


def test_a_group_may_be_given_the_right_to_read(state: Path) -> None:
    """Read rights of a group are set on purpose, for a monitor for example."""
    state.chmod(0o750)
    (state / FILE).chmod(0o640)

    Ledger.open(state).close()

    assert (mode(state), mode(state / FILE)) == (0o750, 0o640)


def test_other_files_and_links_are_left(state: Path, tmp_path: Path) -> None:
    """Nothing but the ledger's own files is touched, and no link is followed."""
    other = tmp_path / "other"
    other.touch(mode=0o600)
    other.chmod(0o666)
    (state / "linked.lock").symlink_to(other)
    (state / "notes").touch()
    (state / "notes").chmod(0o666)

    make_private(state)

    assert (mode(other), mode(state / "notes")) == (0o666, 0o666)


def test_a_link_in_place_of_a_lock_is_refused(state: Path, tmp_path: Path) -> None:
    """It would be followed to a file that others hold, or be written through."""
    target = tmp_path / "target"
    target.write_text("precious")
    (state / "daemon.lock").symlink_to(target)

    with pytest.raises(LedgerError, match="symbolic links"), FileDaemonLock(state):
        raise AssertionError

    assert target.read_text() == "precious"
