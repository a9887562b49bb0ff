"""Prints the status as a screen of text."""

from datetime import datetime, timedelta
from typing import Any, Final

from triaged.cli.output import causes_in_words, echo, number_or_dash, print_table
from triaged.cli.task_ids import lookup_in, printable, shorten
from triaged.rules.duration import format_duration
from triaged.rules.task import parse_timestamp

_MAX_TASKS: Final = 5
_LABEL: Final = 13


def show_status(report: dict[str, Any]) -> None:
    """Print one screen; the last line tells whether there is a problem."""
    if report["ledger"] is not None:
        _show_daemon(report)
        _show_stops(report)
        _show_cycle(report)
        _show_quota(report)
        _show_tasks(report)
        _show_rules(report)
    if report["healthy"]:
        echo("healthy", colour="green", bold=True)
    for problem in report["problems"]:
        echo(problem, colour="red", bold=True)


def _show_daemon(report: dict[str, Any]) -> None:
    _line("workspace", f"{report['workspace']}, ledger {report['ledger']}")
    daemon = report["daemon"]
    if daemon is None:
        _line("daemon", "not running", colour="red")
    else:
        once = ", one cycle (run --once)" if daemon["once"] else ""
        version = f", triaged {daemon['version']}" if daemon["version"] else ""
        since = _moment(report, daemon["started_at"])
        _line(
            "daemon",
            f"running since {since}, process {daemon['pid']} on {daemon['host']}"
            f"{version}{once}",
            colour="green",
        )
    if report["dry_run"]:
        _line("dry run", "decides and reports, dismisses nothing", colour="yellow")


def _show_stops(report: dict[str, Any]) -> None:
    if (paused := report["paused"]) is not None:
        why = f": {paused['note']}" if paused["note"] else ""
        since = _moment(report, paused["since"])
        _line("paused", f"since {since}{_by(paused)}{why}", colour="yellow")
    if (breaker := report["breaker"]) is not None:
        since = _moment(report, breaker["since"])
        _line("breaker", f"open since {since}: {breaker['reason']}", colour="red")
        wants = sorted(breaker["wants"].items(), key=lambda item: -item[1])
        if wants:
            _line("", ", ".join(f"{rule} wants {n:,}" for rule, n in wants))


def _show_cycle(report: dict[str, Any]) -> None:
    last = report["last_cycle"]
    if last is None:
        _line("last cycle", "none yet")
    else:
        parts = [
            f"{last.get('pending', 0):,} pending",
            f"{last.get('dismissed', 0):,} dismissed",
        ]
        if last.get("observed"):
            parts.append(f"{last['observed']:,} observed")
        if last.get("backlog"):
            parts.append(f"{last['backlog']:,} waiting")
        if last.get("halt"):
            parts.append(f"stopped: {last['halt']}")
        if last.get("error"):
            parts.append(str(last["error"]))
        when = _moment(report, last.get("finished_at") or last.get("started_at"))
        _line("last cycle", f"{last.get('result')} at {when}: {', '.join(parts)}")
    if report["next_poll_at"]:
        interval = report["poll_interval_seconds"]
        each = f"; every {_duration(interval)}" if interval else ""
        _line("next poll", f"{_moment(report, report['next_poll_at'])}{each}")


def _show_quota(report: dict[str, Any]) -> None:
    day, minute = report["quota"]["day"], report["quota"]["minute"]
    _line(
        "quota",
        f"{day['remaining']:,} of {day['limit']:,} calls left today,"
        f" {day['reserved']:,} of them reserved;"
        f" used {day['spent']:,}, by others {day['used_by_others']:,};"
        f" resets {_moment(report, day['resets_at'])}",
    )
    _line("", f"at most {minute['limit']:,} calls in {_duration(minute['seconds'])}")
    if (blocked := report["quota"]["blocked_until"]) is not None:
        _line("", f"no calls until {_moment(report, blocked)}", colour="yellow")


def _show_tasks(report: dict[str, Any]) -> None:
    rows = [*report["held"], *report["vetoed"], *report["unresolved"]]
    ids = [row["task_id"] for row in rows]
    short = shorten(ids, lookup_in(ids))
    held = [
        f"{printable(short[row['task_id']])} until"
        f" {_moment(report, row['hold_ends_at'])}"
        for row in report["held"][:_MAX_TASKS]
    ]
    _tasks("on hold", len(report["held"]), held)
    vetoed = [
        f"{printable(short[row['task_id']])}{_by(row)} {_moment(report, row['since'])}"
        for row in report["vetoed"][-_MAX_TASKS:]
    ]
    _tasks("vetoed", len(report["vetoed"]), vetoed)
    unresolved = [
        printable(short[row["task_id"]]) for row in report["unresolved"][-_MAX_TASKS:]
    ]
    _tasks("unresolved", len(report["unresolved"]), unresolved)
    _line("observed", f"{report['observed_today']:,} today")


def _by(row: dict[str, Any]) -> str:
    return f" by {row['by']}" if row["by"] else ""


def _tasks(label: str, number: int, shown: list[str]) -> None:
    names = f": {', '.join(shown)}" if shown else ""
    more = ", …" if number > len(shown) else ""
    _line(label, f"{number:,}{names}{more}")


def _mode(row: dict[str, Any]) -> str:
    change = row["change"]
    since = f" ({change['change']} {change['at'][:10]})" if change else ""
    return f"{row['mode'] or 'not in force'}{since}"


def _show_rules(report: dict[str, Any]) -> None:
    echo("")
    rows = [
        (
            row["rule"],
            _mode(row),
            number_or_dash(row["dismissed_today"]),
            number_or_dash(row["observed_today"]),
            number_or_dash(row["held"]),
            causes_in_words(row["waiting"]) or "—",
        )
        for row in report["rules"]
    ]
    if rows:
        today = ("dismissed today", "observed today")
        print_table(("rule", "mode", *today, "on hold", "waiting"), rows)
        echo("")


def _line(label: str, text: str, *, colour: str | None = None) -> None:
    echo(f"{label:<{_LABEL}}{text}", colour=colour)


def _duration(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))


def _moment(report: dict[str, Any], text: str | None) -> str:
    """Format a time in UTC, and its distance from now."""
    moment, now = parse_timestamp(text), parse_timestamp(report["now"])
    if moment is None or now is None:
        return "an unknown time"
    return f"{_clock_time(moment, now)} ({_distance(moment - now)})"


def _clock_time(moment: datetime, now: datetime) -> str:
    same_day = moment.date() == now.date()
    return f"{moment:%H:%M:%S} UTC" if same_day else f"{moment:%Y-%m-%d %H:%M} UTC"


def _distance(difference: timedelta) -> str:
    seconds = abs(int(difference.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            amount = f"{seconds // size}{unit}"
            break
    else:
        amount = f"{seconds}s"
    return f"in {amount}" if difference > timedelta(0) else f"{amount} ago"
