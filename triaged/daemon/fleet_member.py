"""One workspace of a fleet: opened at its first cycle, and alone if it is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

import structlog

from triaged.clock import Clock
from triaged.daemon.fleet_keys import FleetKeys
from triaged.daemon.fleet_leases import FleetLeases
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
from triaged.leadlex.clients import HttpClients
from triaged.leadlex.errors import NoResponse, Unreachable
from triaged.ledger import Ledger
from triaged.ledger.database import Database
from triaged.quota.budget import infeasible_reason
from triaged.settings import Settings
from triaged.triage.fleet_state import WorkspaceFacts
from triaged.triage.saved_state import save_problem
from triaged.workspace import build_workspace

# A workspace that cannot be used is tried again this often; that costs no call.
RETRY_INTERVAL: Final = timedelta(minutes=1)
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


class Home(Protocol):
    """The fleet, as far as one of its workspaces knows it."""

    shared: Shared
    rules: RulesPool
    keys: FleetKeys
    started_at: datetime

    @property
    def cycle_clock(self) -> Clock:
        """The clock of cycles, which give their place away while they wait."""
        ...

    def save_state(self, name: str, state: Mapping[str, Any], at: datetime) -> None:
        """Keep what a workspace has to show until it is stored."""
        ...


class Member:
    """One workspace of a fleet, with the numbers and times that outlive its changes."""

    def __init__(self, fleet: Home, settings: Settings) -> None:
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
            fleet.cycle_clock,
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
