"""The arithmetic of a day's quota: what the settings ask for, and what cannot work."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final

# A poll that finds something, and the dismissal of what it found.
LEAST_CALLS: Final = 2
DAY: Final = timedelta(days=1)
# Fewer polls than this a day and "pending" is an old story by the time it is read.
FEW_POLLS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One day's calls, divided; ``assumed`` says that no limit is known yet.

    ``polls`` and ``dismissals`` are a day's; ``interval`` is the one that the day can
    carry with these dismissals; ``gone_in`` is None when the backlog never ends.
    """

    daily_limit: int
    minute_limit: int | None
    assumed: bool
    reserved: int
    usable: int
    wished_polls: int
    polls: int
    interval: timedelta
    dismissals: int
    backlog: int
    gone_in: timedelta | None
    impossible: str | None
    doubtful: tuple[str, ...]


def make_budget(
    *,
    daily_limit: int,
    minute_limit: int | None,
    assumed: bool,
    reserve: float,
    wished: timedelta,
    backlog: int,
    dismissals_a_day: int,
    cap_a_day: int,
) -> Budget:
    """Divide a day: half of it at most for the dismissals that are to be expected.

    With nothing to go by, a quarter is kept for them.
    """
    reserved = reserved_calls(daily_limit, reserve)
    usable = daily_limit - reserved
    wished_polls = max(int(DAY / wished), 1)
    expected = max(dismissals_a_day, min(backlog, cap_a_day)) or usable // 4
    kept = min(expected, usable // 2)
    polls = max(min(wished_polls, usable - kept), 0)
    dismissals = min(max(usable - polls, 0), cap_a_day)
    return Budget(
        daily_limit=daily_limit,
        minute_limit=minute_limit,
        assumed=assumed,
        reserved=reserved,
        usable=usable,
        wished_polls=wished_polls,
        polls=polls,
        interval=max(wished, DAY / polls) if polls else DAY,
        dismissals=dismissals,
        backlog=backlog,
        gone_in=_gone_in(backlog, dismissals, minute_limit),
        impossible=impossible(daily_limit, reserve=reserve),
        doubtful=tuple(_doubtful(wished_polls, polls, usable, cap_a_day)),
    )


def _gone_in(
    backlog: int, dismissals: int, minute_limit: int | None
) -> timedelta | None:
    if not backlog:
        return timedelta(0)
    if not dismissals:
        return None
    days, rest = divmod(backlog, dismissals)
    minutes = ceil(rest / minute_limit) if minute_limit else 1 if rest else 0
    return timedelta(days=days, minutes=minutes)


def impossible(daily_limit: int, *, reserve: float) -> str | None:
    """Say why no dismissal can ever be paid for; None when one can."""
    usable = daily_limit - reserved_calls(daily_limit, reserve)
    if usable >= LEAST_CALLS:
        return None
    left = f"of {daily_limit} calls a day the reserve leaves {usable}"
    return f"{left}; it takes {LEAST_CALLS} to find a task and dismiss it"


def reserved_calls(daily_limit: int, reserve: float) -> int:
    """Return how many calls the reserve keeps, rounded in its favour."""
    return min(ceil(daily_limit * reserve - 1e-9), daily_limit)


def _doubtful(wished_polls: int, polls: int, usable: int, cap_a_day: int) -> list[str]:
    found = []
    if wished_polls > polls:
        wish = f"the requested interval needs {wished_polls} polls a day"
        found.append(f"{wish}; the quota allows {polls}, so it is lengthened")
    if polls < FEW_POLLS:
        seen = "poll" if polls == 1 else "polls"
        found.append(f"only {polls} {seen} a day: new tasks wait long to be seen")
    if cap_a_day > usable:
        cap = f"max_dismissals_per_day of {cap_a_day}"
        found.append(f"{cap} can never be reached with {usable} calls a day")
    return found
