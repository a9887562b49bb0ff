"""The state of a daemon at one time, for the status page and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from triaged.daemon.health import Health
from triaged.daemon.internal_errors import Where
from triaged.ledger.views import LedgerTotals
from triaged.quota import QuotaSnapshot
from triaged.rules.evidence import rules_in_force
from triaged.rules.rule import Ruleset


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveState:
    """The part of the state that is available without reading the ledger."""

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
    """The live state together with the totals of the ledger."""

    totals: LedgerTotals


def with_totals(live: LiveState, totals: LedgerTotals) -> Snapshot:
    """Combine the live state with the totals of the ledger.

    The rules are in the modes that promotions and demotions in the ledger gave them.
    """
    facts = {name: getattr(live, name) for name in LiveState.__dataclass_fields__}
    facts["ruleset"] = rules_in_force(live.ruleset, totals.modes)
    return Snapshot(**facts, totals=totals)
