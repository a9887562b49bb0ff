"""What page and metrics show of a daemon: ordinary unless told otherwise."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from tests.builders import T0
from triaged.daemon.health import Health
from triaged.daemon.snapshot import Snapshot
from triaged.ledger.views import LedgerTotals
from triaged.quota import QuotaLimiter, QuotaSettings
from triaged.rules.rule import Ruleset

NO_TOTALS: Final = LedgerTotals(
    rule_changes={},
    modes={},
    attempts={},
    dismissals={},
    observed={},
    false_positives={},
    notifications={},
    unresolved=0,
    paused=None,
    breaker=None,
)


def a_snapshot(**given: Any) -> Snapshot:
    """Return what page and metrics show of a daemon that has just begun."""
    snapshot = Snapshot(
        workspace="acme",
        now=T0,
        dry_run=False,
        ruleset=Ruleset(),
        health=Health(heartbeat_at=0.0, interval=timedelta(minutes=18)),
        quota=QuotaLimiter(QuotaSettings.for_plan("starter")).snapshot(T0.timestamp()),
        clock_skew=timedelta(0),
        errors={},
        totals=NO_TOTALS,
    )
    return replace(snapshot, **given)
