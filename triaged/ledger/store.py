"""The database itself: opening it safely, its tables, transactions.

SQLite in WAL mode with ``synchronous=FULL``: what a transaction wrote is on the disk
when it ends.  Statements keep to what PostgreSQL also understands; moments are ISO
8601 texts in UTC of one length, so that they sort.
"""

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from triaged.errors import LedgerError

FILE: Final = "ledger.sqlite3"
_BUSY_SECONDS: Final = 10.0
_HEADER_BYTES: Final = 100
# "trgd" in ASCII: tells our file from anybody else's.
_APPLICATION_ID: Final = 0x74726764

# Each version's change to the one before; never edited once it was released.
_SCHEMA: Final = """
CREATE TABLE dismissal (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    cycle TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    outcome TEXT,
    settled_at TEXT,
    request_id TEXT,
    detail TEXT,
    rules_sha256 TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    task TEXT NOT NULL,
    trace BLOB NOT NULL
);
CREATE INDEX dismissal_by_task ON dismissal (workspace, task_id);
CREATE INDEX dismissal_by_time ON dismissal (workspace, decided_at);
CREATE INDEX dismissal_open ON dismissal (workspace)
    WHERE outcome IS NULL OR outcome = 'unknown';
CREATE TABLE decision (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    cause TEXT,
    rule TEXT,
    reason TEXT,
    observed TEXT NOT NULL,
    copies TEXT NOT NULL,
    rules_sha256 TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    task TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
CREATE TABLE ruleset (
    sha256 TEXT PRIMARY KEY,
    first_used_at TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE hold (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id, rule)
);
CREATE TABLE veto (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
CREATE TABLE mark (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    since TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (workspace, name)
);
CREATE TABLE observation (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id, rule)
);
CREATE TABLE tally (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    label2 TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (workspace, name, label, label2)
);
CREATE TABLE quota (
    workspace TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    state TEXT NOT NULL
);
"""
_WORDS: Final = """
CREATE TABLE word (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    word TEXT,
    asked INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
"""
_CHANGES: Final = (_SCHEMA, _WORDS)
VERSION: Final = len(_CHANGES)


def to_text(moment: datetime) -> str:
    """Write a moment as the ledger keeps it."""
    # strftime would write the year 999 with three digits.
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def from_text(text: str) -> datetime:
    """Read a moment as the ledger keeps it."""
    return datetime.fromisoformat(text)


class Store:
    """One open database file; every fault of it becomes a ``LedgerError``."""

    def __init__(self, directory: Path, *, create: bool = True) -> None:
        """Open the ledger of a state directory, or make a new one.

        Raises:
            LedgerError: it is missing (without ``create``), damaged, of a newer
                version, or cannot be written.
        """
        self.path = directory / FILE
        self._depth = 0
        if not self._is_there():
            if not create:
                raise LedgerError(str(self.path), "there is no ledger here yet")
            self._create(directory)
        self._connection = self._open()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is inside one durable step; the outermost one commits.

        It takes the write lock at once, so that what is read inside stays true.
        """
        if self._depth:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._depth = 0
            with contextlib.suppress(LedgerError):
                self.execute("ROLLBACK")
            raise
        self._depth = 0
        try:
            self.execute("COMMIT")
        except LedgerError:
            # A failed COMMIT (a full disk) leaves the transaction open.
            with contextlib.suppress(LedgerError):
                self.execute("ROLLBACK")
            raise

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run one statement and return how many rows it changed."""
        with self._translated():
            return self._connection.execute(statement, values).rowcount

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        with self._translated():
            self._connection.executemany(statement, rows)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Run a query and return all its rows."""
        with self._translated():
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Run a query and return its first row; None when there is none."""
        with self._translated():
            found: sqlite3.Row | None = self._connection.execute(
                statement, values
            ).fetchone()
        return found

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> LedgerError:
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError | sqlite3.IntegrityError
        )
        remedy = (
            "the file is damaged: restore a backup, or move it away to begin anew"
            if damaged
            else "nothing is dismissed until it can be written"
        )
        return LedgerError(str(self.path), str(error), remedy)

    def _is_there(self) -> bool:
        try:
            return self.path.exists()
        except OSError:
            # Making it will say what is wrong with the place.
            return False

    def _create(self, directory: Path) -> None:
        """Make the file under another name first: a file here is always whole."""
        # Not by process id: each container has a process 1.
        draft = directory / f".{FILE}.{uuid.uuid4().hex}"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            os.close(descriptor)
            with contextlib.closing(sqlite3.connect(draft)) as connection:
                connection.executescript(
                    f"PRAGMA application_id={_APPLICATION_ID};"
                    f"PRAGMA user_version={VERSION};{''.join(_CHANGES)}"
                )
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
            # link, unlike rename, never replaces what another process just made.
            with contextlib.suppress(FileExistsError):
                os.link(draft, self.path)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                str(self.path),
                f"cannot be made: {getattr(error, 'strerror', None) or error}",
                "give a writable TRIAGED_STATE_DIR",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()

    def _open(self) -> sqlite3.Connection:
        try:
            if self.path.stat().st_size < _HEADER_BYTES:
                # SQLite would take what is left of a file for a new database.
                raise sqlite3.DatabaseError("file is empty or cut off")
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=_BUSY_SECONDS,
            )
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from error
        try:
            self._check(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._error(error) from error
        except LedgerError:
            connection.close()
            raise
        connection.row_factory = sqlite3.Row
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise LedgerError(str(self.path), "is not a triaged ledger", "move it away")
        if not 0 < version <= VERSION:
            raise LedgerError(
                str(self.path),
                f"is of version {version}; this triaged knows version {VERSION}",
                "use the triaged that wrote it, or a newer one",
            )
        connection.execute("PRAGMA synchronous=FULL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if version < VERSION:
            _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring an older ledger up to date, whole or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while this one waited.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for change in _CHANGES[version:]:
            for statement in filter(str.strip, change.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
