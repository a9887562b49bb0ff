"""Daemons as commands show them, whichever store the ledger is in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRecord:
    """A daemon as the ledger knows it; ``workspace`` is empty for one of a fleet.

    ``held`` counts the workspaces whose cycle it runs now, ``own`` those that it ran
    last and will run again. None is what a state directory does not record.
    """

    name: str
    workspace: str
    host: str
    pid: int
    is_alive: bool
    version: str | None = None
    since: datetime | None = None
    seen_at: datetime | None = None
    config_sha256: str | None = None
    held: int | None = None
    own: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingDaemons:
    """Which processes serve a ledger now: host and process id of each.

    ``holders`` names the daemon of each workspace as HOST:PID, where there are several
    daemons; without a database the only one serves all.
    """

    alive: frozenset[tuple[str, int]]
    holders: Mapping[str, str]

    def wrote(self, state: Mapping[str, object]) -> bool:
        """Return whether one of them stored a state of a workspace."""
        return (state.get("host"), state.get("pid")) in self.alive
