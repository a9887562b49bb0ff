"""Runs the cycles of one workspace for a daemon, and keeps what they found."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias

import structlog

from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.snapshot import LiveState
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import KeyRejected
from triaged.ledger.state import StateName
from triaged.rulesfile.loader import CompiledRules
from triaged.triage.report import (
    CycleReport,
    FalsePositiveLog,
    log_cycle,
    log_lock_wait,
)
from triaged.triage.requests import Attempt
from triaged.triage.saved_state import RunningProcess
from triaged.workspace import Workspace

PRUNE_INTERVAL: Final = timedelta(hours=6)

# A rejected key rarely becomes valid, and each retry costs a call of the quota.
KEY_RETRY_INTERVAL: Final = timedelta(minutes=15)

# Stores the state that commands show, with its time.
SaveState: TypeAlias = Callable[[Mapping[str, Any], datetime], None]

log = structlog.get_logger()


class RulesSource(Protocol):
    """Holds the rules in force, and says why a changed file was rejected."""

    @property
    def rejected(self) -> str | None:
        """Why the files as they are now are not in force, or None."""
        ...

    @property
    def rules(self) -> CompiledRules:
        """The rules in force."""
        ...


class Runner:
    """Runs the cycles of one workspace, and keeps what they found.

    It knows neither signals nor schedules: the process that owns it asks for cycles,
    and sets ``stop`` to end a running one early. ``save`` stores what commands show.
    """

    def __init__(
        self,
        workspace: Workspace,
        metrics: Metrics,
        rules: RulesSource,
        *,
        health: Health,
        dry_run: bool,
        errors: InternalErrors,
        on_attempt: Callable[[Attempt], None] = lambda _: None,
        save: SaveState | None = None,
    ) -> None:
        self.workspace = workspace = replace(workspace, on_lock_wait=self._lock_awaited)
        self.metrics = metrics
        self.rules = rules
        self.errors = errors
        self.stop = asyncio.Event()
        self.dry_run = dry_run
        self._clock = clock = workspace.clock
        self._cycle = workspace.cycle(dry_run=dry_run, on_attempt=on_attempt)
        self._save = save or self._save_now
        self._is_stretched = False
        self._pruned_at: datetime | None = None
        self._last_key = workspace.key.reveal()
        self.health = health
        self._quota = workspace.rate_limiter.snapshot()
        self._false_positives = FalsePositiveLog(workspace.ledger.feedback)
        self._process = RunningProcess(
            settings=workspace.settings, started_at=clock.now(), dry_run=dry_run
        )

    def live_state(self) -> LiveState:
        """Return the state for page and metrics, without reading the ledger."""
        return LiveState(
            workspace=self.workspace.settings.workspace,
            now=self._clock.now(),
            dry_run=self.dry_run,
            ruleset=self.rules.rules.ruleset,
            health=replace(self.health),
            quota=self._quota,
            clock_skew=self.workspace.rate_limiter.clock_skew,
            errors=self.errors.counts(),
        )

    async def run_cycle(self) -> datetime:
        """Run one cycle and return when to poll next.

        Raises:
            LedgerError: the ledger can no longer be used, so nothing is dismissed.
        """
        report = await self._cycle.run(lambda: self.rules.rules, stop=self.stop)
        self._take_report(report)
        next_at = self._next_poll(report)
        self._save_state(next_at)
        with self.errors.survived(Where.LOG):
            log_cycle(report)
            self._false_positives.log_new()
        return next_at

    def _save_state(self, next_poll_at: datetime) -> None:
        """Store the state that `triaged status` shows in the ledger."""
        health, now = self.health, self._clock.now()
        state = self._process.state(
            self.workspace.in_force(self.rules.rules.ruleset),
            health.last_report,
            at=now,
            next_poll_at=next_poll_at,
            poll_interval=health.interval,
            last_success_at=health.last_success_at,
            reasons_not_ready=health.reasons_not_ready(now),
            key_accepted=health.key_accepted,
            quota=self._quota,
            waiting_until=health.waiting_for_quota_until,
        )
        self._save(state, now)

    def _save_now(self, state: Mapping[str, Any], at: datetime) -> None:
        self.workspace.ledger.state.save(StateName.DAEMON, state, at=at)

    def _lock_awaited(self, owner: str) -> None:
        self.health.waiting_for_process = owner
        log_lock_wait(owner)

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

    def status_line(self, next_at: datetime) -> str:
        """Return next poll and quota in one line, for the service manager."""
        view = self._quota
        left = f"{view.remaining} of {view.daily_limit} calls left"
        return f"next poll {next_at:%H:%M:%S} UTC, {left}"

    def refresh_quota(self) -> None:
        """Read the quota again, which commands spend too."""
        self._quota = self.workspace.rate_limiter.snapshot()

    def has_new_key(self) -> bool:
        """Return whether the key has changed since the last look, and log that."""
        key = self.workspace.key.reveal()
        if key == self._last_key:
            return False
        self._last_key = key
        log.info("api_key.rotated")
        return True

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
