"""Leases: which process may dismiss for a workspace, until when, under which fence.

A lease is a row beside the tables of the ledger. The number of its fence grows with
each holder, and every transaction of a holder checks it first, so a process that was
stopped beyond its lease writes nothing when it wakes. Only the database's clock counts.
"""

import math
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from triaged.errors import LeaseLost

if TYPE_CHECKING:
    from psycopg import Cursor
    from psycopg.rows import DictRow

# With the pauses between claims, a successor runs within 90 s of a crash.
LEASE_SECONDS: Final = 85.0
# The longest call to LeadLex: a dismissal leaves only if the lease lasts longer.
CALL_SECONDS: Final = 60.0
# A due workspace is left to the daemon that ran it last for this long.
AFFINITY_SECONDS: Final = 15.0
# A workspace that is later than this is taken by any daemon, however many it has.
LATE_SECONDS: Final = 60.0
# A daemon that was not seen for this long does not count.
ALIVE_SECONDS: Final = 25.0

# Of those that this holder may have, the longest due first: a daemon with much to do
# never puts off the others' workspaces for its own.
_CLAIM: Final = """
WITH own AS (
    SELECT workspace, due_at, affinity FROM triaged.lease
    WHERE is_enrolled AND due_at <= now() AND until <= now()
        AND affinity = %(holder)s AND workspace <> ALL(%(unknown)s)
    ORDER BY due_at LIMIT %(free)s FOR UPDATE SKIP LOCKED
), shared AS (
    SELECT workspace, due_at, affinity FROM triaged.lease
    WHERE is_enrolled AND due_at <= now() AND until <= now()
        AND affinity <> %(holder)s AND workspace <> ALL(%(unknown)s)
        AND (affinity = '' OR due_at <= now() - %(shared)s * interval '1 second')
    ORDER BY due_at LIMIT %(room)s FOR UPDATE SKIP LOCKED
), late AS (
    SELECT workspace, due_at, affinity FROM triaged.lease
    WHERE is_enrolled AND until <= now() AND workspace <> ALL(%(unknown)s)
        AND due_at <= now() - %(late)s * interval '1 second'
    ORDER BY due_at LIMIT %(free)s FOR UPDATE SKIP LOCKED
), due AS (
    SELECT * FROM own UNION SELECT * FROM shared UNION SELECT * FROM late
), chosen AS (SELECT * FROM due ORDER BY due_at LIMIT %(free)s)
UPDATE triaged.lease AS l
SET holder = %(holder)s, affinity = %(holder)s, fence = l.fence + 1,
    until = clock_timestamp() + %(seconds)s * interval '1 second'
FROM chosen WHERE l.workspace = chosen.workspace
RETURNING l.workspace, l.fence, chosen.affinity <> %(holder)s AS is_new,
    extract(epoch FROM clock_timestamp() - l.due_at)::float8 AS late
"""

_CLAIM_ONE: Final = """
INSERT INTO triaged.lease AS l (workspace, holder, fence, until)
VALUES (%(workspace)s, %(holder)s, 1,
    clock_timestamp() + %(seconds)s * interval '1 second')
ON CONFLICT (workspace) DO UPDATE
SET holder = excluded.holder, fence = l.fence + 1,
    until = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE l.until <= clock_timestamp()
RETURNING l.fence
"""
_RENEW: Final = """
UPDATE triaged.lease SET until = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE workspace = %(workspace)s AND holder = %(holder)s AND fence = %(fence)s
    AND until > clock_timestamp()
"""
# Locks in the order of all statements that lock several rows, so none can deadlock.
_GIVE: Final = """
WITH given AS (
    SELECT l.workspace, g.delay FROM triaged.lease l
    JOIN unnest(%(workspaces)s::text[], %(fences)s::bigint[], %(delays)s::float8[])
        AS g (workspace, fence, delay) USING (workspace, fence)
    WHERE l.holder = %(holder)s ORDER BY l.workspace FOR UPDATE OF l
)
UPDATE triaged.lease AS l SET holder = '', until = clock_timestamp(),
    due_at = coalesce(clock_timestamp() + given.delay * interval '1 second', l.due_at)
FROM given WHERE l.workspace = given.workspace
"""
_SHED: Final = """
UPDATE triaged.lease SET affinity = '' WHERE workspace IN (
    SELECT workspace FROM triaged.lease
    WHERE is_enrolled AND affinity = %(holder)s AND until <= now()
    ORDER BY workspace LIMIT %(surplus)s FOR UPDATE SKIP LOCKED
)
"""
_STANDING: Final = """
WITH fleet AS (
    SELECT config_sha256 FROM triaged.daemon WHERE workspace = '' AND NOT once
        AND seen_at > now() - %(alive)s * interval '1 second'
)
SELECT count(*) AS workspaces, count(*) FILTER (WHERE affinity = %(holder)s) AS own,
    (SELECT count(*) FROM fleet) AS alive,
    (SELECT count(DISTINCT config_sha256) FROM fleet) <= 1 AS has_same_files
FROM triaged.lease WHERE is_enrolled
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to dismiss for one workspace, as long as the database says so.

    It lasts for ``seconds`` unless renewed, and a dismissal leaves only while at least
    ``call_seconds`` are left. ``late`` is how long the workspace had been due when it
    was claimed, in seconds.
    """

    workspace: str
    holder: str
    fence: int
    seconds: float = LEASE_SECONDS
    call_seconds: float = CALL_SECONDS
    late: float = 0.0

    def to_values(self) -> dict[str, Any]:
        """Return the values of the statements that check it."""
        return {
            "workspace": self.workspace,
            "holder": self.holder,
            "fence": self.fence,
            "seconds": self.seconds,
            "call_seconds": self.call_seconds,
        }


class LeaseDatabase(Protocol):
    """The database with the leases."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        ...

    def statement(
        self, text: str, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> "Cursor[DictRow]":
        """Run one statement, which commits by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How many workspaces there are, how many a daemon has, and its equal share.

    ``has_same_files``: no daemon that is alive has other fleet files.
    """

    workspaces: int
    own: int
    alive: int
    has_same_files: bool = True

    @property
    def cap(self) -> int:
        """The equal share of each daemon that is alive, rounded up."""
        return math.ceil(self.workspaces / max(self.alive, 1))


def new_holder() -> str:
    """Return a name for a holder of leases that no other process has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


class Leases:
    """The leases of one ledger, for one holder."""

    def __init__(
        self,
        database: LeaseDatabase,
        holder: str,
        *,
        seconds: float = LEASE_SECONDS,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """Claim for a holder; ``seconds`` is how long a lease lasts unless renewed."""
        self._database = database
        self._seconds = seconds
        self._call_seconds = call_seconds
        self._standing = Standing(0, 0, 1)
        self.holder = holder

    def enrol(self, workspaces: Mapping[str, timedelta]) -> None:
        """Let daemons claim these workspaces; those enrolled already do not change.

        A new one is due after its delay.
        """
        names = sorted(workspaces)
        self._database.statement(
            "INSERT INTO triaged.lease AS l (workspace, is_enrolled, due_at)"
            " SELECT name, true, now() + seconds * interval '1 second'"
            " FROM unnest(%s::text[], %s::float8[]) AS given (name, seconds)"
            " ON CONFLICT (workspace) DO UPDATE SET is_enrolled = true"
            " WHERE NOT l.is_enrolled",
            (names, [workspaces[name].total_seconds() for name in names]),
        )

    def retire(self, workspaces: Sequence[str]) -> None:
        """Let no daemon claim these workspaces; running cycles end as usual."""
        self._database.statement(
            "UPDATE triaged.lease SET is_enrolled = false, affinity = ''"
            " WHERE workspace = ANY(%s) AND is_enrolled",
            (list(workspaces),),
        )

    def rebalance(self) -> Standing:
        """Count who has what, and leave what is above an equal share to the others.

        To be called every few seconds, after the daemon has registered its heartbeat.
        """
        rows = self._database.statement(
            _STANDING, {"holder": self.holder, "alive": ALIVE_SECONDS}
        ).fetchall()
        self._standing = standing = Standing(**rows[0])
        if standing.own > standing.cap:
            surplus = standing.own - standing.cap
            self._database.statement(_SHED, {"holder": self.holder, "surplus": surplus})
            self._standing = replace(standing, own=standing.cap)
        return self._standing

    def claim(self, free: int, *, unknown: Collection[str] = ()) -> list[Lease]:
        """Claim at most ``free`` workspaces that are due, the longest due first.

        None of those that are ``unknown`` to the holder.

        Those that this holder ran last; up to an equal share of all, those of no
        holder and after 15 s those of others; beyond it, those that are very late.
        """
        if free <= 0:
            return []
        standing = self._standing
        rows = self._database.statement(
            _CLAIM,
            {
                "free": free,
                "unknown": list(unknown),
                "room": min(free, max(standing.cap - standing.own, 0)),
                "holder": self.holder,
                "seconds": self._seconds,
                "shared": AFFINITY_SECONDS,
                "late": LATE_SECONDS,
            },
        ).fetchall()
        gained = sum(row["is_new"] for row in rows)
        self._standing = replace(standing, own=standing.own + gained)
        return [self._lease(r["workspace"], r["fence"], r["late"]) for r in rows]

    def claim_one(self, workspace: str) -> Lease | None:
        """Claim one workspace, due or not; None if another process holds it."""
        if self.holder_of(workspace) is not None:
            return None
        row = self._database.statement(
            _CLAIM_ONE,
            {
                "workspace": workspace,
                "holder": self.holder,
                "seconds": self._seconds,
            },
        ).fetchone()
        return None if row is None else self._lease(workspace, row["fence"])

    def holder_of(self, workspace: str) -> str | None:
        """Return who holds a workspace now, or None."""
        row = self._database.statement(
            "SELECT holder FROM triaged.lease"
            " WHERE workspace = %s AND until > clock_timestamp()",
            (workspace,),
        ).fetchone()
        return None if row is None else str(row["holder"])

    def renew(self, lease: Lease) -> None:
        """Extend a lease by its whole length from now.

        Raises:
            LeaseLost: it has ended, or another process has it.

        """
        if not self._database.statement(_RENEW, lease.to_values()).rowcount:
            raise LeaseLost(self._database.location, lease.workspace)

    def give(self, lease: Lease, delay: timedelta | None) -> bool:
        """Give a lease back, due again after ``delay`` (None: when it was due before).

        Returns whether it was still held.
        """
        return self.give_all([(lease, delay)]) == 1

    def give_all(self, given: Sequence[tuple[Lease, timedelta | None]]) -> int:
        """Give leases back, each as ``give`` does; return how many were still held."""
        seconds = [None if d is None else d.total_seconds() for _, d in given]
        values = {
            "holder": self.holder,
            "workspaces": [lease.workspace for lease, _ in given],
            "fences": [lease.fence for lease, _ in given],
            "delays": seconds,
        }
        return self._database.statement(_GIVE, values).rowcount

    def hasten(self, workspace: str) -> None:
        """Make a workspace due now."""
        self._database.statement(
            "UPDATE triaged.lease SET due_at = now()"
            " WHERE workspace = %s AND is_enrolled AND due_at > now()",
            (workspace,),
        )

    def disown(self, workspaces: Sequence[str]) -> None:
        """Leave some workspaces of this holder to the others, from now on."""
        self._database.statement(
            "UPDATE triaged.lease SET affinity = ''"
            " WHERE workspace = ANY(%s) AND affinity = %s",
            (list(workspaces), self.holder),
        )

    def leave(self) -> None:
        """Leave the workspaces of this holder to the others, at a shutdown."""
        self._database.statement(
            "UPDATE triaged.lease SET affinity = '' WHERE affinity = %s",
            (self.holder,),
        )

    def _lease(self, workspace: str, fence: int, late: float = 0.0) -> Lease:
        return Lease(
            workspace, self.holder, fence, self._seconds, self._call_seconds, late
        )
