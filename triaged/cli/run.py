"""``triaged run``: the daemon, or one cycle for cron."""

import asyncio
import sys

import click

from triaged.cli import exit_codes
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import (
    API,
    LEDGER_OPTIONS,
    LISTEN_OPTIONS,
    LOG_OPTIONS,
    QUOTA_OPTIONS,
    RETENTION_OPTIONS,
    RULES_OPTIONS,
    with_settings,
)
from triaged.clock import SystemClock
from triaged.daemon.service import open_daemon
from triaged.daemon.signals import signal_events
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import ConfigError, Problem
from triaged.ledger import DaemonLock
from triaged.quota.budget import infeasible_reason
from triaged.rulesfile.loader import load_rules
from triaged.settings import Settings
from triaged.triage.report import CycleResult, FalsePositiveLog, log_cycle
from triaged.triage.saved_state import RunningProcess
from triaged.workspace import open_workspace


@click.command
@click.option("--once", is_flag=True, help="Run one cycle and end, for cron.")
@click.option("--dry-run", is_flag=True, help="Decide and report, never dismiss.")
@with_settings(
    *API,
    *RULES_OPTIONS,
    *QUOTA_OPTIONS,
    *LEDGER_OPTIONS,
    *RETENTION_OPTIONS,
    *LISTEN_OPTIONS,
    *LOG_OPTIONS,
)
def run(*, settings: Settings, once: bool, dry_run: bool) -> None:
    """List pending tasks, decide by the rules, dismiss or leave, again and again."""
    _check_quota_feasible(settings)
    configure_logs(
        level=settings.log_level,
        form=settings.log_format,
        workspace=settings.workspace,
    )
    if once:
        sys.exit(asyncio.run(_run_once(settings, dry_run=dry_run)))
    asyncio.run(_run_daemon(settings, dry_run=dry_run))


def _check_quota_feasible(settings: Settings) -> None:
    """Refuse a quota that can never dismiss anything; what is unknown may be enough."""
    limit = settings.quota.daily_limit
    if limit is None:
        return
    why = infeasible_reason(limit, reserve=settings.quota.reserve)
    if why is not None:
        raise ConfigError([Problem("settings", 0, 0, "TRIAGED_RESERVE", why)])


async def _run_daemon(settings: Settings, *, dry_run: bool) -> None:
    async with open_daemon(
        settings, SystemClock(), dry_run=dry_run, notifier=SystemdNotifier()
    ) as daemon:
        await daemon.run()


async def _run_once(settings: Settings, *, dry_run: bool) -> int:
    clock = SystemClock()
    rules, _ = load_rules(settings.rules, now=clock.now())
    process = RunningProcess(
        settings=settings, started_at=clock.now(), dry_run=dry_run, once=True
    )
    with DaemonLock(
        settings.state_dir,
        workspace=settings.workspace,
        since=process.started_at,
        once=True,
    ):
        async with open_workspace(settings, clock) as workspace:
            stop = asyncio.Event()
            false_positives = FalsePositiveLog(workspace.ledger.feedback)
            with signal_events(asyncio.get_running_loop(), stop, None):
                report = await workspace.cycle(dry_run=dry_run).run(
                    lambda: rules, stop=stop
                )
            false_positives.log_new()
            process.save(workspace.ledger, rules.ruleset, report, at=clock.now())
            if report.listed:
                workspace.prune(clock.now())
    log_cycle(report)
    if report.result is CycleResult.OK:
        return exit_codes.OK
    if report.error is not None and not report.listed:
        return exit_codes.exit_code_for(report.error)
    code = (
        exit_codes.exit_code_for(report.error)
        if report.error
        else exit_codes.INCOMPLETE
    )
    return code if code == exit_codes.KEY_REFUSED else exit_codes.INCOMPLETE
