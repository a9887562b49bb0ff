"""The workspaces of one process, and what changes of the fleet files do to them."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from zlib import crc32

import structlog

from triaged.clock import Clock
from triaged.daemon.fleet_keys import FleetKeys
from triaged.daemon.fleet_member import Member, Shared
from triaged.daemon.fleet_supervisor import FleetSupervisor
from triaged.daemon.fleet_watcher import FleetWatcher
from triaged.daemon.rules_pool import RulesPool
from triaged.fleet.workspace import Rejection, settings_of
from triaged.ledger import Ledger
from triaged.ledger.flags import WHOLE_FLEET
from triaged.ledger.fleet_views import FleetFlags, FleetViews
from triaged.ledger.state import StateName, StateStore
from triaged.settings import Settings
from triaged.triage.fleet_state import WorkspaceState, state_of

# Key files read at a time, of workspaces whose key was refused.
_KEYS_LOOKED_AT: Final = 200
# First polls are spread so that no more begin in a second than a fleet of 10,000 makes
# at an interval of five minutes.
_FIRST_POLL_SPACING: Final = timedelta(milliseconds=30)

log = structlog.get_logger()


class Fleet:
    """The workspaces of one process."""

    def __init__(
        self,
        shared: Shared,
        *,
        tick: Callable[[], Awaitable[None]],
        on_started: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.shared = shared
        self.rules = RulesPool(shared.clock)
        self.keys = FleetKeys()
        self.members: dict[str, Member] = {}
        self._refused: deque[Member] = deque()
        self._states: dict[str, tuple[Mapping[str, Any], datetime]] = {}
        self.rejected: tuple[Rejection, ...] = ()
        self.started_at = shared.clock.now()
        self.supervisor = FleetSupervisor(
            clock=shared.clock,
            errors=shared.errors,
            tick=tick,
            on_started=on_started,
            turns=shared.leases,
        )

    def follow(self, watcher: FleetWatcher, base: Settings) -> None:
        self.rejected = watcher.rejections
        self.keys.follow(watcher.workspaces)
        self.update(settings_of(each, base) for each in watcher.workspaces.values())
        for name, problem in watcher.not_in_force().items():
            self.members[name].files_rejected = problem

    def problems(self) -> dict[str, str]:
        """Return what was rejected of the workspaces that the fleet files name."""
        return {
            each.name: "\n".join(map(str, each.problems))
            for each in self.rejected
            if each.name is not None
        }

    def update(self, workspaces: Iterable[Settings]) -> None:
        """Run exactly these workspaces from now on, with these settings.

        What a workspace that was removed or changed has not sent yet is not sent.
        """
        wanted = {settings.workspace: settings for settings in workspaces}
        for name in [name for name in self.members if name not in wanted]:
            self.supervisor.remove(name)
            self.members.pop(name).close()
            log.info("workspace.removed", workspace=name)
        new = [settings for name, settings in wanted.items() if self._is_new(settings)]
        # By a hash: names in a row often share a server.
        new.sort(key=lambda settings: crc32(settings.workspace.encode()))
        offsets = dict.fromkeys(wanted, timedelta(0))
        for number, settings in enumerate(new):
            spread = len(new) * _FIRST_POLL_SPACING
            offset = min(spread, settings.poll_interval) * number / len(new)
            offsets[settings.workspace] = offset
            member = Member(self, settings)
            self.members[settings.workspace] = member
            self.supervisor.add(
                settings.workspace, member, self.shared.clock.now() + offset
            )
        if self.shared.leases is not None:
            self.shared.leases.follow(offsets)

    @property
    def cycle_clock(self) -> Clock:
        """The clock of cycles, which give their place away while they wait."""
        return self.supervisor.cycle_clock

    def save_state(self, name: str, state: Mapping[str, Any], at: datetime) -> None:
        """Keep what a workspace has to show until ``store_states``."""
        self._states[name] = state, at

    def store_states(self) -> None:
        """Store what all workspaces have to show: one commit instead of one each.

        A crash loses a second of it, and nothing of what decides a dismissal.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        states, self._states = self._states, {}
        if not states:
            return
        whole = Ledger(self.shared.database, WHOLE_FLEET)
        with whole.transaction():
            for name, (state, at) in states.items():
                store = StateStore(self.shared.database, name)
                store.save(StateName.DAEMON, state, at=at)

    def stop(self) -> None:
        """Ask every running cycle to send nothing more."""
        for member in self.members.values():
            member.stop()

    def states(
        self, flags: FleetFlags | None = None, *, away_since: float | None = None
    ) -> dict[str, WorkspaceState]:
        """Return the state of each workspace; ``flags`` if they were read already.

        ``away_since``: when they were read, if the ledger has been away since then.
        """
        flags = flags or FleetViews(self.shared.database).flags()
        now = self.shared.clock.now()
        # What was rejected does not run, unless it has kept an earlier form.
        unusable = dict.fromkeys(self.problems(), WorkspaceState.UNUSABLE)
        return unusable | {
            name: state_of(
                member.facts(
                    now,
                    is_paused=flags.is_paused(name),
                    has_breaker=name in flags.breaker,
                    away_since=away_since,
                )
            )
            for name, member in list(self.members.items())
        }

    def look_at_keys(self) -> None:
        """Poll workspaces at once whose refused key has been replaced.

        To be called every few seconds; each call looks at a bounded number of keys.
        """
        if not self._refused:
            refused = (m for m in self.members.values() if m.is_refused)
            self._refused.extend(refused)
        for _ in range(min(len(self._refused), _KEYS_LOOKED_AT)):
            member = self._refused.popleft()
            if member.is_refused and member.has_new_key():
                self.supervisor.plan(member.settings.workspace, self.shared.clock.now())

    def _is_new(self, settings: Settings) -> bool:
        """Return whether a workspace is unknown; one that is known is changed."""
        known = self.members.get(settings.workspace)
        if known is None:
            return True
        if not _is_same(known.settings, settings):
            known.change(settings)
            log.info("workspace.changed", workspace=settings.workspace)
            self.supervisor.plan(settings.workspace, self.shared.clock.now())
        return False


def _is_same(old: Settings, new: Settings) -> bool:
    """Return whether two settings are equal, keys from the environment by value."""
    a, b = old.key.value, new.key.value
    has_same_key = old.key.file == new.key.file and (
        a is b or (a is not None and b is not None and a.reveal() == b.reveal())
    )
    return has_same_key and replace(old, key=new.key) == new
