"""``triaged run`` with a fleet: the daemon, or one cycle of every workspace."""

import asyncio
import contextlib
import os
from pathlib import Path

import structlog

from triaged.cli import exit_codes
from triaged.cli.log_setup import configure_logs
from triaged.clock import SystemClock
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_member import Member, Shared
from triaged.daemon.fleet_process import open_fleet_daemon
from triaged.daemon.fleet_supervisor import MAX_WORKING
from triaged.daemon.fleet_watcher import FleetWatcher
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.signals import signal_events
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import LedgerError
from triaged.leadlex.clients import HttpClients
from triaged.ledger.opening import make_daemon_lock, open_database
from triaged.settings import Settings


def run_daemon(settings: Settings, *, dry_run: bool) -> None:
    """Run the daemon of a fleet until it is asked to stop."""
    if settings.notify_file is not None:
        from triaged.notify.apprise_sender import AppriseSender  # noqa: PLC0415 - rare

        AppriseSender(settings.notify_file).check()
    errors = InternalErrors()
    configure_logs(
        level=settings.log_level,
        form=settings.log_format,
        workspace=None,
        on_lost=lambda: errors.count(Where.LOG),
    )
    asyncio.run(_run(settings, errors, dry_run=dry_run))


async def _run(settings: Settings, errors: InternalErrors, *, dry_run: bool) -> None:
    with open_fleet_daemon(
        settings,
        SystemClock(),
        FleetWatcher(settings.fleet or Path(), os.environ),
        dry_run=dry_run,
        notifier=SystemdNotifier(),
        errors=errors,
    ) as daemon:
        await daemon.run()


def run_once(settings: Settings, *, dry_run: bool) -> int:
    """Run one cycle of every workspace, several at a time; return the exit code.

    It is that of all cycles if they ended alike, else that of an incomplete cycle.
    """
    configure_logs(level=settings.log_level, form=settings.log_format, workspace=None)
    codes = asyncio.run(_once(settings, dry_run=dry_run))
    return codes.pop() if len(codes) == 1 else exit_codes.INCOMPLETE


async def _once(settings: Settings, *, dry_run: bool) -> set[int]:
    clock, clients = SystemClock(), HttpClients()
    failures: list[LedgerError] = []
    lock = make_daemon_lock(settings.ledger, workspace="", since=clock.now(), once=True)
    with lock, contextlib.closing(open_database(settings.ledger)) as database:
        fleet = Fleet(
            Shared(
                clock=clock,
                database=database,
                clients=clients,
                errors=InternalErrors(),
                dry_run=dry_run,
                verify=lock.verify,
                on_fatal=failures.append,
            ),
            tick=_do_nothing,
        )
        watcher = FleetWatcher(settings.fleet or Path(), os.environ)
        watcher.load_initial(now=clock.now())
        fleet.follow(watcher, settings)
        try:
            await _run_cycles(fleet, failures)
            fleet.store_states()
        finally:
            fleet.supervisor.close()
            await clients.close()
    if failures:
        raise failures[0]
    codes = {_code_of(member) for member in fleet.members.values()}
    return codes | {exit_codes.CONFIG} if fleet.rejected else codes


async def _run_cycles(fleet: Fleet, failures: list[LedgerError]) -> None:
    stop, places = asyncio.Event(), asyncio.Semaphore(MAX_WORKING)

    async def run(name: str, member: Member) -> None:
        async with places:
            if not stop.is_set() and not failures:
                structlog.contextvars.bind_contextvars(workspace=name)
                await member.run_cycle()

    with signal_events(asyncio.get_running_loop(), stop, None):
        cycles = [asyncio.create_task(run(*each)) for each in fleet.members.items()]
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: fleet.stop())
        await asyncio.gather(*cycles)
        stopping.cancel()


def _code_of(member: Member) -> int:
    if member.problem is not None:
        return exit_codes.CONFIG
    report = member.health.last_report
    return exit_codes.INCOMPLETE if report is None else exit_codes.exit_code_of(report)


async def _do_nothing() -> None:
    """Stand for the tasks of each second, which one cycle does not need."""
