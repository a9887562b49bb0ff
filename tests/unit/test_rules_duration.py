"""Durations: what is read, what is refused, and that writing undoes reading."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.rules.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1_800),
        ("36h", 129_600),
        ("14d", 1_209_600),
        ("2w", 1_209_600),
        ("1d12h", 129_600),
        ("0s", 0),
        ("1h1h", 7_200),
    ],
)
def test_reads_a_sum_of_units(text: str, seconds: int) -> None:
    """Each part is an integer with a unit, and the parts are summed."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "90", "s", "-1d", "1.5h", "1 d", "1D", "3months", "1d ", "\u0661d", "1d\n"],
)
def test_refuses_anything_else(text: str) -> None:
    """No sign, no fraction, no space, no unit but s, m, h, d and w."""
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_refuses_what_no_timedelta_holds() -> None:
    """Too long is an error of its own, not an overflow."""
    with pytest.raises(ValueError, match="too long"):
        parse_duration("999999999w")


@given(st.integers(min_value=0, max_value=3_153_600_000))
def test_writing_undoes_reading(seconds: int) -> None:
    """What is shown is read back as the same duration."""
    duration = timedelta(seconds=seconds)

    assert parse_duration(format_duration(duration)) == duration
