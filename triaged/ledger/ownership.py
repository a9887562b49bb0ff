"""Which piece of work owns the open transaction of a connection.

Ledgers of several workspaces share one connection, and a nested transaction joins the
open one. A body that awaits would let another task, or another workspace, write into a
transaction that is not its own: that is a mistake in the program, so it is an error.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class TransactionMisused(RuntimeError):
    """Work of one workspace or task met the open transaction of another."""


class TransactionOwner:
    """The workspace and the asyncio task that began the open transaction, if any."""

    def __init__(self) -> None:
        self._workspace: str | None = None
        self._task: asyncio.Task[object] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open."""
        return self._workspace is not None

    def begin(self, workspace: str) -> None:
        """Record who begins a transaction."""
        self._workspace, self._task = workspace, _current_task()

    def end(self) -> None:
        """Record that no transaction is open."""
        self._workspace = self._task = None

    def is_joined_by(self, workspace: str) -> bool:
        """Return whether a transaction is open, which this workspace may then join.

        Raises:
            TransactionMisused: it belongs to another workspace or another task.

        """
        if self._workspace is None:
            return False
        self.check()
        if self._workspace != workspace:
            raise TransactionMisused(
                f"a transaction of workspace {workspace} inside one of"
                f" {self._workspace}: end that first"
            )
        return True

    def check_open(self) -> None:
        """Check that a transaction is open, and that it is this task's.

        Raises:
            TransactionMisused: none is, so nothing would serialise or fence a write.

        """
        if self._workspace is None:
            raise TransactionMisused(
                "a write outside a transaction: open one of its workspace first"
            )
        self.check()

    def check(self) -> None:
        """Check that a statement does not join another task's transaction.

        Raises:
            TransactionMisused: it would; the body of that transaction has awaited.

        """
        if self._workspace is not None and self._task is not _current_task():
            raise TransactionMisused(
                f"a statement inside another task's transaction of {self._workspace}:"
                " the body of a transaction must not await"
            )


def _current_task() -> "asyncio.Task[object] | None":
    if "asyncio" not in sys.modules:
        # It takes long to import, and commands that only read the ledger do without.
        return None
    import asyncio  # noqa: PLC0415 - see above

    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # no loop runs in this thread
