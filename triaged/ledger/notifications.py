"""Stores which notifications were sent, so that each is sent at most once.

The intent is stored before a notification is sent. One that has no outcome was
interrupted: it may have arrived, so it is not sent again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from triaged.ledger.counters import Counters
from triaged.ledger.database import (
    Database,
    Row,
    format_timestamp,
    parse_stored_timestamp,
)

# The name of the counters, with the result as label.
COUNTER: Final = "notifications"

# A row is kept for longer than other data: deleting it would permit a repetition.
_KEPT_LONGER: Final = timedelta(days=30)


class NotificationOutcome(StrEnum):
    """What became of a notification.

    ``failed`` is definite: it has not arrived anywhere. ``partial`` means that some
    destinations definitely have not received it, ``unknown`` that it may have arrived
    everywhere. ``quiet`` is a digest that was not sent because it was empty.
    """

    SENT = "sent"
    FAILED = "failed"
    PARTIAL = "partial"
    UNKNOWN = "unknown"
    QUIET = "quiet"


_REPEATABLE: Final = (NotificationOutcome.FAILED, NotificationOutcome.PARTIAL)


class NotificationResult(StrEnum):
    """Whether an attempt was successful; a closed set, used as a metric label."""

    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One notification; ``created_at`` is when its latest attempt began.

    ``outcome`` and ``settled_at`` are None during an attempt, and after one that was
    interrupted.
    """

    name: str
    created_at: datetime
    attempts: int
    outcome: NotificationOutcome | None
    settled_at: datetime | None


class Notifications:
    """The notifications of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace
        self._counters = Counters(database, workspace)

    def get(self, name: str) -> Notification | None:
        """Return a notification, or None."""
        found = self._select("name = ?", (name,))
        return found[0] if found else None

    def latest(
        self,
        prefix: str,
        outcomes: Sequence[NotificationOutcome] | None = None,
        *,
        below: str | None = None,
    ) -> Notification | None:
        """Return the newest notification with a prefix and one of these outcomes.

        ``below`` restricts the result to names that sort before it.
        """
        where = "name >= ? AND name < ?"
        values = [prefix, below or f"{prefix}\U0010ffff"]
        if outcomes is not None:
            where += f" AND outcome IN ({', '.join('?' * len(outcomes))})"
            values += outcomes
        found = self._select(f"{where} ORDER BY created_at DESC LIMIT 1", values)
        return found[0] if found else None

    def begin(self, names: Sequence[str], *, at: datetime) -> bool:
        """Store the intent to send one message, before sending.

        Returns False, and stores nothing, if one of the names must not be sent again:
        it has an outcome other than failed or partial, or an attempt that has not
        ended.
        """
        with self._database.transaction(self._workspace):
            found = [self.get(name) for name in names]
            if any(each and each.outcome not in _REPEATABLE for each in found):
                return False
            self._database.execute_many(
                "INSERT INTO notification (workspace, name, created_at, attempts)"
                " VALUES (?, ?, ?, 1) ON CONFLICT (workspace, name) DO UPDATE SET"
                " created_at = excluded.created_at,"
                " attempts = notification.attempts + 1,"
                " outcome = NULL, settled_at = NULL",
                [(self._workspace, name, format_timestamp(at)) for name in names],
            )
        return True

    def settle(
        self, names: Iterable[str], outcome: NotificationOutcome, *, at: datetime
    ) -> None:
        """Store the outcome of one attempt, and count it."""
        is_sent = outcome is NotificationOutcome.SENT
        result = NotificationResult.SENT if is_sent else NotificationResult.FAILED
        with self._database.transaction(self._workspace):
            self._counters.increment(COUNTER, result)
            self._database.execute_many(
                "UPDATE notification SET outcome = ?, settled_at = ?"
                " WHERE workspace = ? AND name = ? AND outcome IS NULL",
                [
                    (outcome, format_timestamp(at), self._workspace, name)
                    for name in names
                ],
            )

    def record_quiet(self, name: str, *, at: datetime) -> None:
        """Store that a digest was not sent, because it was empty."""
        self._database.execute(
            "INSERT INTO notification"
            " (workspace, name, created_at, attempts, outcome, settled_at)"
            " VALUES (?, ?, ?, 0, 'quiet', ?) ON CONFLICT DO NOTHING",
            (self._workspace, name, format_timestamp(at), format_timestamp(at)),
        )

    def prune(self, *, before: datetime) -> int:
        """Delete notifications long before ``before``; return their number."""
        return self._database.execute(
            "DELETE FROM notification WHERE workspace = ? AND created_at < ?",
            (self._workspace, format_timestamp(before - _KEPT_LONGER)),
        )

    def _select(self, where: str, values: Sequence[str]) -> list[Notification]:
        rows = self._database.rows(
            "SELECT name, created_at, attempts, outcome, settled_at FROM notification"  # noqa: S608
            f" WHERE workspace = ? AND {where}",
            (self._workspace, *values),
        )
        with self._database.decoding():
            return [_notification(row) for row in rows]


def _notification(row: Row) -> Notification:
    outcome, settled = row["outcome"], row["settled_at"]
    return Notification(
        name=row["name"],
        created_at=parse_stored_timestamp(row["created_at"]),
        attempts=row["attempts"],
        outcome=None if outcome is None else NotificationOutcome(outcome),
        settled_at=None if settled is None else parse_stored_timestamp(settled),
    )
