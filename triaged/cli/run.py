"""``triaged run``: the daemon, or one cycle for cron."""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import click

from triaged.cli import exit_codes
from triaged.cli.fleet_use import FleetUse
from triaged.cli.log_setup import configure_logs, is_console
from triaged.cli.options import (
    CALL_OPTIONS,
    LOG_OPTIONS,
    NOTIFY_OPTIONS,
    with_settings,
)
from triaged.cli.run_lines import READABLE_EVENTS, attempt_line
from triaged.clock import SystemClock
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.signals import signal_events
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import ConfigError
from triaged.ledger.opening import make_daemon_lock
from triaged.ledger.state import StateName
from triaged.quota.budget import infeasible_reason
from triaged.rulesfile.in_force import FollowedRules, load_written_rules
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

OnAttempt = Callable[[Attempt], None]


@click.command
@click.option("--once", is_flag=True, help="Run one cycle and end, for cron.")
@click.option("--dry-run", is_flag=True, help="Decide and report, never dismiss.")
@click.option(
    "--metrics-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --once: write the metrics for node_exporter's textfile collector.",
)
@with_settings(
    *CALL_OPTIONS,
    "retention",
    *NOTIFY_OPTIONS,
    "listen",
    "page",
    "page_user_header",
    *LOG_OPTIONS,
    fleet=FleetUse.WHOLE,
)
def run(
    *, settings: Settings, once: bool, dry_run: bool, metrics_file: Path | None
) -> None:
    """List pending tasks, decide by the rules, dismiss or leave, again and again."""
    if metrics_file is not None:
        _check_metrics_file(metrics_file, once=once)
    if settings.fleet is not None:
        _run_fleet(settings, once=once, dry_run=dry_run, metrics_file=metrics_file)
        return
    _check_quota_feasible(settings)
    errors = InternalErrors()
    readable = is_console(settings.log_format)
    writer = configure_logs(
        level=settings.log_level,
        form=settings.log_format,
        workspace=settings.workspace,
        on_lost=lambda: errors.count(Where.LOG),
        hidden=READABLE_EVENTS if readable else (),
    )

    def show(attempt: Attempt) -> None:
        if readable:
            with errors.survived(Where.LOG):
                writer.put(attempt_line(attempt, at=SystemClock().now()))

    if once:
        sys.exit(
            asyncio.run(
                _run_once(
                    settings,
                    errors,
                    dry_run=dry_run,
                    metrics_file=metrics_file,
                    show=show,
                )
            )
        )
    asyncio.run(_run_daemon(settings, errors, show, dry_run=dry_run))


def _check_metrics_file(file: Path, *, once: bool) -> None:
    """Reject a metrics file that cannot be written, before a call is spent."""
    if not once:
        raise click.UsageError("--metrics-file needs --once; the daemon has /metrics")
    if not os.access(file.parent, os.W_OK | os.X_OK) or file.is_dir():
        why = f"cannot be written: {file}"
        raise click.BadParameter(why, param_hint="--metrics-file")


def _check_quota_feasible(settings: Settings) -> None:
    """Reject a quota that can never allow a dismissal; an unknown one is accepted."""
    limit = settings.quota.daily_limit
    if limit is None:
        return
    why = infeasible_reason(limit, reserve=settings.quota.reserve)
    if why is not None:
        raise ConfigError.of_setting("TRIAGED_RESERVE", why)


def _run_fleet(
    settings: Settings, *, once: bool, dry_run: bool, metrics_file: Path | None
) -> None:
    from triaged.cli import run_fleet  # noqa: PLC0415 - takes long to import

    if metrics_file is not None:
        raise click.UsageError("--metrics-file is for one: name it with --workspace")
    if once:
        sys.exit(run_fleet.run_once(settings, dry_run=dry_run))
    _allow_descriptors()
    run_fleet.run_daemon(settings, dry_run=dry_run)


async def _run_daemon(
    settings: Settings, errors: InternalErrors, show: OnAttempt, *, dry_run: bool
) -> None:
    from triaged.daemon.process import open_daemon  # noqa: PLC0415 - takes long to import

    _allow_descriptors()
    async with open_daemon(
        settings,
        SystemClock(),
        dry_run=dry_run,
        notifier=SystemdNotifier(),
        errors=errors,
        on_attempt=show,
    ) as daemon:
        await daemon.run()


def _allow_descriptors() -> None:
    """Raise the descriptor limit, so that idle HTTP clients cannot use it up."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _run_once(
    settings: Settings,
    errors: InternalErrors,
    *,
    dry_run: bool,
    metrics_file: Path | None = None,
    show: OnAttempt = lambda _: None,
) -> int:
    clock = SystemClock()
    rules, _ = load_written_rules(*settings.rules, now=clock.now())
    metrics = None
    if metrics_file is not None:
        metrics = Metrics(settings.workspace)
    process = RunningProcess(
        settings=settings, started_at=clock.now(), dry_run=dry_run, once=True
    )
    with make_daemon_lock(
        settings.ledger,
        workspace=settings.workspace,
        since=process.started_at,
        once=True,
    ):
        async with open_workspace(
            settings,
            clock,
            on_call=metrics.record_call if metrics else lambda _: None,
            on_refused=metrics.record_rate_limited if metrics else lambda _: None,
            on_lock_wait=log_lock_wait,
        ) as workspace:
            workspace.rate_limiter.take_over()
            send_due = _sending(workspace, errors)
            stop = asyncio.Event()
            false_positives = FalsePositiveLog(workspace.ledger.feedback)
            cycle = workspace.cycle(dry_run=dry_run, on_attempt=show)
            with signal_events(asyncio.get_running_loop(), stop, None):
                # While a cycle waits for the quota, the rules file may change.
                in_force = FollowedRules(settings.rules, rules, clock.now)
                report = await cycle.run(in_force, stop=stop)
            false_positives.log_new()
            now = clock.now()
            state = process.state(workspace.in_force(rules.ruleset), report, at=now)
            workspace.ledger.state.save(StateName.DAEMON, state, at=now)
            if report.listed:
                workspace.prune(clock.now())
            with errors.survived(Where.NOTIFY):
                send_due(report)
            if metrics_file is not None and metrics is not None:
                from triaged.daemon.metrics_file import write_metrics_file  # noqa: PLC0415 - loads prometheus_client

                write_metrics_file(
                    metrics_file,
                    metrics,
                    workspace,
                    rules.ruleset,
                    report,
                    dry_run=dry_run,
                )
    log_cycle(report)
    return exit_codes.exit_code_of(report)


def _sending(
    workspace: Workspace, errors: InternalErrors
) -> Callable[[CycleReport], None]:
    """Return how to send digest and alerts at the end of the cycle, and check it."""
    if workspace.settings.notify_file is None:
        return lambda _: None
    from triaged.daemon.notifier import (  # noqa: PLC0415 - rarely needed
        DaemonCondition,
        make_notifier,
    )
    from triaged.daemon.send_attempt import run_at_once  # noqa: PLC0415 - rarely needed

    notifier = make_notifier(workspace, errors, run_at_once)
    if notifier is None:
        return lambda _: None
    notifier.check()

    def send(report: CycleReport) -> None:
        # A refused key is the exit code of each run, not an event of one of them.
        is_failed = report.error is not None
        problems = [f"The last cycle failed: {report.error}."] if is_failed else []
        notifier.send_due(DaemonCondition(problems=problems))

    return send
