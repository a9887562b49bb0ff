"""The ledger in PostgreSQL, which daemons on several machines may share.

Transactions of one workspace are serialised by a lock on the row of its lease, and
fenced by it: with a lease, the first statement of each transaction checks and renews
it. Nothing depends on the state of a session, so a transaction pooler may be used.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import psycopg
from psycopg import pq
from psycopg.rows import DictRow

from triaged.errors import LeaseLost, LedgerError, LedgerUnavailable
from triaged.ledger.answer_limit import AnswerLimit
from triaged.ledger.database import BUSY_SECONDS, decoding_rows, storable
from triaged.ledger.leases import Lease
from triaged.ledger.location import describe_url
from triaged.ledger.ownership import TransactionMisused, TransactionOwner
from triaged.ledger.postgres_connection import connect
from triaged.ledger.postgres_errors import NOT_WRITTEN, translate
from triaged.ledger.postgres_schema import TABLES, check_version

# A connection that cannot be made is not tried again sooner, since each try may wait
# for as long as the second number.
RECONNECT_SECONDS: Final = 5.0
# A process that is stopped inside a transaction must not block the others for longer.
IDLE_SECONDS: Final = 20.0
# All waits are in the event loop: for a lock, and beyond it for any answer at all.
LOCK_SECONDS: Final = 25.0
ANSWER_SECONDS: Final = 30.0
_DAMAGED: Final = "restore a backup of the database"

# One round trip. An answer to COMMIT must mean that the row is on disk, whatever the
# role or the database has as default; what is stricter stays.
_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),
    set_config('lock_timeout', %(busy)s, true),
    set_config('idle_in_transaction_session_timeout', %(idle)s, true);
"""
_LOCK: Final = "SELECT 1 FROM triaged.lease WHERE workspace = %(workspace)s FOR UPDATE"
# Lock, fence check and renewal in one; only the database's clock counts.
_HOLD: Final = """
UPDATE triaged.lease
SET until = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE workspace = %(workspace)s AND holder = %(holder)s AND fence = %(fence)s
    AND until > clock_timestamp()
RETURNING fence
"""
_OUTLASTS_A_CALL: Final = """
SELECT 1 FROM triaged.lease
WHERE workspace = %(workspace)s AND holder = %(holder)s AND fence = %(fence)s
    AND until > clock_timestamp() + %(call_seconds)s * interval '1 second'
"""
_LOCK_ALL: Final = "LOCK TABLE triaged.lease IN EXCLUSIVE MODE"
_ENROL: Final = (
    "INSERT INTO triaged.lease (workspace) VALUES (%s) ON CONFLICT DO NOTHING"
)
# Tables are named with their schema, so that no search path can put others in front.
_TABLE: Final = re.compile(
    rf"\b(FROM|INTO|UPDATE|JOIN)\s+({'|'.join((*TABLES, 'lease'))})\b"
)


T = TypeVar("T")


class PostgresDatabase:
    """An open ledger in PostgreSQL; it reconnects outside transactions."""

    def __init__(
        self,
        url: str,
        *,
        busy_seconds: float = BUSY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect, and check that the tables are of a version that this program knows.

        Raises:
            LedgerUnavailable: the server cannot be reached.
            LedgerError: it refuses the login, or the tables are missing or too new.

        """
        self.location = describe_url(url)
        self._url = url
        self._busy_seconds = min(busy_seconds, LOCK_SECONDS)
        self._idle_seconds = idle_seconds
        self._monotonic = monotonic
        self._owner = TransactionOwner()
        self._answer_limit = AnswerLimit(answer_seconds)
        self._leases: dict[str, Lease] = {}
        self._connection: psycopg.Connection[DictRow] | None = None
        self._down: tuple[float, LedgerUnavailable] | None = None
        self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._answer_limit.close()
        self._drop_connection()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def use_lease(self, lease: Lease) -> None:
        """Let each transaction of the lease's workspace check and renew it first."""
        self._leases[lease.workspace] = lease

    def has_lease(self, workspace: str) -> bool:
        """Return whether a lease of this workspace is in use here."""
        return workspace in self._leases

    def drop_lease(self, lease: Lease) -> None:
        """Stop using a lease, which has been given back or is lost."""
        if self._leases.get(lease.workspace) == lease:
            del self._leases[lease.workspace]

    @contextlib.contextmanager
    def transaction(self, workspace: str) -> Iterator[None]:
        """Run the body in one durable transaction; the outermost one commits.

        The row of the workspace's lease is locked first, so that data read inside
        cannot change. The body must not await.

        Raises:
            TransactionMisused: one of another workspace or another task is open.
            LeaseLost: the lease in use has ended; nothing was written.
            LedgerUnavailable: the connection is lost, or the answer to COMMIT is: then
                the transaction counts as not written, and the caller sends nothing.

        """
        if self._owner.is_joined_by(workspace):
            yield
            return
        with self._begun(workspace, lambda: self._begin(workspace)):
            yield

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Run the body in one transaction while no other of any workspace can begin.

        Each of them locks a row of the leases, so one lock on the table excludes all.

        Raises:
            TransactionMisused: a transaction is open.
            LedgerError: the lock is not to be had, or the transaction failed.

        """
        if self._owner.is_joined_by(""):
            raise TransactionMisused("an exclusive transaction cannot be nested")
        values = self._limits()
        begin = partial(self._outside, lambda: self._send(_BEGIN + _LOCK_ALL, values))
        with self._begun("", begin):
            yield

    @contextlib.contextmanager
    def _begun(self, workspace: str, begin: Callable[[], object]) -> Iterator[None]:
        """Begin, run the body, and commit; an error in any of these rolls back."""
        try:
            begin()
            self._owner.begin(workspace)
            yield
            self._commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._owner.end()

    def verify(self, workspace: str) -> None:
        """Check, with a lease in use, that it outlasts the longest call.

        Raises:
            LeaseLost: another process may take over while a call is on its way.
            LedgerUnavailable: the database cannot be asked.

        """
        lease = self._leases.get(workspace)
        if lease is None:
            return
        if self.statement(_OUTLASTS_A_CALL, lease.to_values()).fetchone() is None:
            raise LeaseLost(self.location, workspace)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        self._owner.check_open()
        return self._run(statement, values).rowcount

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._owner.check_open()
        with self._translate_errors():
            cursor = self._connected().cursor()
            cursor.executemany(_translated(statement), [*map(storable, rows)])

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[DictRow]:
        return self._outside(lambda: self._run(statement, values).fetchall())

    def row(self, statement: str, values: Sequence[Any] = ()) -> DictRow | None:
        return self._outside(lambda: self._run(statement, values).fetchone())

    def decoding(self) -> AbstractContextManager[None]:
        return decoding_rows(self.location, _DAMAGED)

    def statement(
        self, text: str, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> psycopg.Cursor[DictRow]:
        """Run one statement in PostgreSQL's own form, for leases and daemons.

        It commits by itself, and is repeated once on a new connection if the old one
        turns out to be lost: use it where twice is the same as once.

        """
        return self._outside(lambda: self._run_native(text.encode(), values))

    def _begin(self, workspace: str) -> None:
        lease = self._leases.get(workspace)
        values = self._limits() | {"workspace": workspace}
        if lease is not None:
            values |= lease.to_values()
        is_locked = self._outside(lambda: self._lock(lease is not None, values))
        if not is_locked:
            self._refuse_without(lease)
            self._run_native(_ENROL.encode(), (workspace,))
            self._run_native(_LOCK.encode(), values)

    def _refuse_without(self, lease: Lease | None) -> None:
        """Raise if a lease was to be locked, and is no longer there."""
        if lease is not None:
            raise LeaseLost(self.location, lease.workspace)

    def _lock(self, has_lease: bool, values: dict[str, Any]) -> bool:  # noqa: FBT001 - private
        """Begin, and lock the workspace's row; return whether there is one."""
        text = _BEGIN + (_HOLD if has_lease else _LOCK)
        return self._send(text, values).fetchone() is not None

    def _send(self, text: str, values: dict[str, Any]) -> psycopg.Cursor[DictRow]:
        """Run several statements in one round trip; return the cursor at the last."""
        with self._translate_errors():
            # Bound by the client: only so may one request hold several statements.
            cursor = psycopg.ClientCursor(self._connected())
            cursor.execute(text.encode(), values)
            while cursor.nextset():
                pass
            return cursor

    def _limits(self) -> dict[str, Any]:
        return {
            "busy": f"{int(self._busy_seconds * 1000)}ms",
            "idle": f"{int(self._idle_seconds * 1000)}ms",
        }

    def _commit(self) -> None:
        try:
            done = self._run_native(b"COMMIT", ())
        except LedgerUnavailable as error:
            raise LedgerUnavailable(
                self.location,
                f"no answer to COMMIT ({error.problem}), so it counts as not written",
                error.hint,
            ) from error
        if done.statusmessage != "COMMIT":
            # The server rolled back: a statement had failed, and its error was lost.
            raise LedgerError(
                self.location, "a statement of the transaction had failed", NOT_WRITTEN
            )

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if connection.info.transaction_status == pq.TransactionStatus.IDLE:
            return
        try:
            connection.execute(b"ROLLBACK")
        except psycopg.Error:
            # What cannot be rolled back must not be joined: the server does the rest.
            self._drop_connection()

    def _run(self, statement: str, values: Sequence[Any]) -> psycopg.Cursor[DictRow]:
        return self._run_native(_translated(statement), storable(values))

    def _run_native(
        self, text: bytes, values: Sequence[Any] | Mapping[str, Any]
    ) -> psycopg.Cursor[DictRow]:
        with self._translate_errors():
            return self._connected().execute(text, values)

    def _outside(self, step: Callable[[], T]) -> T:
        """Run a step, and outside a transaction once more if the connection was lost.

        The server may have been restarted since the last statement.
        """
        may_repeat = self._is_connected() and not self._owner.is_open
        try:
            return step()
        except LedgerUnavailable:
            if not may_repeat or self._is_connected():
                raise
            return step()

    def _is_connected(self) -> bool:
        return self._connection is not None

    def _connected(self) -> psycopg.Connection[DictRow]:
        """Return the connection; outside a transaction, a lost one is made again."""
        if self._connection is not None:
            return self._connection
        if self._owner.is_open:
            raise LedgerUnavailable(
                self.location, "the connection was lost in a transaction"
            )
        return self._connect()

    def _connect(self) -> psycopg.Connection[DictRow]:
        if self._down is not None and self._monotonic() < self._down[0]:
            down = self._down[1]
            raise LedgerUnavailable(down.path, down.problem, down.hint)
        try:
            with self._translate_errors():
                connection = connect(self._url)
        except LedgerUnavailable as error:
            self._down = self._monotonic() + RECONNECT_SECONDS, error
            raise
        self._down = None
        try:
            with self._translate_errors():
                check_version(connection, self.location)
        except LedgerError:
            connection.close()
            raise
        self._connection = connection
        return connection

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        self._owner.check()
        connection = self._connection
        limit = (
            contextlib.nullcontext()
            if connection is None
            else self._answer_limit.waiting(connection.fileno)
        )
        try:
            with limit:
                yield
        except psycopg.Error as error:
            if self._connection is not None and self._connection.closed:
                # Also in a transaction: its statements must not go on in another one.
                self._connection = None
            raise translate(error, self.location) from error


@lru_cache(maxsize=512)
def _translated(statement: str) -> bytes:
    """Return one of the ledger's statements in the form of the driver."""
    text = statement.replace("%", "%%").replace("?", "%s")
    return _TABLE.sub(r"\1 triaged.\2", text).encode()
