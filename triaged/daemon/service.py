"""The daemon: one workspace with supervisor, signals and a clean shutdown."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from triaged import __version__
from triaged.clock import Clock
from triaged.daemon.health import Health
from triaged.daemon.http_server import HttpServer, listen
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.notifier import condition_of, make_notifier
from triaged.daemon.rules_watcher import RulesWatcher
from triaged.daemon.signals import signal_events
from triaged.daemon.snapshot import LiveState
from triaged.daemon.supervisor import Supervisor
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import LedgerError, QuotaExhausted
from triaged.leadlex.errors import KeyRejected
from triaged.ledger import DaemonLock
from triaged.ledger.flags import FlagName
from triaged.rulesfile.loader import CompiledRules
from triaged.settings import Settings
from triaged.triage.report import (
    CycleReport,
    FalsePositiveLog,
    log_cycle,
    log_lock_wait,
)
from triaged.triage.requests import Attempt
from triaged.triage.saved_state import RunningProcess
from triaged.workspace import Workspace, open_workspace

FILE_CHECK_SECONDS: Final = 3.0
PRUNE_INTERVAL: Final = timedelta(hours=6)

# A rejected key rarely becomes valid, and each retry costs a call of the quota.
KEY_RETRY_INTERVAL: Final = timedelta(minutes=15)

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_daemon(
    settings: Settings,
    clock: Clock,
    *,
    dry_run: bool,
    notifier: SystemdNotifier,
    errors: InternalErrors | None = None,
    on_attempt: Callable[[Attempt], None] = lambda _: None,
) -> AsyncIterator["Daemon"]:
    """Open a workspace with its metrics, and build its daemon.

    Raises:
        ConfigError: there is no usable key.
        LedgerError: the ledger cannot be opened.

    """
    metrics = Metrics(settings.workspace)
    async with open_workspace(
        settings,
        clock,
        on_call=metrics.record_call,
        on_refused=metrics.record_rate_limited,
    ) as workspace:
        yield Daemon(
            workspace,
            metrics,
            dry_run=dry_run,
            notifier=notifier,
            errors=errors or InternalErrors(),
            on_attempt=on_attempt,
        )


class Daemon:
    """Runs cycles until it is asked to stop."""

    def __init__(
        self,
        workspace: Workspace,
        metrics: Metrics,
        *,
        dry_run: bool,
        notifier: SystemdNotifier,
        errors: InternalErrors,
        on_attempt: Callable[[Attempt], None],
    ) -> None:
        self.workspace = workspace = replace(workspace, on_lock_wait=self._lock_awaited)
        self.metrics = metrics
        self.errors = errors
        self._dry_run = dry_run
        self._notifier = notifier
        self._clock = clock = workspace.clock
        self._cycle = workspace.cycle(dry_run=dry_run, on_attempt=on_attempt)
        self._stop = asyncio.Event()
        self._reload_requested = asyncio.Event()
        self._is_stretched = False
        self._pruned_at: datetime | None = None
        self._files_checked_at = clock.monotonic()
        self._last_key = workspace.key.reveal()
        self._fatal_error: LedgerError | KeyRejected | None = None
        self.health = Health(
            heartbeat_at=clock.monotonic(), interval=workspace.settings.poll_interval
        )
        self._quota = workspace.rate_limiter.snapshot()
        self.rules_watcher = RulesWatcher(
            workspace.settings.rules,
            on_loaded=self._rules_loaded,
            on_rejected=metrics.rules_rejected,
        )
        self._messages = make_notifier(workspace, errors)
        self._false_positives = FalsePositiveLog(workspace.ledger.feedback)
        self._process = RunningProcess(
            settings=workspace.settings, started_at=clock.now(), dry_run=dry_run
        )
        self._lock = DaemonLock(
            workspace.settings.state_dir,
            workspace=workspace.settings.workspace,
            since=self._process.started_at,
        )
        self.supervisor = Supervisor(
            clock=clock,
            health=self.health,
            errors=errors,
            cycle=self._run_cycle,
            tick=self._tick,
        )

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain the running cycle.

        Raises:
            ConfigError: the rules file or the notification URLs cannot be used.
            RuleTestsFailed: a test in it fails.
            AlreadyRunning: another daemon holds the state directory.
            KeyRejected: the key has not been accepted since the start.
            LedgerError: the ledger can no longer be written.
            ListenError: the address cannot be bound.

        """
        settings, loop = self.workspace.settings, asyncio.get_running_loop()
        with (
            self._lock,
            signal_events(loop, self._stop, self._reload_requested),
        ):
            loaded = self.rules_watcher.load_initial(now=self._clock.now())
            for warning in loaded.warnings:
                log.warning("rules.warning", problem=str(warning))
            if self._messages is not None:
                self._messages.check()
            # Bound first, so that an occupied port ends the start before any dismissal.
            listener = listen(settings.listen_host, settings.listen_port)
            with contextlib.closing(listener):
                await self._serve(listener)
        if self._fatal_error is not None:
            raise self._fatal_error
        log.info("daemon.stopped")

    def stop(self) -> None:
        """Request a drain and shutdown, like SIGTERM."""
        self._stop.set()

    def live_state(self) -> LiveState:
        """Return the state for page and metrics, without reading the ledger."""
        return LiveState(
            workspace=self.workspace.settings.workspace,
            now=self._clock.now(),
            dry_run=self._dry_run,
            ruleset=self.rules_watcher.rules.ruleset,
            health=replace(self.health),
            quota=self._quota,
            clock_skew=self.workspace.rate_limiter.clock_skew,
            errors=self.errors.counts(),
        )

    async def _serve(self, listener: socket.socket) -> None:
        server = HttpServer(self)
        server.start(listener)
        try:
            host, port = listener.getsockname()[:2]
            log.info("http.listening", host=host, port=port)
            self._log_start()
            with self.errors.survived(Where.NOTIFY):
                self._notifier.ready()
            polling = asyncio.create_task(self.supervisor.run(self._stop))
            await self._stop.wait()
            with self.errors.survived(Where.NOTIFY):
                self._notifier.stopping()
            await polling
        finally:
            if self._messages is not None:
                with self.errors.survived(Where.NOTIFY):
                    self._messages.stop()
            await server.stop()

    def _log_start(self) -> None:
        """Log the start, and any reason why nothing may be dismissed."""
        settings = self.workspace.settings
        log.info(
            "daemon.started",
            version=__version__,
            rules=self.rules_watcher.rules.ruleset.sha256,
            dry_run=self._dry_run,
            api_url=settings.api_url,
        )
        if self._dry_run:
            log.warning("daemon.dry_run", effect="nothing is dismissed")
        paused = self.workspace.ledger.flags.get(FlagName.PAUSED)
        if paused is not None:
            log.warning(
                "daemon.paused",
                effect="nothing is dismissed until `triaged resume`",
                since=paused.since.isoformat(timespec="seconds"),
                note=paused.reason,
                by=paused.set_by,
            )

    async def _run_cycle(self) -> datetime:
        """Run one cycle and return when to poll next."""
        try:
            self._lock.verify()
            report = await self._cycle.run(
                lambda: self.rules_watcher.rules, stop=self._stop
            )
            self._take_report(report)
            next_at = self._next_poll(report)
            self._save_state(next_at)
        except LedgerError as error:
            # Without a ledger nothing may be dismissed. Exiting makes the failure
            # visible, and the service manager decides on a restart.
            self._end_with(error)
            return self._clock.now() + self.health.interval
        with self.errors.survived(Where.LOG):
            log_cycle(report)
            self._false_positives.log_new()
        with self.errors.survived(Where.NOTIFY):
            self._notifier.status(self._status(next_at))
        return next_at

    def _save_state(self, next_poll_at: datetime) -> None:
        """Store the state that `triaged status` shows in the ledger."""
        health, now = self.health, self._clock.now()
        self._process.save(
            self.workspace.ledger,
            self.rules_watcher.rules.ruleset,
            health.last_report,
            at=now,
            next_poll_at=next_poll_at,
            poll_interval=health.interval,
            last_success_at=health.last_success_at,
            reasons_not_ready=health.reasons_not_ready(now),
            key_accepted=health.key_accepted,
        )

    def _lock_awaited(self, owner: str) -> None:
        self.health.waiting_for_process = owner
        log_lock_wait(owner)

    def _end_with(self, error: LedgerError | KeyRejected) -> None:
        self._fatal_error = error
        self._stop.set()

    def _take_report(self, report: CycleReport) -> None:
        now, health = self._clock.now(), self.health
        health.waiting_for_process = None
        health.last_report = report
        health.last_poll_at = now
        if report.listed:
            health.last_list = report
            health.last_success_at = now
            health.key_accepted = True
        if isinstance(report.error, KeyRejected):
            if health.key_accepted is None:
                self._end_with(report.error)
            health.key_accepted = False
        health.waiting_for_quota_until = (
            report.error.until if isinstance(report.error, QuotaExhausted) else None
        )
        with self.errors.survived(Where.METRICS):
            self.metrics.record_cycle(report, at=now)
        self._quota = self.workspace.rate_limiter.snapshot()
        if report.listed:
            self._prune(now)

    def _next_poll(self, report: CycleReport) -> datetime:
        """Return when to poll next; log when that is later than requested."""
        now, requested = self._clock.now(), self.workspace.settings.poll_interval
        at = self.workspace.rate_limiter.next_poll(requested, backlog=report.backlog)
        if isinstance(report.error, QuotaExhausted):
            at = max(at, report.error.until)
            self.health.waiting_for_quota_until = at
        if isinstance(report.error, KeyRejected):
            at = max(at, now + KEY_RETRY_INTERVAL)
        interval = max(at - now, requested)
        self.health.interval = interval
        is_stretched = interval > requested * 1.05
        if is_stretched and not self._is_stretched:
            log.warning(
                "poll_interval.stretched",
                configured_seconds=requested.total_seconds(),
                effective_seconds=round(interval.total_seconds()),
            )
        self._is_stretched = is_stretched
        return at

    def _status(self, next_at: datetime) -> str:
        view = self._quota
        left = f"{view.remaining} of {view.daily_limit} calls left"
        return f"next poll {next_at:%H:%M:%S} UTC, {left}"

    async def _tick(self) -> None:
        """Run the tasks of each second; an error in one step ends that step only."""
        monotonic = self._clock.monotonic()
        if self.health.why_not_alive(monotonic) is None:
            with self.errors.survived(Where.NOTIFY):
                self._notifier.watchdog()
        with self.errors.survived(Where.METRICS):
            self._quota = self.workspace.rate_limiter.snapshot()
        if self._messages is not None and self.health.last_report is not None:
            with self.errors.survived(Where.NOTIFY):
                self._messages.tick(
                    condition_of(self.health, self._clock.now(), monotonic)
                )
        is_due = monotonic - self._files_checked_at >= FILE_CHECK_SECONDS
        if is_due or self._reload_requested.is_set():
            self._files_checked_at = monotonic
            with self.errors.survived(Where.CYCLE):
                await self._check_files()

    async def _check_files(self) -> None:
        now = self._clock.now()
        if self._reload_requested.is_set():
            self._reload_requested.clear()
            await self.rules_watcher.reload(now=now, pause=self._clock.sleep)
        else:
            self.rules_watcher.poll(now=now)
        self.health.rules_rejected = self.rules_watcher.rejected
        key = self.workspace.key.reveal()
        if key != self._last_key:
            self._last_key = key
            log.info("api_key.rotated")
            if self.health.key_accepted is False and self.supervisor.running is None:
                self.supervisor.plan(now)

    def _prune(self, now: datetime) -> None:
        """Delete old data, once the server's time has confirmed the clock."""
        if self._pruned_at and timedelta(0) <= now - self._pruned_at < PRUNE_INTERVAL:
            return
        rows = self.workspace.prune(now)
        if rows is None:
            return
        self._pruned_at = now
        if rows:
            log.info("ledger.pruned", rows=rows)

    def _rules_loaded(self, _: CompiledRules) -> None:
        self.metrics.rules_loaded(self._clock.now())
