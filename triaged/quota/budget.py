"""Divides the calls of a day between polls and dismissals; rejects tiny quotas."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final

# One poll and one dismissal.
MIN_CALLS: Final = 2
DAY: Final = timedelta(days=1)
# With fewer polls a day, people have often handled a task before it is listed.
MIN_POLLS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The calls of one day; ``limits_assumed`` is True while no limit is known.

    ``polls`` and ``dismissals`` are per day; ``interval`` is the shortest poll interval
    that leaves these dismissals; ``backlog_cleared_in`` is None if the backlog is never
    cleared.
    """

    daily_limit: int
    minute_limit: int | None
    limits_assumed: bool
    reserved: int
    usable: int
    target_polls: int
    polls: int
    interval: timedelta
    dismissals: int
    backlog: int
    backlog_cleared_in: timedelta | None
    infeasible: str | None
    warnings: tuple[str, ...]


def compute_budget(
    *,
    daily_limit: int,
    minute_limit: int | None,
    limits_assumed: bool,
    reserve: float,
    target_interval: timedelta,
    backlog: int,
    dismissals_per_day: int,
    daily_cap: int,
) -> Budget:
    """Divide a day's calls; at most half are kept for expected dismissals.

    Without a forecast, a quarter is kept for them.
    """
    reserved = reserved_calls(daily_limit, reserve)
    usable = daily_limit - reserved
    target_polls = max(int(DAY / target_interval), 1)
    expected = max(dismissals_per_day, min(backlog, daily_cap)) or usable // 4
    kept = min(expected, usable // 2)
    polls = max(min(target_polls, usable - kept), 0)
    dismissals = min(max(usable - polls, 0), daily_cap)
    return Budget(
        daily_limit=daily_limit,
        minute_limit=minute_limit,
        limits_assumed=limits_assumed,
        reserved=reserved,
        usable=usable,
        target_polls=target_polls,
        polls=polls,
        interval=max(target_interval, DAY / polls) if polls else DAY,
        dismissals=dismissals,
        backlog=backlog,
        backlog_cleared_in=_backlog_cleared_in(backlog, dismissals, minute_limit),
        infeasible=infeasible_reason(daily_limit, reserve=reserve),
        warnings=tuple(_warnings(target_polls, polls, usable, daily_cap)),
    )


def _backlog_cleared_in(
    backlog: int, dismissals: int, minute_limit: int | None
) -> timedelta | None:
    if not backlog:
        return timedelta(0)
    if not dismissals:
        return None
    days, rest = divmod(backlog, dismissals)
    minutes = ceil(rest / minute_limit) if minute_limit else 1 if rest else 0
    return timedelta(days=days, minutes=minutes)


def infeasible_reason(daily_limit: int, *, reserve: float) -> str | None:
    """Return why the quota can never allow a dismissal; None when it can."""
    usable = daily_limit - reserved_calls(daily_limit, reserve)
    if usable >= MIN_CALLS:
        return None
    left = f"of {daily_limit} calls a day the reserve leaves {usable}"
    return f"{left}; it takes {MIN_CALLS} to find a task and dismiss it"


def reserved_calls(daily_limit: int, reserve: float) -> int:
    """Return the number of reserved calls, rounded up."""
    return min(ceil(daily_limit * reserve - 1e-9), daily_limit)


def _warnings(target_polls: int, polls: int, usable: int, daily_cap: int) -> list[str]:
    found = []
    if target_polls > polls:
        wish = f"the requested interval needs {target_polls} polls a day"
        found.append(f"{wish}; the quota allows {polls}, so it is lengthened")
    if polls < MIN_POLLS:
        seen = "poll" if polls == 1 else "polls"
        found.append(f"only {polls} {seen} a day: new tasks wait long to be seen")
    if daily_cap > usable:
        cap = f"max_dismissals_per_day of {daily_cap}"
        found.append(f"{cap} can never be reached with {usable} calls a day")
    return found
