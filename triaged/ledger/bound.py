"""A database as one workspace uses it: what it writes is always in a transaction.

On PostgreSQL a transaction is what serialises the writers of a workspace and checks the
fence of its lease, so no statement may write outside one.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from triaged.ledger.database import Database, Row


class WorkspaceDatabase:
    """The database of one workspace's ledger; a single write commits at once."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    @property
    def location(self) -> str:
        return self._database.location

    def close(self) -> None:
        """Close the database for all workspaces."""
        self._database.close()

    def transaction(self, workspace: str) -> AbstractContextManager[None]:
        """Run the body in one durable transaction; the outermost one commits."""
        return self._database.transaction(workspace)

    def exclusive(self) -> AbstractContextManager[None]:
        """Run the body in one transaction while no other of any workspace can begin."""
        return self._database.exclusive()

    def verify(self, workspace: str) -> None:
        """Check that this is still where others read what they record about us."""
        self._database.verify(workspace)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run one writing statement; return the number of changed rows."""
        with self._database.transaction(self._workspace):
            return self._database.execute(statement, values)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one writing statement for each row of values; all take effect or none."""
        if rows:
            with self._database.transaction(self._workspace):
                self._database.execute_many(statement, rows)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        return self._database.rows(statement, values)

    def row(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        return self._database.row(statement, values)

    def decoding(self) -> AbstractContextManager[None]:
        return self._database.decoding()
