"""Backs up a ledger: copies are consistent, verified, and readable by the owner only.

SQLite's online backup works page by page while a daemon keeps writing; the copy is a
snapshot of the ledger at one time.
"""

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triaged.errors import LedgerError, os_reason
from triaged.ledger.location import FILE
from triaged.ledger.schema import VERSION, migrate
from triaged.ledger.sqlite import APPLICATION_ID

_BUSY_SECONDS: Final = 60.0
_DAMAGED: Final = "make another backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verified ledger file contains."""

    version: int
    dismissals: int
    last_decided_at: str | None


def back_up(directory: Path, target: Path, *, overwrite: bool) -> Verified:
    """Copy the ledger of a state directory and verify the copy.

    Raises:
        LedgerError: there is no ledger, the target exists, or the copy is damaged.

    """
    source = directory / FILE
    if not source.is_file():
        raise LedgerError(str(source), "there is no ledger here yet")
    if not overwrite and (target.exists() or target.is_symlink()):
        raise LedgerError(str(target), "exists already", "--overwrite replaces it")
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(source, draft)
        found = verify(draft)
        if overwrite:
            draft.replace(target)
        else:
            # Unlike rename, link never replaces a file that another process just
            # created.
            os.link(draft, target)
        _sync_directory(target.parent)
    except OSError as error:
        why = f"cannot be written: {os_reason(error)}"
        raise LedgerError(str(target), why) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return found


def verify(path: Path) -> Verified:
    """Check that a file is an undamaged ledger that this version can open.

    Raises:
        LedgerError: it is not; the message tells what is wrong.
    """
    if not path.is_file():
        raise LedgerError(str(path), "there is no such file")
    # Immutable: SQLite then neither writes to the copy nor creates files beside it.
    with _opened(path, "mode=ro&immutable=1") as connection, _translated(path):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise LedgerError(str(path), "is not a triaged ledger")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not 0 < version <= VERSION:
            raise LedgerError(
                str(path), f"is of version {version}; this triaged reads {VERSION}"
            )
        (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok":
            raise LedgerError(str(path), f"is damaged: {problem}", _DAMAGED)
        _check_schema(path, connection, version)
        number, last = connection.execute(
            "SELECT COUNT(*), MAX(decided_at) FROM dismissal"
        ).fetchone()
    return Verified(version=version, dismissals=number, last_decided_at=last)


def _copy(source: Path, draft: Path) -> None:
    with (
        _opened(source, "mode=ro") as original,
        _opened(draft, "mode=rw") as copy,
        _translated(source),
    ):
        original.backup(copy)
        # Makes the copy a single file, without a write-ahead log.
        copy.execute("PRAGMA journal_mode=DELETE").fetchone()


def _check_schema(path: Path, connection: sqlite3.Connection, version: int) -> None:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh, target=version)
        expected = _columns(fresh)
    missing = [
        f"{table}.{column}" for table, column in sorted(expected - _columns(connection))
    ]
    if missing:
        raise LedgerError(str(path), f"lacks {', '.join(missing)}", _DAMAGED)


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(
        connection.execute(
            "SELECT m.name, c.name FROM sqlite_master m"
            " JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
        )
    )


@contextlib.contextmanager
def _opened(path: Path, options: str) -> Iterator[sqlite3.Connection]:
    with (
        _translated(path),
        contextlib.closing(
            sqlite3.connect(
                f"{path.absolute().as_uri()}?{options}", uri=True, timeout=_BUSY_SECONDS
            )
        ) as connection,
    ):
        yield connection


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerError(str(path), f"cannot be read: {error}", _DAMAGED) from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
