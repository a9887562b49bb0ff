"""The ledger of one workspace: its rooms over one database."""

import contextlib
from datetime import datetime
from pathlib import Path
from typing import Self

from triaged.ledger.database import Database
from triaged.ledger.decisions import DecisionStore
from triaged.ledger.dismissals import Dismissals
from triaged.ledger.feedback import FeedbackStore
from triaged.ledger.flags import Flags


class Ledger:
    """What one workspace remembers."""

    def __init__(
        self, directory: Path, *, workspace: str = "default", create: bool = True
    ) -> None:
        """Open the ledger of a state directory.

        Raises:
            LedgerError: it cannot be opened; says what to do.
        """
        self._store = Database(directory, create=create)
        self.workspace = workspace
        self.path = self._store.path
        self.dismissals = Dismissals(self._store, workspace)
        self.decisions = DecisionStore(self._store, workspace)
        self.flags = Flags(self._store, workspace)
        self.feedback = FeedbackStore(self._store, workspace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Make what is inside one durable step."""
        return self._store.transaction()

    def prune(self, *, before: datetime) -> int:
        """Forget what is settled and older than a moment; return how many rows."""
        rooms = (self.dismissals, self.decisions, self.feedback)
        with self.transaction():
            return sum(room.prune(before=before) for room in rooms)
