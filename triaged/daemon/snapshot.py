"""Everything that page and metrics show of a daemon, as of one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from triaged.daemon.health import Health
from triaged.daemon.internal_errors import Where
from triaged.ledger.views import LedgerTotals
from triaged.quota import QuotaSnapshot
from triaged.rules.rule import Ruleset


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveState:
    """What the daemon knows without asking its ledger."""

    workspace: str
    now: datetime
    dry_run: bool
    ruleset: Ruleset
    health: Health
    quota: QuotaSnapshot
    clock_skew: timedelta
    errors: Mapping[Where, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(LiveState):
    """The same, with the ledger's totals."""

    totals: LedgerTotals


def with_totals(live: LiveState, totals: LedgerTotals) -> Snapshot:
    """Put the ledger's totals beside what the daemon knows."""
    facts = {name: getattr(live, name) for name in LiveState.__dataclass_fields__}
    return Snapshot(**facts, totals=totals)
