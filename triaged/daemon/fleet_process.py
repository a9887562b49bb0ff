"""The daemon of a fleet: one process, lock, ledger and server for many workspaces."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Final

import structlog

from triaged import __version__
from triaged.clock import Clock
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_leases import make_leases
from triaged.daemon.fleet_member import Shared
from triaged.daemon.fleet_metrics import FleetMetrics
from triaged.daemon.fleet_server import FleetServer
from triaged.daemon.fleet_watcher import FleetWatcher
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.serving import listen
from triaged.daemon.signals import signal_events
from triaged.daemon.start_warnings import warn_if_idle
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import LedgerError, LedgerUnavailable
from triaged.leadlex.clients import HttpClients
from triaged.ledger import Ledger
from triaged.ledger.database import Database
from triaged.ledger.flags import WHOLE_FLEET
from triaged.ledger.opening import make_daemon_lock, open_database
from triaged.settings import Settings

FILE_CHECK_SECONDS: Final = 3.0
STATUS_SECONDS: Final = 10.0

log = structlog.get_logger()


@contextlib.contextmanager
def open_fleet_daemon(
    settings: Settings,
    clock: Clock,
    watcher: FleetWatcher,
    *,
    dry_run: bool,
    notifier: SystemdNotifier,
    errors: InternalErrors | None = None,
) -> Iterator["FleetDaemon"]:
    """Open the ledger, or raise ``LedgerError``, and build the daemon of a fleet.

    ``settings`` are those of the process, and of workspaces that do not set them.
    """
    database = open_database(settings.ledger)
    with contextlib.closing(database):
        yield FleetDaemon(
            settings,
            clock,
            database,
            watcher,
            dry_run=dry_run,
            notifier=notifier,
            errors=errors or InternalErrors(),
        )


class FleetDaemon:
    """Runs the cycles of all workspaces until it is asked to stop."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        database: Database,
        watcher: FleetWatcher,
        *,
        dry_run: bool,
        notifier: SystemdNotifier,
        errors: InternalErrors,
    ) -> None:
        self.settings = settings
        self.errors = errors
        self.metrics = FleetMetrics()
        self._clock = clock
        self._watcher = watcher
        self._notifier = notifier
        self._clients = HttpClients()
        self._stop = asyncio.Event()
        self._reload_requested = asyncio.Event()
        self._files_checked_at = self._status_at = clock.monotonic()
        self._fatal_error: LedgerError | None = None
        self._lock = make_daemon_lock(settings.ledger, workspace="", since=clock.now())
        # Daemons on one file exclude each other, those on a database share the work.
        self.metrics.leases = self._leases = make_leases(
            database, self._lock, clock, on_fatal=self._end_with
        )
        self.fleet = Fleet(
            Shared(
                clock=clock,
                database=database,
                clients=self._clients,
                errors=errors,
                dry_run=dry_run,
                verify=self._lock.verify,
                on_fatal=self._end_with,
                leases=self._leases,
            ),
            tick=self._tick,
            on_started=self.metrics.lateness.observe,
        )

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain the running cycles.

        Raises:
            AlreadyRunning: another daemon holds the state directory.
            ConfigError: no workspace of the fleet can be used.
            LedgerError: the ledger can no longer be written.
            ListenError: the address cannot be bound.
        """
        settings, loop = self.settings, asyncio.get_running_loop()
        with self._lock, signal_events(loop, self._stop, self._reload_requested):
            self._watcher.load_initial(now=self._clock.now())
            self._describe_files()
            listener = listen(settings.listen_host, settings.listen_port)
            with contextlib.closing(listener):
                try:
                    await self._serve(listener)
                finally:
                    await self._clients.close()
        if self._fatal_error is not None:
            raise self._fatal_error
        log.info("daemon.stopped")

    def stop(self) -> None:
        """Request a drain and shutdown, like SIGTERM."""
        self._stop.set()

    async def _serve(self, listener: socket.socket) -> None:
        server = FleetServer(self.fleet, self.metrics, self.settings)
        server.start(listener)
        try:
            host, port = listener.getsockname()[:2]
            log.info("http.listening", host=host, port=port)
            self.fleet.follow(self._watcher, self.settings)
            self._log_start()
            with self.errors.survived(Where.NOTIFY):
                self._notifier.ready()
            polling = asyncio.create_task(self.fleet.supervisor.run(self._stop))
            await self._stop.wait()
            self.fleet.stop()
            with self.errors.survived(Where.NOTIFY):
                self._notifier.stopping()
            await polling
            self._store_states()
            if self._leases is not None:
                self._leases.leave()
        finally:
            await server.stop()

    def _log_start(self) -> None:
        log.info(
            "daemon.started",
            version=__version__,
            workspaces=len(self.fleet.members),
            dry_run=self.fleet.shared.dry_run,
        )
        warn_if_idle(
            Ledger(self.fleet.shared.database, WHOLE_FLEET).flags,
            dry_run=self.fleet.shared.dry_run,
            resume="triaged resume --all",
        )

    def _end_with(self, error: LedgerError) -> None:
        # Exiting makes the failure visible; the service manager decides on a restart.
        self._fatal_error = error
        self._stop.set()

    async def _tick(self) -> None:
        """Run the tasks of each second; an error in one step ends that step only."""
        monotonic = self._clock.monotonic()
        if self.fleet.supervisor.why_not_alive(monotonic) is None:
            with self.errors.survived(Where.NOTIFY):
                self._notifier.watchdog()
        self._store_states()
        if monotonic - self._status_at >= STATUS_SECONDS:
            self._status_at = monotonic
            with self.errors.survived(Where.NOTIFY):
                self._notifier.status(self._status())
        is_due = monotonic - self._files_checked_at >= FILE_CHECK_SECONDS
        with self.errors.survived(Where.CYCLE):
            if is_due or self._reload_requested.is_set():
                self._files_checked_at = monotonic
                await self._check_fleet()
            self.fleet.rules.poll()

    def _store_states(self) -> None:
        try:
            self._lock.heartbeat()
            self.fleet.store_states()
        except LedgerUnavailable:
            # Shown by what claims workspaces, which finds it too.
            return
        except LedgerError as error:
            self._end_with(error)

    def _describe_files(self) -> None:
        self.metrics.config_sha256 = sha256 = self._watcher.config_sha256
        self._lock.describe(config_sha256=sha256)

    async def _check_fleet(self) -> None:
        now = self._clock.now()
        if self._reload_requested.is_set():
            self._reload_requested.clear()
            changes = await self._watcher.reload(now=now, pause=self._clock.sleep)
            await self.fleet.rules.reload()
        else:
            # Loading the files of a large fleet takes seconds.
            changes = await asyncio.to_thread(self._watcher.poll, now=now)
        self._describe_files()
        if changes or self.fleet.rejected != self._watcher.rejections:
            self.fleet.follow(self._watcher, self.settings)
        self.fleet.look_at_keys()

    def _status(self) -> str:
        try:
            states = Counter(self.fleet.states().values())
        except LedgerUnavailable:
            # Expected where the database is elsewhere: no error of the program.
            return f"{len(self.fleet.members)} workspaces, the ledger is out of reach"
        failing = sum(n for state, n in states.items() if state.needs_attention)
        return f"{len(self.fleet.members)} workspaces, {failing} need attention"
