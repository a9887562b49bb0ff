"""The ledger in a SQLite file: opening it safely, integrity checks, transactions.

SQLite runs in WAL mode with ``synchronous=FULL``: a committed transaction is on disk.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from sqlite3 import Row
from typing import Any, Final

from triaged.errors import LedgerBusy, LedgerError
from triaged.ledger.database import BUSY_SECONDS, decoding_rows, storable
from triaged.ledger.location import FILE
from triaged.ledger.ownership import TransactionOwner
from triaged.ledger.privacy import make_private
from triaged.ledger.schema import VERSION, migrate

_HEADER_BYTES: Final = 100
# "trgd" in ASCII: identifies a ledger file of this program.
APPLICATION_ID: Final = 0x74726764

# Invalid UTF-8, even in an error message, raises UnicodeDecodeError instead.
_SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
# The statements are correct, so a file that rejects them has other tables.
_CORRUPTION: Final = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}
_DAMAGED: Final = (
    "the file is damaged: move it away, with its -wal, and restore a backup or"
    " start with an empty one"
)
_NO_ACCESS: Final = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
}


class SqliteDatabase:
    """An open database file; all of its errors are raised as ``LedgerError``."""

    def __init__(
        self,
        directory: Path,
        *,
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """Open the ledger of a state directory, or create a new one.

        Raises:
            LedgerError: it is missing (without ``create``), damaged, of a newer
                version, or cannot be written.

        """
        self.path = directory / FILE
        self.location = str(self.path)
        self._busy_seconds = busy_seconds
        self._owner = TransactionOwner()
        if not self._is_there():
            self._reject_orphan_wal(directory / f"{FILE}-wal")
            if not create:
                raise LedgerError(self.location, "there is no ledger here yet")
            self._create(directory)
        make_private(directory)
        self._connection = self._open()
        self._identity = self._identify()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self, workspace: str) -> Iterator[None]:
        """Run the body in one durable transaction; the outermost one commits.

        The write lock is acquired at the start, so that data read inside cannot change.
        The body must not await, and nested transactions are of the same workspace.

        Raises:
            TransactionMisused: one of another workspace or another task is open.

        """
        if self._owner.is_joined_by(workspace):
            yield
            return
        self.verify(workspace)
        self._run("BEGIN IMMEDIATE")
        self._owner.begin(workspace)
        try:
            yield
        except BaseException:
            self._owner.end()
            with contextlib.suppress(LedgerError):
                self._run("ROLLBACK")
            raise
        self._owner.end()
        try:
            self._run("COMMIT")
        except LedgerError:
            # A failed COMMIT (a full disk) leaves the transaction open.
            with contextlib.suppress(LedgerError):
                self._run("ROLLBACK")
            raise

    def exclusive(self) -> AbstractContextManager[None]:
        """Run the body in one transaction; SQLite has one writer at a time anyway."""
        return self.transaction("")

    def verify(self, workspace: str) -> None:
        """Check that the open file is still the one at the ledger's path.

        A file that was deleted or replaced while open can still be written, but other
        processes use another file: a veto or pause that they record would be missed
        here.

        Raises:
            LedgerError: the file was deleted or replaced.

        """
        del workspace  # the file is the same for all
        if self._identify() != self._identity:
            raise LedgerError(
                self.location,
                "was deleted or replaced while it was in use",
                "check which file is the right one, then start again",
            )

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        self._owner.check_open()
        return self._run(statement, values).rowcount

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._owner.check_open()
        with self._translate_errors():
            self._connection.executemany(statement, map(storable, rows))

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._translate_errors():
            return self._run(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        with self._translate_errors():
            found: Row | None = self._run(statement, values).fetchone()
        return found

    def decoding(self) -> AbstractContextManager[None]:
        return decoding_rows(self.location, _DAMAGED)

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with self._translate_errors():
            return self._connection.execute(statement, storable(values))

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        self._owner.check()
        try:
            yield
        except _SQLITE_ERRORS as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise LedgerBusy(self.location) from error
            raise self._error(error) from error

    def _error(self, error: Exception) -> LedgerError:
        return LedgerError(self.location, str(error), _hint(error))

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _is_there(self) -> bool:
        try:
            return self.path.exists()
        except OSError:
            # Creating the file will report what is wrong with the directory.
            return False

    def _reject_orphan_wal(self, log: Path) -> None:
        """Reject a log without its database: SQLite would apply it to any file."""
        with contextlib.suppress(OSError):
            if log.stat().st_size:
                raise LedgerError(
                    self.location,
                    f"is gone, and its {log.name} is not",
                    "put it back, or move that away too to start with an empty ledger",
                )

    def _create(self, directory: Path) -> None:
        """Create the ledger under a temporary name, then move the complete file."""
        # Random instead of the process id, since every container has a process 1.
        draft = directory / f".{FILE}.{os.urandom(16).hex()}"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            os.close(descriptor)
            with contextlib.closing(sqlite3.connect(draft)) as connection:
                connection.isolation_level = None
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                migrate(connection)
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
            # link, unlike rename, never replaces what another process just made.
            with contextlib.suppress(FileExistsError):
                os.link(draft, self.path)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                self.location,
                f"cannot be made: {getattr(error, 'strerror', None) or error}",
                "give a writable TRIAGED_STATE_DIR",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()

    def _open(self) -> sqlite3.Connection:
        # A writable connection changes a damaged file when it closes: check read-only
        # first.
        with (
            contextlib.closing(self._connect("ro")) as connection,
            self._translate_errors(),
        ):
            version = self._check(connection)
        connection = self._connect("rw")
        try:
            with self._translate_errors():
                connection.execute("PRAGMA synchronous=FULL")
                if version < VERSION:
                    migrate(connection)
        except LedgerError:
            connection.close()
            raise
        connection.row_factory = Row
        return connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        try:
            status = self.path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise sqlite3.DatabaseError("is no file")
            if status.st_size < _HEADER_BYTES:
                # SQLite would treat a truncated file as a new database.
                raise sqlite3.DatabaseError("file is empty or cut off")
            return sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                isolation_level=None,
                timeout=self._busy_seconds,
            )
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from error

    def _check(self, connection: sqlite3.Connection) -> int:
        """Return the version; raise unless it is an undamaged, known ledger."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise LedgerError(self.location, "is not a triaged ledger", "move it away")
        if not 0 < version <= VERSION:
            raise LedgerError(
                self.location,
                f"is of version {version}; this triaged knows version {VERSION}",
                "use the triaged that wrote it, or a newer one",
            )
        (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        return int(version)


class ReadOnlySqliteDatabase(SqliteDatabase):
    """A read-only connection to a ledger, for use in one thread."""

    def __init__(self, directory: Path) -> None:
        """Open the ledger of a state directory.

        Raises:
            LedgerError: it cannot be opened.
        """
        self.path = directory / FILE
        self.location = str(self.path)
        self._busy_seconds = BUSY_SECONDS
        self._owner = TransactionOwner()
        self._connection = self._connect("ro")
        self._connection.row_factory = Row


def _hint(error: Exception) -> str:
    """Return advice on an error: about the file, the directory, or a busy database."""
    code = getattr(error, "sqlite_errorcode", None)
    if _is_damage(error, code):
        return _DAMAGED
    if code is not None and code & 0xFF in _NO_ACCESS:
        return "give a writable TRIAGED_STATE_DIR"
    return "nothing is dismissed until it can be written"


def _is_damage(error: Exception, code: int | None) -> bool:
    if code is None:
        return isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError)
    return code & 0xFF in _CORRUPTION
