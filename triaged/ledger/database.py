"""What the ledger asks of a database, and how values are stored in every one.

Two stores implement it: SQLite, in a file, and PostgreSQL. The statements keep to the
SQL that both understand, with ``?`` for values. Timestamps are stored as ISO 8601
strings in UTC of equal length, so that they sort.
"""

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from triaged.errors import LedgerError

# Transactions are short; only a suspended process locks for longer.
BUSY_SECONDS: Final = 60.0

# Every table with task ids.
TASK_TABLES: Final = ("dismissal", "decision", "observation", "hold", "veto")

_LAST_CHARACTER: Final = "\U0010ffff"
_NUL: Final = "\0"


class Row(Protocol):
    """One row of an answer, by the names of its columns."""

    def __getitem__(self, column: str, /) -> Any:  # noqa: ANN401 - as stored
        """Return the value of a column."""
        ...


class Database(Protocol):
    """An open database of one thread; all of its errors are raised as ``LedgerError``.

    Ledgers of several workspaces may share it.
    """

    @property
    def location(self) -> str:
        """Where it is, for messages; holds no password."""
        ...

    def close(self) -> None:
        """Close it; the ledgers over it can then no longer be used."""
        ...

    def transaction(self, workspace: str) -> AbstractContextManager[None]:
        """Run the body in one durable transaction; the outermost one commits.

        Transactions of one workspace run one after the other, so that data read inside
        cannot change. The body must not await, and nested transactions are of the same
        workspace.

        Raises:
            TransactionMisused: one of another workspace or another task is open.
            LedgerError: it cannot begin or end; nothing was written.

        """
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Run the body in one transaction while no other of any workspace can begin.

        For work on whole ledgers: the statements in it name no workspace.
        """
        ...

    def verify(self, workspace: str) -> None:
        """Check that this is still where others read what they record about us.

        Raises:
            LedgerError: it is not, so nothing may be sent.

        """
        ...

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run one writing statement in the open transaction; return the changed rows.

        Raises:
            TransactionMisused: no transaction is open.

        """
        ...

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one writing statement for each row of values.

        Raises:
            TransactionMisused: no transaction is open.

        """
        ...

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        """Run a query and return all its rows."""
        ...

    def row(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        """Run a query and return its first row, or None."""
        ...

    def decoding(self) -> AbstractContextManager[None]:
        """Raise errors from decoding an invalid row as a damaged ledger."""
        ...


def find_task_ids(
    database: Database,
    workspace: str,
    prefix: str,
    *,
    limit: int,
    tables: Sequence[str] = TASK_TABLES,
) -> list[str]:
    """Return the task ids of a workspace with a prefix, sorted."""
    found: set[str] = set()
    for table in tables:
        rows = database.rows(
            # A range uses the index, unlike SUBSTR; some callers look up many ids.
            f"SELECT DISTINCT task_id FROM {table} WHERE workspace = ?"  # noqa: S608 - a name of ours
            " AND task_id >= ? AND task_id < ? ORDER BY task_id LIMIT ?",
            (workspace, prefix, prefix + _LAST_CHARACTER, limit),
        )
        found.update(row["task_id"] for row in rows)
    return sorted(found)[:limit]


def storable(values: Sequence[Any]) -> Sequence[Any]:
    """Return values that each store takes: PostgreSQL's text cannot hold NUL."""
    if any(isinstance(value, str) and _NUL in value for value in values):
        return [
            value.replace(_NUL, "\ufffd") if isinstance(value, str) else value
            for value in values
        ]
    return values


@contextlib.contextmanager
def decoding_rows(location: str, hint: str) -> Iterator[None]:
    """Raise errors from decoding an invalid row as a damaged ledger."""
    try:
        yield
    except (ValueError, LookupError, TypeError, zlib.error) as error:
        raise LedgerError(location, f"a row makes no sense: {error}", hint) from error


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
