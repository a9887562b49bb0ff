"""The daemons on a PostgreSQL ledger: who they are, and when they were last seen."""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from triaged import __version__
from triaged.errors import LedgerError
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRecord:
    """A daemon as the database knows it; ``workspace`` is empty for one of a fleet."""

    name: str
    workspace: str
    version: str
    host: str
    pid: int
    since: datetime
    seen_at: datetime
    config_sha256: str
    is_alive: bool


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
        self.config_sha256 = ""

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
                "config": self.config_sha256,
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
    """Return the daemons that were seen within the last day, by name."""
    rows = database.statement(
        "SELECT *, seen_at > now() - %s * interval '1 second' AS is_alive"
        " FROM triaged.daemon WHERE NOT once ORDER BY name",
        (ALIVE_SECONDS,),
    ).fetchall()
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
        )
        for row in rows
    ]
