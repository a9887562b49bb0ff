"""What metrics and readiness of a fleet show of its ledger, also while it is away."""

import contextlib
from collections.abc import Iterable
from typing import Final

from triaged.clock import Clock
from triaged.daemon.snapshot import LiveState, with_totals
from triaged.errors import LedgerUnavailable
from triaged.ledger.fleet_views import FleetFlags, FleetTotals, FleetViews
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import open_read_only
from triaged.ledger.views import LedgerTotals, LedgerViews

# An attempt may take seconds, in which all other requests wait.
_AGAIN_SECONDS: Final = 5.0


class FleetReader:
    """Keeps what was read last; for use in one thread.

    ``problem`` says why the ledger cannot be used for now, or is None.
    """

    def __init__(self, place: LedgerLocation, clock: Clock) -> None:
        self.problem: str | None = None
        self.flags = FleetFlags(
            paused=frozenset(), breaker=frozenset(), is_all_paused=False
        )
        self.sums: FleetTotals | None = None
        self._totals: dict[str, LedgerTotals] = {}
        self._read_at = self._again_at = float("-inf")
        self._place = place
        self._clock = clock

    @property
    def away_since(self) -> float | None:
        """When the ledger was read last, if it has been away since."""
        return None if self.problem is None else self._read_at

    def read(self, workspaces: Iterable[str] = (), *, sums: bool = False) -> None:
        """Read the flags, and the totals of some workspaces or the sums of all.

        One connection for all of it, and no other soon after one that failed.
        """
        if self._clock.monotonic() < self._again_at:
            return
        try:
            with contextlib.closing(open_read_only(self._place)) as database:
                views = FleetViews(database)
                self.flags = views.flags()
                if sums:
                    self.sums = views.totals()
                for name in workspaces:
                    self._totals[name] = LedgerViews(database, name).totals()
        except LedgerUnavailable as error:
            self.problem = str(error)
            self._again_at = self._clock.monotonic() + _AGAIN_SECONDS
            return
        self.problem, self._read_at = None, self._clock.monotonic()

    def with_totals(self, live: LiveState) -> LiveState:
        """Add what was read last of a workspace, if anything was."""
        totals = self._totals.get(live.workspace)
        return live if totals is None else with_totals(live, totals)
