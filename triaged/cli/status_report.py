"""Builds the report of ``triaged status`` from the ledger and the daemon lock."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from triaged.clock import Clock, read_boot_id
from triaged.ledger import Ledger
from triaged.ledger.flags import Flag, FlagName
from triaged.ledger.locks import LockOwner
from triaged.ledger.opening import daemon_owner
from triaged.ledger.rule_changes import RuleChange
from triaged.ledger.state import StateName
from triaged.quota import QuotaSettings
from triaged.rules.task import LeaveCause, parse_timestamp
from triaged.settings import Settings
from triaged.triage.rate_limiter import RateLimiter

# A planned poll that is overdue by more than this will not happen.
_OVERDUE_AFTER: Final = timedelta(minutes=1)
# Limit of the unresolved dismissals that the report lists.
_MAX_LISTED: Final = 100


def no_ledger(settings: Settings) -> dict[str, Any]:
    """Return the status of a state directory without a ledger."""
    problem = f"there is no ledger in {settings.state_dir}: triaged has not run here"
    return {
        "workspace": settings.workspace,
        "ledger": None,
        "running": False,
        "healthy": False,
        "problems": [problem],
    }


def read_status(ledger: Ledger, settings: Settings, clock: Clock) -> dict[str, Any]:
    """Return the whole status as a JSON object."""
    now = clock.now()
    owner = daemon_owner(settings.ledger, settings.workspace)
    saved: dict[str, Any] = ledger.state.load(StateName.DAEMON) or {}
    given = _quota_settings(settings, saved)
    limiter = RateLimiter(given, ledger, clock, boot_id=read_boot_id())
    breaker = ledger.flags.get(FlagName.BREAKER)
    problems = list(_problems(owner, saved, breaker, now))
    return {
        "workspace": ledger.workspace,
        "ledger": ledger.location,
        "now": _text(now),
        "running": owner is not None,
        "healthy": not problems,
        "problems": problems,
        "daemon": _daemon(owner, saved),
        "dry_run": bool(saved.get("dry_run")),
        "paused": _flag(ledger.flags.get(FlagName.PAUSED)),
        "breaker": _breaker(breaker, saved),
        "last_cycle": saved.get("last_cycle"),
        "last_ok_at": saved.get("last_ok_at"),
        "next_poll_at": saved.get("next_poll_at") if owner else None,
        "poll_interval_seconds": saved.get("poll_interval_seconds"),
        "quota": _quota(limiter, given),
        "rules": _rules(ledger, saved, now, clock_skew=limiter.last_clock_skew()),
        "held": _held(ledger, saved),
        "observed_today": sum(ledger.observations.count_on(now).values()),
        "vetoed": [
            {"task_id": v.task_id, "by": v.set_by or None, "since": _text(v.since)}
            for v in ledger.vetoes.all()
        ],
        "unresolved": [
            {
                "task_id": record.task_id,
                "rule": record.rule,
                "decided_at": _text(record.decided_at),
            }
            for record in ledger.dismissals.unresolved()[:_MAX_LISTED]
        ],
    }


def _problems(
    owner: LockOwner | None,
    saved: dict[str, Any],
    breaker: Flag | None,
    now: datetime,
) -> Iterator[str]:
    if breaker is not None:
        yield f"the breaker is open: {breaker.reason}"
    if owner is None:
        yield "the daemon is not running"
        return
    if saved.get("pid") != owner.pid:
        yield "the daemon has not finished a cycle yet"
        return
    if saved.get("key_accepted") is False:
        yield "LeadLex refuses the API key"
    if saved.get("ready") is False:
        yield str(saved.get("not_ready_reason") or "the daemon is not ready")
    next_poll = parse_timestamp(saved.get("next_poll_at"))
    if next_poll is not None and now - next_poll > _OVERDUE_AFTER:
        yield f"the poll planned for {next_poll:%Y-%m-%d %H:%M:%S} UTC is overdue"
    last = saved.get("last_cycle") or {}
    if last.get("result") == "failed":
        yield f"the last cycle failed: {last.get('error') or 'see the log'}"


def _daemon(owner: LockOwner | None, saved: dict[str, Any]) -> dict[str, Any] | None:
    if owner is None:
        return None
    ours = saved if saved.get("pid") == owner.pid else {}
    return {
        "pid": owner.pid,
        "host": owner.host,
        "version": ours.get("version"),
        "started_at": _text(owner.since) if owner.since else ours.get("started_at"),
        "once": owner.once,
        "rules_file": ours.get("rules_file"),
        "rules_sha256": ours.get("rules_sha256"),
    }


def _flag(flag: Flag | None) -> dict[str, Any] | None:
    if flag is None:
        return None
    return {
        "since": _text(flag.since),
        "by": flag.set_by or None,
        "note": flag.reason or None,
    }


def _breaker(flag: Flag | None, saved: dict[str, Any]) -> dict[str, Any] | None:
    if flag is None:
        return None
    wants = (saved.get("last_cycle") or {}).get("breaker_wants") or {}
    return {"since": _text(flag.since), "reason": flag.reason, "wants": wants}


def _quota_settings(settings: Settings, saved: dict[str, Any]) -> QuotaSettings:
    """Return the daemon's settings, or the caller's if those are unknown."""
    given = settings.quota
    if not isinstance(known := saved.get("quota"), dict):
        return given
    return QuotaSettings(
        minute_limit=known.get("minute_limit"),
        minute_window=known.get("minute_window", given.minute_window),
        daily_limit=known.get("daily_limit"),
        reserve=known.get("reserve", given.reserve),
    )


def _quota(limiter: RateLimiter, given: QuotaSettings) -> dict[str, Any]:
    view = limiter.snapshot()
    blocked = view.blocked_until
    return {
        "day": {
            "limit": view.daily_limit,
            "remaining": view.remaining,
            "reserved": view.reserved,
            "spent": view.used_today,
            "used_by_others": view.used_by_others,
            "resets_at": _text(datetime.fromtimestamp(view.reset_at, UTC)),
        },
        "minute": {"limit": view.minute_limit, "seconds": given.minute_window},
        "blocked_until": (
            None if blocked is None else _text(datetime.fromtimestamp(blocked, UTC))
        ),
    }


def _rules(
    ledger: Ledger, saved: dict[str, Any], now: datetime, *, clock_skew: timedelta
) -> list[dict[str, Any]]:
    """Return a row for each rule in force, and for other rules active today."""
    dismissed = ledger.dismissals.count_by_rule(now, skew=clock_skew)
    observed = ledger.observations.count_on(now)
    held = Counter(hold.rule for hold in ledger.holds.all())
    waiting = (saved.get("last_cycle") or {}).get("wanted") or {}
    latest = ledger.rule_changes.latest()
    changes = {
        rule["name"]: latest.get(rule["name"], {}).get(rule.get("rule_sha256", ""))
        for rule in saved.get("rules") or ()
    }
    modes = {
        rule["name"]: _mode_now(rule["mode"], changes[rule["name"]])
        for rule in saved.get("rules") or ()
    }
    names = [*modes, *sorted(filter(None, dismissed)), *observed, *held, *waiting]
    return [
        {
            "rule": name,
            "mode": modes.get(name),
            "change": _change(changes.get(name), modes.get(name)),
            "dismissed_today": dismissed.get(name, 0),
            "observed_today": observed.get(name, 0),
            "held": held[name],
            "waiting": {
                cause: number
                for cause, number in waiting.get(name, {}).items()
                if number and cause != LeaveCause.NOT_PENDING
            },
        }
        for name in dict.fromkeys(names)
    ]


def _mode_now(mode: str, change: RuleChange | None) -> str:
    """Return the mode in force, which may have changed since the last cycle."""
    return mode if change is None or mode == "off" else change.mode


def _change(change: RuleChange | None, mode: str | None) -> dict[str, Any] | None:
    """Return the promotion or demotion that gave a rule its mode, if one did."""
    if change is None or mode is None or not change.led_to(mode):
        return None
    return {
        "change": change.change,
        "at": _text(change.at),
        "by": change.by or None,
        "evidence": dict(change.evidence),
    }


def _held(ledger: Ledger, saved: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the active holds, in the order in which they end."""
    seconds = {
        rule["name"]: rule.get("hold_seconds", 0) for rule in saved.get("rules") or ()
    }
    found = []
    for hold, since in ledger.holds.all().items():
        duration = seconds.get(hold.rule)
        ends = since + timedelta(seconds=duration) if duration else None
        found.append(
            {
                "task_id": hold.task_id,
                "rule": hold.rule,
                "hold_ends_at": None if ends is None else _text(ends),
            }
        )
    found.sort(key=lambda row: (str(row["hold_ends_at"] or "~"), str(row["task_id"])))
    return found


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
