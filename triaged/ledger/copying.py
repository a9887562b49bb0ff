"""Copies a whole ledger from one store to the other, and compares every row."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from triaged.errors import LedgerError
from triaged.ledger.database import Database, storable
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import exclude_daemons, open_database
from triaged.ledger.schema import TableShape, table_shapes

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class CopyResult:
    """The number of rows that were copied and compared, by table."""

    rows: Mapping[str, int]

    @property
    def total(self) -> int:
        """The number of all rows."""
        return sum(self.rows.values())


def copy_ledger(
    source: LedgerLocation, target: LedgerLocation, *, now: datetime
) -> CopyResult:
    """Copy all workspaces in one transaction, which keeps all other writers waiting.

    Each row is read back and compared before the transaction commits, so the target
    has all of it or nothing. Leases are not copied.

    Raises:
        AlreadyRunning: a daemon uses one of the two.
        LedgerError: one cannot be opened, the target is not empty, or a row differs.

    """
    with contextlib.ExitStack() as context:
        for place in (source, target):
            context.enter_context(exclude_daemons(place, now=now))
        original = context.enter_context(
            contextlib.closing(open_database(source, create=False))
        )
        copy = context.enter_context(contextlib.closing(open_database(target)))
        context.enter_context(original.exclusive())
        context.enter_context(copy.exclusive())
        shapes = table_shapes()
        for table in shapes:
            if copy.row(f"SELECT 1 AS found FROM {table} LIMIT 1"):  # noqa: S608 - a name of ours
                raise LedgerError(
                    copy.location,
                    f"is not empty: it has rows in {table}",
                    "copy into a new ledger; rows are never merged",
                )
        return CopyResult(
            {table: _copy(original, copy, table, shapes[table]) for table in shapes}
        )


def _copy(original: Database, copy: Database, table: str, shape: TableShape) -> int:
    marks = ", ".join("?" * len(shape.columns))
    statement = f"INSERT INTO {table} ({', '.join(shape.columns)}) VALUES ({marks})"  # noqa: S608 - names of ours
    count = 0
    for page in _pages(original, table, shape):
        copy.execute_many(statement, page)
        count += len(page)
    compared = 0
    for ours, theirs in zip(
        _rows(original, table, shape), _rows(copy, table, shape), strict=False
    ):
        if ours != theirs:
            raise _differs(copy, table)
        compared += 1
    if compared != count or _count(copy, table) != count:
        raise _differs(copy, table)
    return count


def _differs(copy: Database, table: str) -> LedgerError:
    return LedgerError(
        copy.location,
        f"a row of {table} was read back different from what was written",
        "nothing was copied",
    )


def _count(database: Database, table: str) -> int:
    row = database.row(f"SELECT COUNT(*) AS n FROM {table}")  # noqa: S608 - a name of ours
    return int(row["n"]) if row else 0


def _rows(database: Database, table: str, shape: TableShape) -> Iterator[Sequence[Any]]:
    for page in _pages(database, table, shape):
        yield from page


def _pages(
    database: Database, table: str, shape: TableShape
) -> Iterator[list[Sequence[Any]]]:
    """Yield all rows in the order of their key, as values that each store takes."""
    keys, columns = ", ".join(shape.key), ", ".join(shape.columns)
    marks = ", ".join("?" * len(shape.key))
    last: Sequence[Any] = ()
    while True:
        after = f" WHERE ({keys}) > ({marks})" if last else ""
        rows = database.rows(
            f"SELECT {columns} FROM {table}{after} ORDER BY {keys} LIMIT ?",  # noqa: S608 - names of ours
            (*last, _PAGE),
        )
        if not rows:
            return
        yield [list(storable([row[name] for name in shape.columns])) for row in rows]
        last = [rows[-1][name] for name in shape.key]
