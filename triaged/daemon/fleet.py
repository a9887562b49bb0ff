"""The workspaces of a fleet: each is opened at its first cycle, and alone if wrong."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from zlib import crc32

import structlog

from triaged.clock import Clock
from triaged.daemon.fleet_keys import FleetKeys
from triaged.daemon.fleet_leases import FleetLeases
from triaged.daemon.fleet_supervisor import FleetSupervisor
from triaged.daemon.fleet_watcher import FleetWatcher
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.notifier import Notifier, condition_of, make_notifier
from triaged.daemon.rules_pool import RulesPool
from triaged.daemon.runner import Runner
from triaged.daemon.snapshot import LiveState
from triaged.errors import (
    ConfigError,
    LeaseLost,
    LedgerError,
    LedgerUnavailable,
    RuleTestsFailed,
)
from triaged.fleet.workspace import Rejection, settings_of
from triaged.leadlex.clients import HttpClients
from triaged.leadlex.errors import NoResponse, Unreachable
from triaged.ledger import Ledger
from triaged.ledger.database import Database
from triaged.ledger.flags import WHOLE_FLEET
from triaged.ledger.fleet_views import FleetFlags, FleetViews
from triaged.ledger.state import StateName, StateStore
from triaged.quota.budget import infeasible_reason
from triaged.settings import Settings
from triaged.triage.fleet_state import WorkspaceFacts, WorkspaceState, state_of
from triaged.triage.saved_state import save_problem
from triaged.workspace import build_workspace

# A workspace that cannot be used is tried again this often; that costs no call.
RETRY_INTERVAL: Final = timedelta(minutes=1)
# Key files read at a time, of workspaces whose key was refused.
_KEYS_LOOKED_AT: Final = 200
# First polls are spread so that no more begin in a second than a fleet of 10,000 makes
# at an interval of five minutes.
_FIRST_POLL_SPACING: Final = timedelta(milliseconds=30)

# A workspace that was not run here for its interval and this long is run elsewhere.
_TAKEOVER: Final = timedelta(seconds=30)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all workspaces of a process share.

    ``verify`` raises if another daemon may run; ``on_fatal`` ends the process.
    ``leases`` say which workspaces to run, where several daemons share the ledger.
    """

    clock: Clock
    database: Database
    clients: HttpClients
    errors: InternalErrors
    dry_run: bool
    verify: Callable[[], None]
    on_fatal: Callable[[LedgerError], None]
    leases: FleetLeases | None = None


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


class Member:
    """One workspace of a fleet, with the numbers and times that outlive its changes."""

    def __init__(self, fleet: Fleet, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.workspace)
        self.health = Health(
            heartbeat_at=fleet.shared.clock.monotonic(),
            interval=settings.poll_interval,
            takeover=timedelta(0) if fleet.shared.leases is None else _TAKEOVER,
        )
        self.problem: str | None = None
        # Why its fleet files as they are now are not in force.
        self.files_rejected: str | None = None
        self._fleet = fleet
        self._runner: Runner | None = None
        self._messages: Notifier | None = None
        # When its last cycle ended here, or when it was added.
        self._ran_at = fleet.shared.clock.monotonic()

    async def run_cycle(self) -> datetime:
        fleet = self._fleet
        retry_at = fleet.shared.clock.now() + min(self.health.interval, RETRY_INTERVAL)
        try:
            fleet.shared.verify()
            runner = self._opened()
            if runner is None:
                return retry_at
            runner.has_new_key()
            next_at = await runner.run_cycle()
            self._ran_at = fleet.shared.clock.monotonic()
            self._note_reached(runner)
            self._send_messages()
        except LedgerUnavailable as error:
            # Nothing is dismissed; another daemon may have taken the workspace over.
            if isinstance(error, LeaseLost) and fleet.shared.leases is not None:
                fleet.shared.leases.note_fenced(self.settings.workspace)
            self.health.ledger_problem = str(error)
            return retry_at
        except LedgerError as error:
            # All workspaces share the ledger; without it nothing may be dismissed.
            fleet.shared.on_fatal(error)
            return retry_at
        # Changed while its cycle was running: the new settings are used soon.
        return next_at if self._runner is runner else fleet.shared.clock.now()

    def _note_reached(self, runner: Runner) -> None:
        self.health.ledger_problem = None
        report, leases = runner.health.last_report, self._fleet.shared.leases
        if report is not None and leases is not None:
            is_reached = not isinstance(report.error, Unreachable | NoResponse)
            leases.note_reached(is_reached=is_reached)

    def _send_messages(self) -> None:
        """Send what is due: after each cycle, while the workspace is still ours."""
        if self._messages is None:
            return
        shared = self._fleet.shared
        with shared.errors.survived(Where.NOTIFY):
            self.health.rules_rejected = self.rejected
            now, monotonic = shared.clock.now(), shared.clock.monotonic()
            condition = condition_of(self.health, now, monotonic)
            self._messages.tick(replace(condition, is_cycle_due=False))

    def change(self, settings: Settings) -> None:
        """Use other settings from the next cycle on; a running one sends no more."""
        self.close()
        self.settings = settings
        self.health.interval = settings.poll_interval

    def close(self) -> None:
        """Give up what was opened; a running cycle sends nothing more."""
        self.stop()
        self._runner = None
        self._fleet.rules.release(self.settings.rules, self.settings.workspace)

    def stop(self) -> None:
        """Ask a running cycle to send nothing more."""
        if self._runner is not None:
            self._runner.stop.set()

    @property
    def rejected(self) -> str | None:
        """Why its files as they are now are not in force, or None."""
        rules = None if self._runner is None else self._runner.rules.rejected
        return self.files_rejected or rules

    @property
    def is_refused(self) -> bool:
        return self.health.key_accepted is False

    def has_new_key(self) -> bool:
        return self._runner is not None and self._runner.has_new_key()

    def live_state(self) -> LiveState | None:
        """Return the state for page and metrics; None before the first cycle."""
        runner = self._runner
        if runner is None:
            return None
        self.health.rules_rejected = self.rejected
        return runner.live_state()

    def facts(
        self,
        now: datetime,
        *,
        is_paused: bool,
        has_breaker: bool,
        away_since: float | None = None,
    ) -> WorkspaceFacts:
        """Return what its state depends on, with what is known of the ledger."""
        until = self.health.waiting_for_quota_until
        return WorkspaceFacts(
            is_served=True,
            problem=self.problem,
            has_run=self.health.last_report is not None,
            key_accepted=self.health.key_accepted,
            is_ready=away_since is None and not self.health.reasons_not_ready(now),
            is_waiting=until is not None and now < until,
            is_paused=is_paused,
            has_breaker=has_breaker,
            is_elsewhere=self._is_elsewhere(away_since),
        )

    def _is_elsewhere(self, away_since: float | None) -> bool:
        leases, health = self._fleet.shared.leases, self.health
        if leases is None or leases.holds(self.settings.workspace):
            return False
        # While the ledger is away, nobody takes over.
        now = self._fleet.shared.clock.monotonic() if away_since is None else away_since
        silence = _TAKEOVER
        if health.last_report is not None:
            # Earlier than the workspace would count as failing.
            silence += 2 * health.interval
        return now - self._ran_at > silence.total_seconds()

    def _opened(self) -> Runner | None:
        """Return the runner; None if settings, key or rules cannot be used."""
        if self._runner is None:
            try:
                self._runner = self._open()
            except (ConfigError, RuleTestsFailed) as error:
                self._set_problem(str(error))
                return None
            self._set_problem(None)
        return self._runner

    def _open(self) -> Runner:
        """Open the workspace; raises what is wrong with its key, rules or settings."""
        fleet, settings = self._fleet, self.settings
        limit = settings.quota.daily_limit
        if limit is not None:
            why = infeasible_reason(limit, reserve=settings.quota.reserve)
            if why is not None:
                raise ConfigError.of_setting("reserve", why)
        rules = fleet.rules.use(settings.rules, settings.workspace, self.metrics)
        workspace = build_workspace(
            settings,
            fleet.supervisor.cycle_clock,
            ledger=Ledger(fleet.shared.database, settings.workspace),
            clients=fleet.shared.clients,
            check_key=partial(fleet.keys.check, settings.workspace),
            on_call=self.metrics.record_call,
            on_refused=self.metrics.record_rate_limited,
        )
        self._messages = make_notifier(workspace, fleet.shared.errors)
        return Runner(
            workspace,
            self.metrics,
            rules,
            health=self.health,
            dry_run=fleet.shared.dry_run,
            errors=fleet.shared.errors,
            save=partial(fleet.save_state, settings.workspace),
        )

    def _set_problem(self, problem: str | None) -> None:
        """Log and store what is wrong when that has changed."""
        if problem == self.problem:
            return
        self.problem = problem
        if problem is None:
            log.info("workspace.usable")
            return
        log.error("workspace.unusable", problems=problem.splitlines())
        save_problem(
            Ledger(self._fleet.shared.database, self.settings.workspace),
            problem,
            started_at=self._fleet.started_at,
            at=self._fleet.shared.clock.now(),
        )
