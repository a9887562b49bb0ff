"""``triaged budget``: whether the quota is sufficient for the settings."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.control import open_ledger
from triaged.cli.fleet_use import FleetUse
from triaged.cli.options import (
    LEDGER_OPTIONS,
    QUOTA_OPTIONS,
    Format,
    with_format,
    with_settings,
)
from triaged.cli.output import causes_in_words, echo, echo_json
from triaged.clock import SystemClock, read_boot_id
from triaged.errors import ConfigError
from triaged.ledger import Ledger
from triaged.ledger.opening import daemon_owner
from triaged.ledger.state import StateName
from triaged.quota import QuotaSnapshot
from triaged.quota.budget import Budget, compute_budget
from triaged.rules.duration import format_duration
from triaged.rules.rule import SafetyLimits
from triaged.rules.task import LeaveCause
from triaged.rulesfile.loader import load
from triaged.settings import Settings
from triaged.triage.rate_limiter import RateLimiter

_MINUTE: Final = timedelta(minutes=1)
# Not waiting: a person vetoed the task, or it is left to people.
_NOT_WAITING: Final = frozenset({"vetoed", "audit"})
_DONE: Final = frozenset({LeaveCause.NOT_PENDING, LeaveCause.MALFORMED})


@click.command
@with_format
@with_settings("rules", *QUOTA_OPTIONS, *LEDGER_OPTIONS, fleet=FleetUse.EACH)
def budget(*, settings: Settings, form: Format) -> None:
    """Divide a day's calls between polls, dismissals and the reserve."""
    known = _known(settings)
    view, waiting = known.view, known.waiting
    given = settings.quota
    limit = view.daily_limit if view else given.daily_limit
    made = compute_budget(
        daily_limit=limit or 100,
        minute_limit=given.minute_limit or (view.minute_limit if view else None),
        limits_assumed=limit is None,
        reserve=given.reserve,
        target_interval=settings.poll_interval,
        backlog=sum(n for cause, n in waiting.items() if cause not in _NOT_WAITING),
        dismissals_per_day=known.dismissed_today,
        daily_cap=_safety(settings).max_dismissals_per_day,
    )
    if form is Format.JSON:
        echo_json(_as_json(made, known))
    else:
        _show(made, known, settings)
    sys.exit(exit_codes.CONFIG if made.infeasible else exit_codes.OK)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger knows; ``poll_interval`` is the running daemon's, in seconds."""

    view: QuotaSnapshot | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    dismissed_today: int = 0
    poll_interval: float | None = None


def _known(settings: Settings) -> _Known:
    if not settings.ledger.may_exist():
        return _Known()
    clock = SystemClock()
    with open_ledger(settings) as ledger:
        boot_id = read_boot_id()
        limiter = RateLimiter(settings.quota, ledger, clock, boot_id=boot_id)
        view = limiter.snapshot()
        today = ledger.dismissals.count_by_rule(
            clock.now(), skew=limiter.last_clock_skew()
        )
        spent = sum(today.values())
        saved = ledger.state.load(StateName.DAEMON) or {}
        is_running = daemon_owner(settings.ledger, settings.workspace) is not None
        interval = saved.get("poll_interval_seconds") if is_running else None
        return _Known(view, wanted_by_cause(ledger), spent, interval)


def wanted_by_cause(ledger: Ledger) -> dict[str, int]:
    """Count the tasks that rules would dismiss, by the cause that prevents it.

    The counts are those of the last cycle, or of the stored decisions if no daemon has
    saved a cycle yet.
    """
    saved = ledger.state.load(StateName.DAEMON) or {}
    last = saved.get("last_cycle") or {}
    found: Counter[str] = Counter()
    if "wanted" in last:
        for causes in last["wanted"].values():
            found.update(causes)
    else:
        counted = ledger.decisions.count_wanted()
        found.update({str(cause): n for cause, n in counted.items()})
    return {c: n for c, n in found.most_common() if n and c not in _DONE}


def _safety(settings: Settings) -> SafetyLimits:
    try:
        return load(*settings.rules).ruleset.safety
    except ConfigError:
        return SafetyLimits()


def _as_json(made: Budget, known: _Known) -> dict[str, Any]:
    document = asdict(made)
    document["waiting"] = known.waiting
    document["interval"] = made.interval.total_seconds()
    cleared = made.backlog_cleared_in
    document["backlog_cleared_in"] = (
        None if cleared is None else cleared.total_seconds()
    )
    document["now"] = None
    if (view := known.view) is not None:
        blocked = view.blocked_until
        document["now"] = {
            "remaining": view.remaining,
            "used_today": view.used_today,
            "used_by_others": view.used_by_others,
            "reset": _moment(view.reset_at),
            "blocked_until": _moment(blocked) if blocked else None,
            "poll_interval_seconds": known.poll_interval,
        }
    return document


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _show(made: Budget, known: _Known, settings: Settings) -> None:
    view, waiting = known.view, known.waiting
    window = timedelta(seconds=settings.quota.minute_window)
    each = "a minute" if window == _MINUTE else f"in {format_duration(window)}"
    minute = f"{made.minute_limit:,} {each}" if made.minute_limit else "minute unknown"
    echo(
        f"calls a day     {made.daily_limit:>8,}   {_source(made, settings)}, {minute}"
    )
    echo(f"reserve         {made.reserved:>8,}   left to people and other tools")
    often = (
        f"a day, one every {format_duration(made.interval)}" if made.polls else "none"
    )
    requested = format_duration(settings.poll_interval)
    echo(f"polls           {made.polls:>8,}   {often} (requested: {requested})")
    echo(f"dismissals      {made.dismissals:>8,}   at most a day")
    cleared = made.backlog_cleared_in
    gone = "never done" if cleared is None else f"done in {format_duration(cleared)}"
    waits = gone if made.backlog else "no task is waiting"
    causes = causes_in_words(waiting)
    echo(
        f"backlog         {made.backlog:>8,}   {waits}{f': {causes}' if causes else ''}"
    )
    if view is not None:
        until = datetime.fromtimestamp(view.reset_at, UTC)
        others = f"used by others: {view.used_by_others:,}"
        polls = ""
        if known.poll_interval is not None:
            # As `status` shows it; it follows what is left today.
            each = format_duration(timedelta(seconds=known.poll_interval))
            polls = f"; the daemon polls every {each} now"
        echo(
            f"left today      {view.remaining:>8,}   until {until:%Y-%m-%d %H:%M} UTC;"
            f" {others}{polls}"
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
