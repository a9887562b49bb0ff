"""The daemons on a PostgreSQL ledger: who they are, and when they were last seen."""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Self

from triaged import __version__
from triaged.errors import LedgerError
from triaged.ledger.daemon_records import DaemonRecord, ServingDaemons
from triaged.ledger.leases import ALIVE_SECONDS, new_holder
from triaged.ledger.locks import LockOwner
from triaged.ledger.postgres import PostgresDatabase

HEARTBEAT_SECONDS: Final = 10.0

_REGISTER: Final = """
INSERT INTO triaged.daemon
    (name, workspace, version, host, pid, once, since, seen_at, config_sha256)
VALUES (%(name)s, %(workspace)s, %(version)s, %(host)s, %(pid)s, %(once)s,
    clock_timestamp(), clock_timestamp(), %(config)s)
ON CONFLICT (name) DO UPDATE
SET seen_at = excluded.seen_at, config_sha256 = excluded.config_sha256
"""
_FORGET: Final = (
    "DELETE FROM triaged.daemon WHERE name = %s OR seen_at < now() - interval '1 day'"
)
# A daemon of a fleet serves the workspaces that it ran last.
_OWNER: Final = """
SELECT d.pid, d.host, d.since, d.once FROM triaged.daemon AS d
WHERE d.seen_at > now() - %(alive)s * interval '1 second' AND (
    d.workspace = %(workspace)s OR EXISTS (
        SELECT 1 FROM triaged.lease AS l
        WHERE l.workspace = %(workspace)s AND l.affinity = d.name))
ORDER BY d.once, d.since LIMIT 1
"""
_LIST: Final = """
SELECT d.*, d.seen_at > now() - %(alive)s * interval '1 second' AS is_alive,
    (SELECT count(*) FROM triaged.lease AS l
        WHERE l.holder = d.name AND l.until > now()) AS held,
    (SELECT count(*) FROM triaged.lease AS l WHERE l.affinity = d.name) AS own
FROM triaged.daemon AS d WHERE NOT d.once ORDER BY d.host, d.pid, d.since
"""
# Who runs a workspace now, or else the daemon that ran it last and still lives.
_HOLDERS: Final = """
SELECT l.workspace, CASE WHEN l.until > now() THEN l.holder ELSE d.name END AS name
FROM triaged.lease AS l LEFT JOIN triaged.daemon AS d
    ON d.name = l.affinity AND d.seen_at > now() - %(alive)s * interval '1 second'
WHERE l.until > now() OR d.name IS NOT NULL
"""


class RegisteredDaemon:
    """A daemon's row, kept up to date for as long as it runs; it excludes no other."""

    def __init__(
        self,
        url: str,
        connect: Callable[[str, float], PostgresDatabase],
        *,
        workspace: str,
        since: datetime,
        once: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe a daemon; an empty workspace stands for a fleet."""
        del since  # the database's clock counts
        self._url = url
        self._connect = connect
        self._workspace = workspace
        self._once = once
        self._monotonic = monotonic
        self._database: PostgresDatabase | None = None
        self._due = 0.0
        self.name = new_holder()
        self._config_sha256 = ""

    def __enter__(self) -> Self:
        """Register the daemon.

        Raises:
            LedgerError: the database cannot be used.

        """
        self._database = self._connect(self._url, HEARTBEAT_SECONDS)
        self._register()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the row, if the database can be reached."""
        if self._database is not None:
            with contextlib.suppress(LedgerError):
                self._database.statement(_FORGET, (self.name,))
            self._database.close()
            self._database = None

    def describe(self, *, config_sha256: str) -> None:
        """Record with the next heartbeat, which is due now, what the daemon runs."""
        if config_sha256 != self._config_sha256:
            self._config_sha256 = config_sha256
            self._due = 0.0

    def verify(self) -> None:
        """Do nothing: leases and fences tell who may dismiss."""

    def heartbeat(self) -> None:
        """Record that the daemon is alive, every ten seconds.

        Raises:
            LedgerUnavailable: the database cannot be reached.

        """
        if self._monotonic() >= self._due:
            self._register()

    def _register(self) -> None:
        if self._database is None:
            return
        self._due = self._monotonic() + HEARTBEAT_SECONDS
        self._database.statement(
            _REGISTER,
            {
                "name": self.name,
                "workspace": self._workspace,
                "version": __version__,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "once": self._once,
                "config": self._config_sha256,
            },
        )


def find_owner(database: PostgresDatabase, workspace: str) -> LockOwner | None:
    """Return a daemon that serves a workspace, or None."""
    row = database.statement(
        _OWNER, {"workspace": workspace, "alive": ALIVE_SECONDS}
    ).fetchone()
    if row is None:
        return None
    return LockOwner(
        pid=row["pid"],
        host=row["host"],
        workspace=workspace,
        since=row["since"],
        once=row["once"],
    )


def list_daemons(database: PostgresDatabase) -> list[DaemonRecord]:
    """Return the daemons that were seen within the last day, by host and process id."""
    rows = database.statement(_LIST, {"alive": ALIVE_SECONDS}).fetchall()
    return [
        DaemonRecord(
            name=row["name"],
            workspace=row["workspace"],
            version=row["version"],
            host=row["host"],
            pid=row["pid"],
            since=row["since"],
            seen_at=row["seen_at"],
            config_sha256=row["config_sha256"],
            is_alive=row["is_alive"],
            held=row["held"],
            own=row["own"],
        )
        for row in rows
    ]


def find_serving(database: PostgresDatabase) -> ServingDaemons:
    """Return the daemons that are alive, and which of them has which workspace."""
    rows = database.statement(_HOLDERS, {"alive": ALIVE_SECONDS}).fetchall()
    return ServingDaemons(
        alive=frozenset(
            (found.host, found.pid)
            for found in list_daemons(database)
            if found.is_alive
        ),
        # The last part of a name only tells processes with one id apart.
        holders={row["workspace"]: row["name"].rpartition(":")[0] for row in rows},
    )
