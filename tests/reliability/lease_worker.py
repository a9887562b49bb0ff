"""A process that claims workspaces, works, and records each cycle under its fence."""

import os
import sys
import time
from contextlib import closing
from datetime import timedelta

from triaged.errors import LeaseLost, LedgerUnavailable
from triaged.ledger.leases import Lease, Leases
from triaged.ledger.postgres import PostgresDatabase

IDLE_SECONDS = 0.01


def run(url: str, name: str, lease_seconds: float, work_seconds: float) -> None:
    """Work until it is ended; each cycle is one fenced transaction."""
    with closing(PostgresDatabase(url)) as database:
        leases = Leases(database, name, seconds=lease_seconds)
        while True:
            try:
                _beat(database, name)
                leases.rebalance()
                for lease in leases.claim(2) or _none():
                    _cycle(database, leases, lease, work_seconds)
            except LedgerUnavailable:
                time.sleep(0.2)  # noqa: TID251 - a process of its own


def _none() -> tuple[Lease, ...]:
    time.sleep(IDLE_SECONDS)  # noqa: TID251 - a process of its own
    return ()


def _beat(database: PostgresDatabase, name: str) -> None:
    database.statement(
        "INSERT INTO triaged.daemon"
        " VALUES (%s, '', '1', 'h', %s, false, now(), now(), '')"
        " ON CONFLICT (name) DO UPDATE SET seen_at = now()",
        (name, os.getpid()),
    )


def _cycle(
    database: PostgresDatabase, leases: Leases, lease: Lease, seconds: float
) -> None:
    """Read the number of the last cycle, work for a while, and write the next one."""
    database.use_lease(lease)
    try:
        row = database.row(
            "SELECT coalesce(max(number), 0) AS n FROM public.done WHERE workspace = ?",
            (lease.workspace,),
        )
        number = row["n"] + 1 if row else 1
        time.sleep(seconds)  # noqa: TID251 - the process may be stopped here
        with database.transaction(lease.workspace):
            database.execute(
                "INSERT INTO public.done (workspace, number, fence, holder)"
                " VALUES (?, ?, ?, ?)",
                (lease.workspace, number, lease.fence, lease.holder),
            )
        leases.give(lease, timedelta(seconds=0))
    except LeaseLost:
        database.drop_lease(lease)
        database.statement(
            "INSERT INTO public.fenced (workspace, holder) VALUES (%s, %s)",
            (lease.workspace, lease.holder),
        )
    finally:
        database.drop_lease(lease)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
