"""The daemon of one workspace: schedule, signals, server and a clean shutdown."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from triaged import __version__
from triaged.clock import Clock
from triaged.daemon.health import Health
from triaged.daemon.http_server import HttpServer
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.notifier import condition_of, make_notifier
from triaged.daemon.rules_watcher import RulesWatcher
from triaged.daemon.runner import Runner
from triaged.daemon.serving import listen
from triaged.daemon.signals import signal_events
from triaged.daemon.snapshot import LiveState
from triaged.daemon.start_warnings import warn_if_idle
from triaged.daemon.supervisor import Supervisor
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import LedgerError, LedgerUnavailable
from triaged.leadlex.errors import KeyRejected, LexiError
from triaged.ledger.opening import make_daemon_lock
from triaged.settings import Settings
from triaged.triage.report import log_ledger
from triaged.triage.requests import Attempt
from triaged.workspace import Workspace, open_workspace

FILE_CHECK_SECONDS: Final = 3.0

# While the ledger is away an attempt costs no call, so it is made soon.
LEDGER_RETRY_INTERVAL: Final = timedelta(seconds=15)

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
        self.metrics = metrics
        self.errors = errors
        self._notifier = notifier
        self._clock = clock = workspace.clock
        self.rules_watcher = RulesWatcher(
            workspace.settings.rules,
            on_loaded=lambda: metrics.rules_loaded(clock.now()),
        )
        self._messages = make_notifier(workspace, errors)
        self.runner = Runner(
            workspace,
            metrics,
            self.rules_watcher,
            health=Health(
                heartbeat_at=clock.monotonic(),
                interval=workspace.settings.poll_interval,
            ),
            dry_run=dry_run,
            errors=errors,
            on_attempt=on_attempt,
        )
        self.workspace = self.runner.workspace
        self.health: Health = self.runner.health
        self._stop = self.runner.stop
        self._reload_requested = asyncio.Event()
        self._files_checked_at = clock.monotonic()
        self._fatal_error: LedgerError | LexiError | None = None
        self._lock = make_daemon_lock(
            workspace.settings.ledger,
            workspace=workspace.settings.workspace,
            since=clock.now(),
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
            LedgerError: the ledger can no longer be written, and will not come back.
            ListenError: the address cannot be bound.
        """
        settings, loop = self.workspace.settings, asyncio.get_running_loop()
        with self._lock, signal_events(loop, self._stop, self._reload_requested):
            self.workspace.rate_limiter.take_over()
            self.rules_watcher.load_initial(now=self._clock.now())
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
        return self.runner.live_state()

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
        settings = self.workspace.settings
        log.info(
            "daemon.started",
            version=__version__,
            rules=self.rules_watcher.rules.ruleset.sha256,
            dry_run=self.runner.dry_run,
            api_url=settings.api_url,
        )
        warn_if_idle(
            self.workspace.ledger.flags,
            dry_run=self.runner.dry_run,
            resume="triaged resume",
        )

    async def _run_cycle(self) -> datetime:
        was_accepted = self.health.key_accepted
        try:
            self._lock.verify()
            next_at = await self.runner.run_cycle()
            self._note_ledger(None)
        except LedgerUnavailable as error:
            # It may come back; until then each attempt fails before its first call.
            self._note_ledger(error)
            return self._clock.now() + min(self.health.interval, LEDGER_RETRY_INTERVAL)
        except LedgerError as error:
            # Without a ledger nothing may be dismissed. Exiting makes the failure
            # visible, and the service manager decides on a restart.
            self._end_with(error)
            return self._clock.now() + self.health.interval
        report = self.health.last_report
        if report and was_accepted is None and isinstance(report.error, KeyRejected):
            self._end_with(report.error)
        with self.errors.survived(Where.NOTIFY):
            self._notifier.status(self.runner.status_line(next_at))
        return next_at

    def _end_with(self, error: LedgerError | LexiError) -> None:
        self._fatal_error = error
        self._stop.set()

    async def _tick(self) -> None:
        """Run the tasks of each second; an error in one step ends that step only."""
        monotonic = self._clock.monotonic()
        if self.health.why_not_alive(monotonic) is None:
            with self.errors.survived(Where.NOTIFY):
                self._notifier.watchdog()
        with self.errors.survived(Where.METRICS):
            self._look_at_ledger()
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

    def _look_at_ledger(self) -> None:
        try:
            self._lock.heartbeat()
            self.runner.refresh_quota()
        except LedgerUnavailable as error:
            self._note_ledger(error)
        else:
            self._note_ledger(None)

    def _note_ledger(self, error: LedgerUnavailable | None) -> None:
        """Log when the ledger goes away or comes back, and show it as not ready."""
        was_away = self.health.ledger_problem is not None
        self.health.ledger_problem = None if error is None else str(error)
        log_ledger(self.health.ledger_problem, was_away=was_away)

    async def _check_files(self) -> None:
        now = self._clock.now()
        if self._reload_requested.is_set():
            self._reload_requested.clear()
            await self.rules_watcher.reload(now=now, pause=self._clock.sleep)
        else:
            self.rules_watcher.poll(now=now)
        self.health.rules_rejected = self.rules_watcher.rejected
        is_idle = self.supervisor.running is None
        if self.runner.has_new_key() and self.health.key_accepted is False and is_idle:
            self.supervisor.plan(now)
