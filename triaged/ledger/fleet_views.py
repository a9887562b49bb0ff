"""Bounded queries over all workspaces of a ledger, for the views of a fleet."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triaged.ledger.database import Database
from triaged.ledger.flags import WHOLE_FLEET, FlagName
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import open_read_only
from triaged.ledger.state import StateName


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFlags:
    """The workspaces that are paused by themselves, and those with an open breaker.

    ``is_all_paused``: the whole fleet is paused.
    """

    paused: frozenset[str]
    breaker: frozenset[str]
    is_all_paused: bool

    def is_paused(self, workspace: str) -> bool:
        """Return whether a workspace may not dismiss."""
        return self.is_all_paused or workspace in self.paused


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTotals:
    """The counters of all workspaces together."""

    attempts: Mapping[str, int]
    dismissals: Mapping[str, int]
    observed: Mapping[str, int]
    unresolved: int


class FleetViews:
    """The views of all workspaces in one ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def flags(self) -> FleetFlags:
        """Return who is paused, and whose breaker is open."""
        found: dict[str, set[str]] = {}
        for row in self._database.rows(
            "SELECT workspace, name FROM flag WHERE name IN (?, ?)",
            (FlagName.PAUSED, FlagName.BREAKER),
        ):
            found.setdefault(row["name"], set()).add(row["workspace"])
        paused = found.get(FlagName.PAUSED, set())
        return FleetFlags(
            paused=frozenset(paused - {WHOLE_FLEET}),
            breaker=frozenset(found.get(FlagName.BREAKER, set())),
            is_all_paused=WHOLE_FLEET in paused,
        )

    def daemon_states(self) -> dict[str, dict[str, Any]]:
        """Return the state that a daemon stored last for each workspace."""
        rows = self._database.rows(
            "SELECT workspace, value FROM state WHERE name = ?", (StateName.DAEMON,)
        )
        with self._database.decoding():
            return {row["workspace"]: json.loads(row["value"]) for row in rows}

    def totals(self) -> FleetTotals:
        """Return the sums of the counters, by outcome or by reason."""
        attempts = self._counted("label", "attempts")
        unresolved = self._database.row(
            "SELECT COUNT(*) AS n FROM dismissal"
            " WHERE outcome IS NULL OR outcome = 'unknown'"
        )
        return FleetTotals(
            attempts=attempts,
            dismissals=self._counted("label2", "dismissals"),
            observed=self._counted("label2", "observed"),
            unresolved=unresolved["n"] if unresolved else 0,
        )

    def _counted(self, column: str, name: str) -> dict[str, int]:
        rows = self._database.rows(
            f"SELECT {column} AS label, SUM(value) AS n FROM counter"  # noqa: S608 - a column of ours
            f" WHERE name = ? GROUP BY {column}",
            (name,),
        )
        return {row["label"]: row["n"] for row in rows}


@contextlib.contextmanager
def open_fleet_views(place: Path | LedgerLocation) -> Iterator[FleetViews]:
    """Open the views of all workspaces on a separate connection.

    Raises:
        LedgerError: the ledger cannot be opened.

    """
    database = open_read_only(place)
    try:
        yield FleetViews(database)
    finally:
        database.close()
