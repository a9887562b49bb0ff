"""The local time of creation: which day, which hours, and what clocks do in spring."""

from datetime import UTC, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from tests.builders import a_task
from triaged.rules.conditions import CreatedAt, Hours, Weekday
from triaged.rules.context import EvaluationContext
from triaged.rules.evaluate import TriState, evaluate

LATER: Final = EvaluationContext(datetime(2030, 1, 1, tzinfo=UTC), {})
NIGHT: Final = Hours(time(18), time(8))
DAY: Final = Hours(time(8), time(18))
WEEKEND: Final = (Weekday.SAT, Weekday.SUN)


def _created(
    at: str,
    weekdays: tuple[Weekday, ...] = (),
    hours: Hours | None = None,
    zone: str = "Europe/Berlin",
) -> TriState:
    condition = CreatedAt(ZoneInfo(zone), zone, weekdays, hours)
    return evaluate(condition, a_task(created_at=at), LATER)


@pytest.mark.parametrize(
    ("at", "truth"),
    [
        ("2026-02-27T22:59:59Z", False),
        ("2026-02-27T23:00:00Z", True),
        ("2026-03-01T22:59:59Z", True),
        ("2026-03-01T23:00:00Z", False),
    ],
)
def test_the_day_is_the_local_one(at: str, truth: TriState) -> None:
    """A weekend begins and ends at midnight of the named clock, not of UTC."""
    assert _created(at, WEEKEND) is truth


@pytest.mark.parametrize(
    ("hours", "clock", "truth"),
    [
        (DAY, "08:00:00", True),
        (DAY, "07:59:59.999999", False),
        (DAY, "17:59:59.999999", True),
        (DAY, "18:00:00", False),
        (NIGHT, "18:00:00", True),
        (NIGHT, "17:59:59", False),
        (NIGHT, "00:00:00", True),
        (NIGHT, "07:59:59", True),
        (NIGHT, "08:00:00", False),
        (Hours(time(18), time(0)), "23:59:59", True),
        (Hours(time(18), time(0)), "00:00:00", False),
        (Hours(time(8), time(8)), "07:59:59", True),
        (Hours(time(8), time(8)), "08:00:00", True),
    ],
)
def test_hours_at_their_edges(hours: Hours, clock: str, truth: TriState) -> None:
    """The start is included and the end is not, across midnight too."""
    assert _created(f"2026-03-04T{clock}Z", hours=hours, zone="UTC") is truth


@pytest.mark.parametrize(
    ("at", "truth"),
    [
        ("2026-03-01T02:00:00+01:00", True),
        ("2026-03-02T02:00:00+01:00", False),
        ("2026-02-28T02:00:00+01:00", True),
    ],
)
def test_after_midnight_it_is_the_next_day(at: str, truth: TriState) -> None:
    """02:00 on Monday is Monday, though the night began on Sunday."""
    assert _created(at, WEEKEND, NIGHT) is truth


@pytest.mark.parametrize(
    ("at", "truth"),
    [
        ("2026-03-29T00:59:59Z", False),
        ("2026-03-29T01:00:00Z", False),
        ("2026-03-29T01:30:00Z", False),
    ],
)
def test_hours_that_a_clock_skips_hold_for_nothing(at: str, truth: TriState) -> None:
    """From 02:00 until 03:00 there is no time in Berlin when summer time begins."""
    assert _created(at, hours=Hours(time(2), time(3))) is truth


@pytest.mark.parametrize(
    ("at", "truth"),
    [
        ("2026-10-24T23:59:59Z", False),
        ("2026-10-25T00:00:00Z", True),
        ("2026-10-25T00:59:59Z", True),
        ("2026-10-25T01:00:00Z", True),
        ("2026-10-25T01:59:59Z", True),
        ("2026-10-25T02:00:00Z", False),
    ],
)
def test_hours_that_a_clock_shows_twice_hold_twice(at: str, truth: TriState) -> None:
    """From 02:00 until 03:00 lasts two hours in Berlin when summer time ends."""
    assert _created(at, hours=Hours(time(2), time(3))) is truth


@pytest.mark.parametrize(
    "at",
    [
        "2031-01-01T00:00:00Z",
        "2026-03-01T00:00:00",
        "yesterday",
        "0001-01-01T00:00:00Z",
    ],
)
def test_no_local_time_is_unknown(at: str) -> None:
    """A moment in the future, without a zone or off the calendar has no local time."""
    assert _created(at, WEEKEND, zone="America/New_York") is None
