"""The daemon: one workspace, a schedule, signals, and a way out that loses nothing."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import CollectorRegistry

from triaged import __version__
from triaged.clock import Clock
from triaged.daemon.health import Health
from triaged.daemon.http_server import listen
from triaged.daemon.metrics import Metrics
from triaged.daemon.rules_watcher import RulesWatcher
from triaged.daemon.signals import signal_events
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import LedgerError, QuotaExhausted
from triaged.leadlex.errors import KeyRejected
from triaged.ledger import DaemonLock
from triaged.ledger.flags import FlagName
from triaged.rulesfile.loader import CompiledRules
from triaged.settings import Settings
from triaged.triage.report import CycleReport, FalsePositiveLog, log_cycle
from triaged.triage.saved_state import RunningProcess
from triaged.workspace import Workspace, open_workspace

HEARTBEAT_SECONDS: Final = 1
FILE_CHECK_SECONDS: Final = 3
HEAD_START_SECONDS: Final = 0.05
PRUNE_INTERVAL: Final = timedelta(hours=6)

# A refused key will not mend itself; each question costs a call of the quota.
KEY_RETRY_INTERVAL: Final = timedelta(minutes=15)

# Longer than one call may take, shorter than systemd's patience of 90 s.
DRAIN_SECONDS: Final = 70

if TYPE_CHECKING:
    from triaged.daemon.scheduler import Scheduler

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_daemon(
    settings: Settings, clock: Clock, *, dry_run: bool, notifier: SystemdNotifier
) -> AsyncIterator["Daemon"]:
    """Open a workspace with its metrics, and make the daemon that runs it.

    Raises:
        ConfigError: there is no usable key.
        LedgerError: the ledger cannot be opened.
    """
    metrics = Metrics(settings.workspace, CollectorRegistry())
    async with open_workspace(
        settings,
        clock,
        on_call=metrics.record_call,
        on_refused=metrics.record_rate_limited,
    ) as workspace:
        yield Daemon(workspace, metrics, dry_run=dry_run, notifier=notifier)


class Daemon:
    """Runs cycles until told to stop."""

    def __init__(
        self,
        workspace: Workspace,
        metrics: Metrics,
        *,
        dry_run: bool,
        notifier: SystemdNotifier,
    ) -> None:
        self.workspace = self._workspace = workspace
        self.metrics = metrics
        self.dry_run = dry_run
        self._notifier = notifier
        self._clock = workspace.clock
        self._cycle = workspace.cycle(dry_run=dry_run)
        self._stop = asyncio.Event()
        self._reload_requested = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stretched_to: timedelta | None = None
        self._pruned_at: datetime | None = None
        self._last_key = workspace.key.reveal()
        self._fatal_error: LedgerError | KeyRejected | None = None
        self.health = Health(
            heartbeat_at=self._clock.now(), interval=workspace.settings.poll_interval
        )
        self.rules_watcher = RulesWatcher(
            workspace.settings.rules,
            on_loaded=self._rules_loaded,
            on_rejected=metrics.rules_rejected,
        )
        self._schedule: Scheduler | None = None
        self._false_positives = FalsePositiveLog(workspace.ledger.feedback)
        self._process = RunningProcess(
            settings=workspace.settings,
            started_at=self._clock.now(),
            dry_run=dry_run,
        )

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT, then drain the cycle in flight.

        Raises:
            ConfigError: the rules file cannot be used.
            RulesTestsFailed: a test in it fails.
            AlreadyRunning: another daemon holds the state directory.
            KeyRefused: the key was never accepted since the start.
            LedgerError: the ledger cannot be written any more.
        """
        settings = self._workspace.settings
        with DaemonLock(
            settings.state_dir,
            workspace=settings.workspace,
            since=self._process.started_at,
        ):
            loaded = self.rules_watcher.load_initial(now=self._clock.now())
            for warning in loaded.warnings:
                log.warning("rules.warning", problem=str(warning))
            # Bound before anything is done: a taken port must not cost a dismissal.
            listener = listen(settings.listen_host, settings.listen_port)
            with (
                contextlib.closing(listener),
                signal_events(
                    asyncio.get_running_loop(), self._stop, self._reload_requested
                ),
            ):
                await self._serve(listener)
        if self._fatal_error is not None:
            raise self._fatal_error
        log.info("daemon.stopped")

    def stop(self) -> None:
        """Ask the daemon to drain and end, as SIGTERM does."""
        self._stop.set()

    async def _serve(self, listener: socket.socket) -> None:
        self._running = asyncio.create_task(self._run_cycle())
        try:
            # The first list leaves before what takes long to import.
            await self._clock.sleep(HEAD_START_SECONDS)
            async with self._http_server(listener):
                self._start_schedule()
                log.info(
                    "daemon.started",
                    version=__version__,
                    rules=self.rules_watcher.rules.ruleset.sha256,
                    dry_run=self.dry_run,
                    api_url=self._workspace.settings.api_url,
                )
                self._notifier.ready()
                await self._stop.wait()
                self._notifier.stopping()
                if self._schedule is not None:
                    self._schedule.pause()
                await self._drain()
        finally:
            if self._schedule is not None:
                self._schedule.close()

    def _start_schedule(self) -> None:
        from triaged.daemon.scheduler import Scheduler  # noqa: PLC0415 - takes long to import

        self._schedule = Scheduler()
        self._schedule.every(HEARTBEAT_SECONDS, self._heartbeat, name="beat")
        self._schedule.every(FILE_CHECK_SECONDS, self._check_files, name="watch")
        if self._running is None and self.health.next_poll_at is not None:
            self._schedule_cycle(self.health.next_poll_at)

    @contextlib.asynccontextmanager
    async def _http_server(self, listener: socket.socket) -> AsyncIterator[None]:
        from triaged.daemon.http_server import HttpServer  # noqa: PLC0415 - takes long to import

        server = HttpServer(self, self._workspace)
        server.start(listener)
        host, port = listener.getsockname()[:2]
        log.info("http.listening", host=host, port=port)
        try:
            yield
        finally:
            await server.stop()

    async def _drain(self) -> None:
        if self._running is None:
            return
        log.info("cycle.draining")
        _, late = await asyncio.wait({self._running}, timeout=DRAIN_SECONDS)
        if late:
            log.error("cycle.drain_timed_out", timeout_seconds=DRAIN_SECONDS)

    def _schedule_cycle(self, at: datetime) -> None:
        self.health.next_poll_at = at
        if self._schedule is not None:
            self._schedule.at(at, self._run_cycle, name="cycle")

    async def _run_cycle(self) -> None:
        self._running = asyncio.current_task()
        self.health.cycle_since = self._clock.now()
        try:
            report = await self._cycle.run(
                lambda: self.rules_watcher.rules, stop=self._stop
            )
            self._on_cycle_finished(report)
            next_at = self._next_poll(report)
            self._save_state(next_at)
        except LedgerError as error:
            # Without memory nothing may be dismissed; a restart will not help either,
            # but it is loud, and the service manager's to decide.
            self._fatal_error = error
            self._stop.set()
            return
        except Exception:  # the one loop that must survive
            log.exception("cycle.crashed")
            next_at = self._clock.now() + self.health.interval
        finally:
            self._running = None
            self.health.cycle_since = None
        if not self._stop.is_set():
            self._schedule_cycle(next_at)

    def _save_state(self, next_poll_at: datetime) -> None:
        """Leave in the ledger what `triaged status` shows."""
        health, now = self.health, self._clock.now()
        self._process.save(
            self._workspace.ledger,
            self.rules_watcher.rules.ruleset,
            health.last_report,
            at=now,
            next_poll_at=next_poll_at,
            poll_interval=health.interval,
            last_success_at=health.last_success_at,
            reasons_not_ready=health.reasons_not_ready(now),
            key_accepted=health.key_accepted,
        )

    def _on_cycle_finished(self, report: CycleReport) -> None:
        now, health = self._clock.now(), self.health
        log_cycle(report)
        health.last_report = report
        if report.listed:
            health.last_success_at = now
            health.key_accepted = True
            self._prune(now)
        if isinstance(report.error, KeyRejected):
            if health.key_accepted is None:
                self._fatal_error = report.error
                self._stop.set()
            health.key_accepted = False
        health.waiting_for_quota_until = (
            report.error.until if isinstance(report.error, QuotaExhausted) else None
        )
        self.metrics.record_cycle(report, at=now)
        self.refresh_metrics()

    def _next_poll(self, report: CycleReport) -> datetime:
        """Say when to poll next, and say it loudly when that is later than wished."""
        now, wished = self._clock.now(), self._workspace.settings.poll_interval
        at = self._workspace.rate_limiter.next_poll(wished, backlog=report.backlog)
        if isinstance(report.error, QuotaExhausted):
            at = max(at, report.error.until)
            self.health.waiting_for_quota_until = at
        if isinstance(report.error, KeyRejected):
            at = max(at, now + KEY_RETRY_INTERVAL)
        interval = max(at - now, wished)
        self.health.interval = interval
        if interval > wished * 1.05 and self._stretched_to is None:
            log.warning(
                "poll_interval.stretched",
                configured_seconds=wished.total_seconds(),
                effective_seconds=round(interval.total_seconds()),
            )
            self._stretched_to = interval
        elif interval <= wished * 1.05:
            self._stretched_to = None
        self.metrics.set_quota(
            self._workspace.rate_limiter.snapshot(), interval=interval
        )
        self._notifier.status(self._status(at))
        return at

    def _status(self, next_at: datetime) -> str:
        view = self._workspace.rate_limiter.snapshot()
        left = f"{view.remaining} of {view.daily_limit} calls left"
        return f"next poll {next_at:%H:%M:%S} UTC, {left}"

    def refresh_metrics(self) -> None:
        """Bring metrics that others may have changed up to date."""
        workspace = self._workspace
        ledger, telemetry = workspace.ledger, self.metrics
        telemetry.sync_counters(ledger)
        self._false_positives.log_new()
        telemetry.set_state(
            paused=ledger.flags.get(FlagName.PAUSED) is not None,
            unresolved=ledger.dismissals.count_unresolved(),
            clock_skew=workspace.rate_limiter.clock_skew,
        )

    async def _heartbeat(self) -> None:
        now = self._clock.now()
        self.health.heartbeat(now)
        if self.health.is_alive(now):
            self._notifier.watchdog()

    async def _check_files(self) -> None:
        now = self._clock.now()
        if self._reload_requested.is_set():
            self._reload_requested.clear()
            self.rules_watcher.reload(now=now)
        else:
            self.rules_watcher.poll(now=now)
        self.health.rules_rejected = self.rules_watcher.rejected
        key = self._workspace.key.reveal()
        if key != self._last_key:
            self._last_key = key
            log.info("api_key.rotated")
            if self.health.key_accepted is False and self._running is None:
                self._schedule_cycle(now)

    def _prune(self, now: datetime) -> None:
        """Forget what is old, now that the server has said what time it is."""
        if self._pruned_at and timedelta(0) <= now - self._pruned_at < PRUNE_INTERVAL:
            return
        rows = self._workspace.prune(now)
        if rows is None:
            return
        self._pruned_at = now
        if rows:
            log.info("ledger.pruned", rows=rows)

    def _rules_loaded(self, rules: CompiledRules) -> None:
        self.metrics.rules_loaded(rules.ruleset, at=self._clock.now())
        self.metrics.sync_counters(self._workspace.ledger)
