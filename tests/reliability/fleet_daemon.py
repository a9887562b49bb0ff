"""The daemon of a fleet in a process of its own, with leases of seconds.

Nothing else differs from ``triaged run``: waits of minutes are for people and networks,
and the order of the steps is what is tested. With ``FLEET_NEXT`` set it is the program
of the next version of the ledger, which adds columns and a table.
"""

import os
import signal
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Final

LEASE_SECONDS: Final = 8.0
# A call takes milliseconds here; none may be on its way when a lease ends.
CALL_SECONDS: Final = 3.0
EFFECT_SECONDS: Final = 25.0
# Names a file; while it is there, the clock of this daemon is ahead.
CLOCK_VARIABLE: Final = "FLEET_CLOCK"
JUMP: Final = timedelta(hours=1)

NEXT_VARIABLE: Final = "FLEET_NEXT"
_NEXT_CHANGE: Final = """
ALTER TABLE triaged.dismissal ADD COLUMN next_note text;
ALTER TABLE triaged.decision ADD COLUMN next_bytes bigint NOT NULL DEFAULT 0;
CREATE TABLE triaged.next_table (workspace text NOT NULL, note text NOT NULL);
"""


def main() -> None:
    """Shorten what waits, and run the program."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if NEXT_VARIABLE in os.environ:
        _become_next()
    # Before anything copies the values.
    from triaged.ledger import leases  # noqa: PLC0415 - the order matters
    from triaged.triage import reconcile  # noqa: PLC0415

    _replace(leases, AFFINITY_SECONDS=2.0, LATE_SECONDS=8.0, ALIVE_SECONDS=6.0)
    leases.Leases.__init__.__kwdefaults__.update(  # type: ignore[union-attr]
        seconds=LEASE_SECONDS, call_seconds=CALL_SECONDS
    )
    _replace(reconcile, EFFECT_TIMEOUT=timedelta(seconds=EFFECT_SECONDS))

    from triaged.ledger import daemons  # noqa: PLC0415

    _replace(daemons, HEARTBEAT_SECONDS=1.5)

    from triaged.daemon import fleet_leases  # noqa: PLC0415

    _replace(fleet_leases, RENEW_SECONDS=2.0, REBALANCE_SECONDS=1.0)

    from triaged.clock import SystemClock  # noqa: PLC0415

    setattr(SystemClock, "now", _now)  # noqa: B010 - mypy refuses the assignment

    from triaged.cli import main as run  # noqa: PLC0415

    run()


def _become_next() -> None:
    """Know one version of the ledger more, beside which today's may go on."""
    from triaged.ledger import postgres_schema as schema  # noqa: PLC0415 - only here

    migrations = (*schema.MIGRATIONS, (_NEXT_CHANGE, schema.VERSION))
    known = {"known": len(migrations)}
    schema.check_version.__kwdefaults__.update(known)  # type: ignore[union-attr]
    _replace(schema, MIGRATIONS=migrations, VERSION=len(migrations))


def _now(_: object) -> datetime:
    true = datetime.now(UTC)  # noqa: TID251 - the clock itself
    path = os.environ.get(CLOCK_VARIABLE, "")
    return true + JUMP if path and os.path.exists(path) else true  # noqa: PTH110 - each call


def _replace(module: ModuleType, **values: object) -> None:
    for name, value in values.items():
        assert hasattr(module, name), name
        setattr(module, name, value)


if __name__ == "__main__":
    main()
