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
from triaged.daemon.metrics import Telemetry
from triaged.daemon.rules_watcher import RulesKeeper
from triaged.daemon.signals import signals_set
from triaged.daemon.systemd import Notifier
from triaged.errors import LedgerError, QuotaSpent
from triaged.leadlex.errors import KeyRefused
from triaged.ledger import DaemonLock
from triaged.ledger.flags import MarkName
from triaged.rulesfile.loader import Rules
from triaged.settings import Settings
from triaged.triage.report import CounterexampleLog, CycleReport, log_cycle
from triaged.workspace import Workspace, open_workspace

BEAT_SECONDS: Final = 1
WATCH_SECONDS: Final = 3
HEAD_START_SECONDS: Final = 0.05
UPKEEP_EVERY: Final = timedelta(hours=6)

# A refused key will not mend itself; each question costs a call of the quota.
ASK_AGAIN_AFTER: Final = timedelta(minutes=15)

# Longer than one call may take, shorter than systemd's patience of 90 s.
DRAIN_SECONDS: Final = 70

if TYPE_CHECKING:
    from triaged.daemon.scheduler import Schedule

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_daemon(
    settings: Settings, clock: Clock, *, dry_run: bool, notifier: Notifier
) -> AsyncIterator["Daemon"]:
    """Open a workspace with its metrics, and make the daemon that runs it.

    Raises:
        ConfigError: there is no usable key.
        LedgerError: the ledger cannot be opened.
    """
    metrics = Telemetry(settings.workspace, CollectorRegistry())
    async with open_workspace(
        settings, clock, on_exchange=metrics.exchange, on_refused=metrics.refused
    ) as workspace:
        yield Daemon(workspace, metrics, dry_run=dry_run, notifier=notifier)


class Daemon:
    """Runs cycles until told to stop."""

    def __init__(
        self,
        workspace: Workspace,
        metrics: Telemetry,
        *,
        dry_run: bool,
        notifier: Notifier,
    ) -> None:
        self.workspace = self._workspace = workspace
        self.metrics = metrics
        self.dry_run = dry_run
        self._notifier = notifier
        self._clock = workspace.clock
        self._cycle = workspace.cycle(dry_run=dry_run)
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stretched: timedelta | None = None
        self._kept_up_at: datetime | None = None
        self._key_text = workspace.key.reveal()
        self._broken: LedgerError | KeyRefused | None = None
        self.health = Health(
            beat_at=self._clock.now(), interval=workspace.settings.interval
        )
        self.keeper = RulesKeeper(
            workspace.settings.rules,
            on_loaded=self._rules_loaded,
            on_rejected=metrics.rules_rejected,
        )
        self._schedule: Schedule | None = None
        self._counterexamples = CounterexampleLog(workspace.ledger.marks)

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
        with DaemonLock(settings.state_dir):
            loaded = self.keeper.begin(now=self._clock.now())
            for warning in loaded.warnings:
                log.warning("rules.warned", problem=str(warning))
            # Bound before anything is done: a taken port must not cost a dismissal.
            listener = listen(settings.listen_host, settings.listen_port)
            with (
                contextlib.closing(listener),
                signals_set(asyncio.get_running_loop(), self._stop, self._hangup),
            ):
                await self._work(listener)
        if self._broken is not None:
            raise self._broken
        log.info("daemon.stopped")

    def stop(self) -> None:
        """Ask the daemon to drain and end, as SIGTERM does."""
        self._stop.set()

    async def _work(self, listener: socket.socket) -> None:
        self._running = asyncio.create_task(self._run_cycle())
        try:
            # The first list leaves before what takes long to import.
            await self._clock.sleep(HEAD_START_SECONDS)
            async with self._serving(listener):
                self._begin_schedule()
                log.info(
                    "daemon.started",
                    version=__version__,
                    rules=self.keeper.rules.ruleset.sha256,
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

    def _begin_schedule(self) -> None:
        from triaged.daemon.scheduler import Schedule  # noqa: PLC0415 - takes long to import

        self._schedule = Schedule()
        self._schedule.every(BEAT_SECONDS, self._beat, name="beat")
        self._schedule.every(WATCH_SECONDS, self._watch, name="watch")
        if self._running is None and self.health.next_poll_at is not None:
            self._plan_cycle(self.health.next_poll_at)

    @contextlib.asynccontextmanager
    async def _serving(self, listener: socket.socket) -> AsyncIterator[None]:
        from triaged.daemon.http_server import WebServer  # noqa: PLC0415 - takes long to import

        server = WebServer(self, self._workspace)
        server.start(listener)
        host, port = listener.getsockname()[:2]
        log.info("web.listening", host=host, port=port)
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
            log.error("cycle.abandoned", after_seconds=DRAIN_SECONDS)

    def _plan_cycle(self, at: datetime) -> None:
        self.health.next_poll_at = at
        if self._schedule is not None:
            self._schedule.once(at, self._run_cycle, name="cycle")

    async def _run_cycle(self) -> None:
        self._running = asyncio.current_task()
        self.health.cycle_since = self._clock.now()
        try:
            report = await self._cycle.run(self.keeper.rules, stop=self._stop)
            self._finished(report)
            next_at = self._next_poll(report)
        except LedgerError as error:
            # Without memory nothing may be dismissed; a restart will not help either,
            # but it is loud, and the service manager's to decide.
            self._broken = error
            self._stop.set()
            return
        except Exception:  # the one loop that must survive
            log.exception("cycle.crashed")
            next_at = self._clock.now() + self.health.interval
        finally:
            self._running = None
            self.health.cycle_since = None
        if not self._stop.is_set():
            self._plan_cycle(next_at)

    def _finished(self, report: CycleReport) -> None:
        now, health = self._clock.now(), self.health
        log_cycle(report)
        health.last = report
        if report.listed:
            health.last_success_at = now
            health.key_accepted = True
            self._keep_up(now)
        if isinstance(report.error, KeyRefused):
            if health.key_accepted is None:
                self._broken = report.error
                self._stop.set()
            health.key_accepted = False
        health.waiting_for_quota_until = (
            report.error.until if isinstance(report.error, QuotaSpent) else None
        )
        self.metrics.cycle(report, at=now)
        self.refresh_metrics()

    def _next_poll(self, report: CycleReport) -> datetime:
        """Say when to poll next, and say it loudly when that is later than wished."""
        now, wished = self._clock.now(), self._workspace.settings.interval
        at = self._workspace.meter.next_poll(wished, backlog=report.backlog)
        if isinstance(report.error, QuotaSpent):
            at = max(at, report.error.until)
            self.health.waiting_for_quota_until = at
        if isinstance(report.error, KeyRefused):
            at = max(at, now + ASK_AGAIN_AFTER)
        interval = max(at - now, wished)
        self.health.interval = interval
        if interval > wished * 1.05 and self._stretched is None:
            log.warning(
                "quota.stretched",
                wished_seconds=wished.total_seconds(),
                in_force_seconds=round(interval.total_seconds()),
            )
            self._stretched = interval
        elif interval <= wished * 1.05:
            self._stretched = None
        self.metrics.quota(self._workspace.meter.view(), interval=interval)
        self._notifier.status(self._status(at))
        return at

    def _status(self, next_at: datetime) -> str:
        view = self._workspace.meter.view()
        left = f"{view.remaining} of {view.daily_limit} calls left"
        return f"next poll {next_at:%H:%M:%S} UTC, {left}"

    def refresh_metrics(self) -> None:
        """Bring metrics that others may have changed up to date."""
        workspace = self._workspace
        ledger, telemetry = workspace.ledger, self.metrics
        telemetry.totals(ledger.marks)
        self._counterexamples.look(ledger.marks)
        telemetry.state(
            paused=ledger.marks.get(MarkName.PAUSED) is not None,
            unsettled=len(ledger.dismissals.open()),
            clock_skew=workspace.meter.clock_skew,
        )

    async def _beat(self) -> None:
        now = self._clock.now()
        self.health.beat(now)
        if self.health.is_alive(now):
            self._notifier.beat()

    async def _watch(self) -> None:
        now = self._clock.now()
        if self._hangup.is_set():
            self._hangup.clear()
            self.keeper.reload(now=now)
        else:
            self.keeper.look(now=now)
        self.health.rules_rejected = self.keeper.rejected
        key = self._workspace.key.reveal()
        if key != self._key_text:
            self._key_text = key
            log.info("key.changed")
            if self.health.key_accepted is False and self._running is None:
                self._plan_cycle(now)

    def _keep_up(self, now: datetime) -> None:
        """Forget what is old, now that the server has said what time it is."""
        if self._kept_up_at and timedelta(0) <= now - self._kept_up_at < UPKEEP_EVERY:
            return
        rows = self._workspace.forget_old(now)
        if rows is None:
            return
        self._kept_up_at = now
        if rows:
            log.info("ledger.pruned", rows=rows)

    def _rules_loaded(self, rules: Rules) -> None:
        self.metrics.rules_loaded(rules.ruleset, at=self._clock.now())
        self.metrics.totals(self._workspace.ledger.marks)
