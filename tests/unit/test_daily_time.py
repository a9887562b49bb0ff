"""Tests of times of day: how they are written, and when they occur on odd dates."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given

from tests.notifications import daily_times, dates
from triaged.daily_time import DailyTime, parse_daily_time


def test_a_time_without_a_zone_is_utc() -> None:
    """A machine's own zone would change what a setting means."""
    assert parse_daily_time(" 08:00 ") == DailyTime(time(8), "UTC")
    assert str(parse_daily_time("23:59  Europe/Berlin")) == "23:59 Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", "a time such as 08:00"),
        ("08:00:00", "a time such as 08:00"),
        ("8:00", "a time such as 08:00"),
        ("08:00 Europe/Berlin x", "a time such as 08:00"),
        ("\u0668\u0668:00", "a time such as 08:00"),
        ("24:00", "from 00:00 to 23:59"),
        ("12:60", "from 00:00 to 23:59"),
        ("08:00 Europe/Berln", "did you mean Europe/Berlin?"),
        ("08:00 localtime", "unknown time zone 'localtime'"),
        ("08:00 ../../etc/passwd", "unknown time zone"),
    ],
)
def test_what_is_no_time_is_refused(text: str, expected: str) -> None:
    """The message says what would do, and offers the nearest zone."""
    with pytest.raises(ValueError, match=r"expected|unknown") as raised:
        parse_daily_time(text)

    assert expected in str(raised.value)


def test_a_skipped_time_is_later_by_what_is_skipped() -> None:
    """On the day on which summer time begins, 02:30 does not exist; 03:30 does."""
    at = parse_daily_time("02:30 Europe/Berlin")

    assert at.on(date(2026, 3, 29)) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_repeated_time_is_the_first_of_the_two() -> None:
    """On the day on which summer time ends, 02:30 comes twice."""
    at = parse_daily_time("02:30 Europe/Berlin")

    assert at.on(date(2026, 10, 25)) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@given(daily_times, dates)
def test_a_time_occurs_on_its_date(at: DailyTime, day: date) -> None:
    """Wherever the clocks change, it occurs on that date and not on another."""
    assert at.date_of(at.on(day)) == day


@given(daily_times, dates)
def test_a_time_occurs_once_a_day(at: DailyTime, day: date) -> None:
    """Two days in a row are about 24 hours apart, in either direction of a change."""
    passed = at.on(day + timedelta(days=1)) - at.on(day)

    assert timedelta(hours=22) <= passed <= timedelta(hours=26)
