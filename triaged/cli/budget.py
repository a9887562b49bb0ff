"""``triaged budget``: whether the quota can carry what the settings ask for."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.options import (
    LEDGER_OPTIONS,
    QUOTA_OPTIONS,
    RULES_OPTIONS,
    Format,
    with_format,
    with_settings,
)
from triaged.cli.output import echo, echo_json
from triaged.clock import SystemClock, read_boot_id
from triaged.errors import ConfigError
from triaged.ledger import Ledger
from triaged.ledger.database import FILE
from triaged.quota import QuotaSnapshot
from triaged.quota.budget import Budget, compute_budget
from triaged.rules.duration import format_duration
from triaged.rules.rule import SafetyLimits
from triaged.rulesfile.loader import load
from triaged.settings import Settings
from triaged.triage.rate_limiter import RateLimiter

_MINUTE: Final = timedelta(minutes=1)


@click.command
@with_format
@with_settings(*RULES_OPTIONS, *QUOTA_OPTIONS, *LEDGER_OPTIONS)
def budget(*, settings: Settings, form: Format) -> None:
    """Show the arithmetic of the quota for these settings, and what cannot work.

    It asks nothing of the API: limits come from the settings, or from what was learned.
    """
    view, backlog, dismissed = _remembered(settings)
    given = settings.quota
    limit = view.daily_limit if view else given.daily_limit
    made = compute_budget(
        daily_limit=limit or 100,
        minute_limit=given.minute_limit or (view.minute_limit if view else None),
        limits_assumed=limit is None,
        reserve=given.reserve,
        target_interval=settings.poll_interval,
        backlog=backlog,
        dismissals_per_day=dismissed,
        daily_cap=_safety(settings).max_dismissals_per_day,
    )
    if form is Format.JSON:
        echo_json(_as_json(made, view))
    else:
        _show(made, view, settings)
    sys.exit(exit_codes.CONFIG if made.infeasible else exit_codes.OK)


def _remembered(settings: Settings) -> tuple[QuotaSnapshot | None, int, int]:
    """Return the quota as last seen, what waits, and what a day's dismissals were."""
    if not (settings.state_dir / FILE).exists():
        return None, 0, 0
    clock = SystemClock()
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        boot_id = read_boot_id()
        limiter = RateLimiter(settings.quota, ledger, clock, boot_id=boot_id)
        view = limiter.snapshot()
        spent = sum(ledger.dismissals.count_by_rule(clock.now()).values())
        return view, ledger.decisions.count_over_cap(), spent


def _safety(settings: Settings) -> SafetyLimits:
    try:
        return load(settings.rules).ruleset.safety
    except ConfigError:
        return SafetyLimits()


def _as_json(made: Budget, view: QuotaSnapshot | None) -> dict[str, Any]:
    document = asdict(made)
    document["interval"] = made.interval.total_seconds()
    document["backlog_cleared_in"] = (
        made.backlog_cleared_in.total_seconds() if made.backlog_cleared_in else None
    )
    if not made.backlog:
        document["backlog_cleared_in"] = 0
    document["now"] = None if view is None else _now_json(view)
    return document


def _now_json(view: QuotaSnapshot) -> dict[str, Any]:
    return {
        "remaining": view.remaining,
        "used_today": view.used_today,
        "used_by_others": view.used_by_others,
        "reset": _moment(view.reset_at),
        "blocked_until": _moment(view.blocked_until) if view.blocked_until else None,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _show(made: Budget, view: QuotaSnapshot | None, settings: Settings) -> None:
    window = timedelta(seconds=settings.quota.minute_window)
    each = "a minute" if window == _MINUTE else f"in {format_duration(window)}"
    minute = f"{made.minute_limit:,} {each}" if made.minute_limit else "minute unknown"
    echo(
        f"calls a day     {made.daily_limit:>8,}   {_source(made, settings)}, {minute}"
    )
    echo(f"reserve         {made.reserved:>8,}   left to people and other tools")
    often = f"one every {format_duration(made.interval)}" if made.polls else "none"
    wished = format_duration(settings.poll_interval)
    echo(f"polls           {made.polls:>8,}   {often} (wished: {wished})")
    echo(f"dismissals      {made.dismissals:>8,}   at most a day")
    cleared = made.backlog_cleared_in
    gone = "never" if cleared is None else f"gone in {format_duration(cleared)}"
    waits = gone if made.backlog else "no task waits"
    echo(f"backlog         {made.backlog:>8,}   {waits}")
    if view is not None:
        until = datetime.fromtimestamp(view.reset_at, UTC)
        others = f"others spent {view.used_by_others:,}"
        echo(
            f"left today      {view.remaining:>8,}   until {until:%Y-%m-%d %H:%M} UTC;"
            f" {others}"
        )
    if made.infeasible is not None:
        echo(f"cannot work: {made.infeasible}")
        return
    for text in made.warnings:
        echo(f"note: {text}")


def _source(made: Budget, settings: Settings) -> str:
    if settings.quota.daily_limit is not None:
        return "given"
    return "assumed until the API says" if made.limits_assumed else "learned"
