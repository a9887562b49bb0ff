"""``triaged run``: the daemon, or one cycle for cron."""

import asyncio
import sys

import click

from triaged.budget import impossible
from triaged.cli import exit_codes as exits
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import (
    API,
    LEDGER,
    LOGS,
    QUOTA,
    RULES,
    UPKEEP,
    WEB,
    with_settings,
)
from triaged.clock import SystemClock
from triaged.daemon.service import open_daemon
from triaged.daemon.signals import signals_set
from triaged.daemon.systemd import Notifier
from triaged.errors import ConfigError, Problem
from triaged.ledger import DaemonLock
from triaged.rulesfile.loader import load_rules
from triaged.settings import Settings
from triaged.triage.report import CounterexampleLog, Result, log_cycle
from triaged.workspace import open_workspace


@click.command
@click.option("--once", is_flag=True, help="Run one cycle and end, for cron.")
@click.option("--dry-run", is_flag=True, help="Decide and report, never dismiss.")
@with_settings(*API, *RULES, *QUOTA, *LEDGER, *UPKEEP, *WEB, *LOGS)
def run(*, settings: Settings, once: bool, dry_run: bool) -> None:
    """List pending tasks, decide by the rules, dismiss or leave, again and again."""
    _refuse_the_impossible(settings)
    configure_logs(
        level=settings.log_level,
        form=settings.log_format,
        workspace=settings.workspace,
    )
    if once:
        sys.exit(asyncio.run(_once(settings, dry_run=dry_run)))
    asyncio.run(_forever(settings, dry_run=dry_run))


def _refuse_the_impossible(settings: Settings) -> None:
    """Refuse a quota that can never dismiss anything; what is unknown may be enough."""
    limit = settings.quota.daily_limit
    if limit is None:
        return
    why = impossible(limit, reserve=settings.quota.reserve)
    if why is not None:
        raise ConfigError([Problem("settings", 0, 0, "TRIAGED_RESERVE", why)])


async def _forever(settings: Settings, *, dry_run: bool) -> None:
    async with open_daemon(
        settings, SystemClock(), dry_run=dry_run, notifier=Notifier()
    ) as daemon:
        await daemon.run()


async def _once(settings: Settings, *, dry_run: bool) -> int:
    clock = SystemClock()
    rules, _ = load_rules(settings.rules, now=clock.now())
    with DaemonLock(settings.state_dir):
        async with open_workspace(settings, clock) as workspace:
            stop = asyncio.Event()
            marks = workspace.ledger.marks
            counterexamples = CounterexampleLog(marks)
            with signals_set(asyncio.get_running_loop(), stop, None):
                report = await workspace.cycle(dry_run=dry_run).run(rules, stop=stop)
            counterexamples.look(marks)
            if report.listed:
                workspace.forget_old(clock.now())
    log_cycle(report)
    if report.result is Result.OK:
        return exits.DONE
    if report.error is not None and not report.listed:
        return exits.code_for(report.error)
    code = exits.code_for(report.error) if report.error else exits.INCOMPLETE
    return code if code == exits.KEY_REFUSED else exits.INCOMPLETE
