"""The database: opening it safely, integrity checks and transactions.

SQLite runs in WAL mode with ``synchronous=FULL``: a committed transaction is on disk.
Statements use only SQL that PostgreSQL also supports. Timestamps are stored as ISO 8601
strings in UTC of equal length, so that they sort.
"""

import contextlib
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Row
from typing import Any, Final

from triaged.errors import LedgerBusy, LedgerError
from triaged.ledger.ownership import TransactionOwner
from triaged.ledger.schema import VERSION, migrate

FILE: Final = "ledger.sqlite3"
# Transactions are short; only a suspended process locks the file for longer.
BUSY_SECONDS: Final = 60.0
_HEADER_BYTES: Final = 100
_LAST_CHARACTER: Final = "\U0010ffff"
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
_NO_ACCESS: Final = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
}


def format_timestamp(moment: datetime) -> str:
    """Format a timestamp for storage in the ledger."""
    # strftime would write the year 999 with three digits.
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def utc_day(moment: datetime) -> tuple[str, str]:
    """Return the bounds of a timestamp's UTC day, in the format of the ledger.

    The upper bound is not a valid timestamp but sorts correctly: the last representable
    day has no next day.
    """
    day = format_timestamp(moment)[:10]
    return day, f"{day}~"


def parse_stored_timestamp(text: str) -> datetime:
    """Parse a timestamp stored in the ledger."""
    return datetime.fromisoformat(text)


class Database:
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
        self._busy_seconds = busy_seconds
        self._owner = TransactionOwner()
        if not self._is_there():
            self._reject_orphan_wal(directory / f"{FILE}-wal")
            if not create:
                raise LedgerError(str(self.path), "there is no ledger here yet")
            self._create(directory)
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
        self.verify()
        self.execute("BEGIN IMMEDIATE")
        self._owner.begin(workspace)
        try:
            yield
        except BaseException:
            self._owner.end()
            with contextlib.suppress(LedgerError):
                self.execute("ROLLBACK")
            raise
        self._owner.end()
        try:
            self.execute("COMMIT")
        except LedgerError:
            # A failed COMMIT (a full disk) leaves the transaction open.
            with contextlib.suppress(LedgerError):
                self.execute("ROLLBACK")
            raise

    def task_ids(
        self, tables: Sequence[str], workspace: str, prefix: str, *, limit: int
    ) -> list[str]:
        """Return the task ids with a prefix in these tables of ours, sorted."""
        found: set[str] = set()
        for table in tables:
            rows = self.rows(
                # A range uses the index, unlike SUBSTR; some callers look up many ids.
                f"SELECT DISTINCT task_id FROM {table} WHERE workspace = ?"  # noqa: S608 - a name of ours
                " AND task_id >= ? AND task_id < ? ORDER BY task_id LIMIT ?",
                (workspace, prefix, prefix + _LAST_CHARACTER, limit),
            )
            found.update(row["task_id"] for row in rows)
        return sorted(found)[:limit]

    def verify(self) -> None:
        """Check that the open file is still the one at the ledger's path.

        A file that was deleted or replaced while open can still be written, but other
        processes use another file: a veto or pause that they record would be missed
        here.

        Raises:
            LedgerError: the file was deleted or replaced.

        """
        if self._identify() != self._identity:
            raise LedgerError(
                str(self.path),
                "was deleted or replaced while it was in use",
                "check which file is the right one, then start again",
            )

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run one statement and return the number of changed rows."""
        with self._translate_errors():
            return self._connection.execute(statement, values).rowcount

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        with self._translate_errors():
            self._connection.executemany(statement, rows)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a query and return all its rows."""
        with self._translate_errors():
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        """Run a query and return its first row, or None."""
        with self._translate_errors():
            found: Row | None = self._connection.execute(statement, values).fetchone()
        return found

    @contextlib.contextmanager
    def decoding(self) -> Iterator[None]:
        """Raise errors from decoding an invalid row as a damaged ledger."""
        try:
            yield
        except (ValueError, LookupError, TypeError, zlib.error) as error:
            damage = sqlite3.DatabaseError(f"a row makes no sense: {error}")
            raise self._error(damage) from error

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        self._owner.check()
        try:
            yield
        except _SQLITE_ERRORS as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise LedgerBusy(str(self.path)) from error
            raise self._error(error) from error

    def _error(self, error: Exception) -> LedgerError:
        return LedgerError(str(self.path), str(error), _hint(error))

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
                    str(self.path),
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
                str(self.path),
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
            raise LedgerError(str(self.path), "is not a triaged ledger", "move it away")
        if not 0 < version <= VERSION:
            raise LedgerError(
                str(self.path),
                f"is of version {version}; this triaged knows version {VERSION}",
                "use the triaged that wrote it, or a newer one",
            )
        (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        return int(version)


def _hint(error: Exception) -> str:
    """Return advice on an error: about the file, the directory, or a busy database."""
    code = getattr(error, "sqlite_errorcode", None)
    if _is_damage(error, code):
        return (
            "the file is damaged: move it away, with its -wal, and restore a backup or"
            " start with an empty one"
        )
    if code is not None and code & 0xFF in _NO_ACCESS:
        return "give a writable TRIAGED_STATE_DIR"
    return "nothing is dismissed until it can be written"


def _is_damage(error: Exception, code: int | None) -> bool:
    if code is None:
        return isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError)
    return code & 0xFF in _CORRUPTION
