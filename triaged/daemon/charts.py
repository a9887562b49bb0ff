"""Computes the geometry of the charts on the status page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.ledger.views import DailyCount
from triaged.quota import QuotaSnapshot
from triaged.triage.agreement import Agreement

DAYS: Final = 30
# Colours of the stylesheet; reasons beyond these share the last one.
COLOURS: Final = 6


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a day's bar, in per cent of the height of the chart."""

    colour: int
    y: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One day's bar, in per cent of the width of the chart."""

    x: float
    width: float
    label: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One reason in the legend."""

    name: str
    colour: int
    total: int


@dataclass(frozen=True, slots=True)
class DailyChart:
    """Dismissals of the last days, by reason."""

    bars: tuple[Bar, ...]
    legend: tuple[Series, ...]
    highest: int
    total: int
    first_day: str
    last_day: str


def daily_chart(counts: Sequence[DailyCount], now: datetime) -> DailyChart:
    """Stack each day's dismissals by reason, the most frequent reason at the bottom."""
    days = _days(now)
    table: dict[str, dict[str, int]] = {day: {} for day in days}
    totals: dict[str, int] = {}
    for count in counts:
        if count.day in table:
            of_day = table[count.day]
            of_day[count.reason] = of_day.get(count.reason, 0) + count.count
            totals[count.reason] = totals.get(count.reason, 0) + count.count
    reasons = sorted(totals, key=lambda reason: (-totals[reason], reason))
    colours = {r: min(n, COLOURS - 1) for n, r in enumerate(reasons)}
    highest = max((sum(of_day.values()) for of_day in table.values()), default=0)
    width = 100 / len(days)
    return DailyChart(
        bars=tuple(
            Bar(
                round(number * width + width * 0.1, 3),
                round(width * 0.8, 3),
                _day_label(day, table[day]),
                _stack(table[day], colours, highest),
            )
            for number, day in enumerate(days)
        ),
        legend=tuple(Series(r, colours[r], totals[r]) for r in reasons),
        highest=highest,
        total=sum(totals.values()),
        first_day=days[0],
        last_day=days[-1],
    )


def _day_label(day: str, of_day: Mapping[str, int]) -> str:
    parts = ", ".join(f"{number:,} {reason}" for reason, number in of_day.items())
    return f"{day}: {parts or 'none'}"


def _stack(
    of_day: Mapping[str, int], colours: Mapping[str, int], highest: int
) -> tuple[Segment, ...]:
    segments, top = [], 100.0
    for reason in sorted(of_day, key=lambda reason: colours[reason]):
        height = 100 * of_day[reason] / highest
        top -= height
        segments.append(
            Segment(
                colours[reason],
                round(max(top, 0.0), 3),
                round(height, 3),
                f"{of_day[reason]:,} {reason}",
            )
        )
    return tuple(segments)


def sparkline(counts: Sequence[DailyCount], rule: str, now: datetime) -> list[Bar]:
    """Return one rule's dismissals by day, as bars without parts."""
    days = dict.fromkeys(_days(now), 0)
    for count in counts:
        if count.rule == rule and count.day in days:
            days[count.day] += count.count
    highest = max(days.values()) or 1
    width = 100 / len(days)
    return [
        Bar(
            round(number * width, 3),
            round(width * 0.8, 3),
            f"{day}: {count:,}",
            _stack({rule: count}, {rule: 0}, highest) if count else (),
        )
        for number, (day, count) in enumerate(days.items())
    ]


def _days(now: datetime) -> list[str]:
    return [f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in range(DAYS - 1, -1, -1)]


@dataclass(frozen=True, slots=True)
class QuotaBar:
    """The day's calls in per cent: spent from the left, the reserve at the right."""

    spent: float
    reserve_from: float


def quota_bar(quota: QuotaSnapshot) -> QuotaBar:
    """Return the parts of the quota bar."""
    limit = max(quota.daily_limit, 1)
    spent = 100 * (quota.daily_limit - quota.remaining) / limit
    return QuotaBar(
        spent=round(min(max(spent, 0.0), 100.0), 3),
        reserve_from=round(100 - 100 * min(quota.reserved, limit) / limit, 3),
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with its 95 % interval, in per cent, for a drawing."""

    low: float
    high: float
    value: float
    text: str


def interval(agreement: Agreement) -> Interval | None:
    """Return the interval of an agreement; None without human decisions."""
    if agreement.value is None or agreement.interval is None:
        return None
    low, high = agreement.interval
    text = f"{agreement.value:.0%} of {agreement.total:,} ({low:.0%} to {high:.0%})"
    return Interval(
        round(100 * low, 2), round(100 * high, 2), round(100 * agreement.value, 2), text
    )
