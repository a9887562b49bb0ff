"""The sliding log of one window."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.quota.window import BUCKETS_PER_SECOND, SlidingWindow

NOW = 1_772_323_200.0
ages = st.lists(st.floats(0, 59), max_size=40)


def a_window(ages: list[float]) -> SlidingWindow:
    window = SlidingWindow(60.0)
    for age in ages:
        window.add(NOW - age)
    return window


@given(ages)
def test_held_for_a_window(ages: list[float]) -> None:
    """No slot is free before its window is over, nor held longer than a bucket more."""
    window = a_window(ages)
    for later in (0.0, 1.0, 30.0, 59.9, 60.2):
        window.prune(NOW + later)
        least = sum(later - 60 < -age - 1e-6 for age in ages)
        most = sum(later - 60 < -age + 0.11 for age in ages)

        assert least <= window.total <= most


@given(ages)
def test_saved_and_loaded(ages: list[float]) -> None:
    """A log that was saved as JSON and loaded is the same."""
    window = a_window(ages)
    copy = SlidingWindow(60.0, json.loads(json.dumps(window.to_list())))

    assert copy.to_list() == window.to_list()
    assert copy.total == window.total


@given(ages, st.integers(1, 40))
def test_available_at(ages: list[float], slots: int) -> None:
    """At that time, and not before, that many slots are free."""
    window = a_window(ages)
    before, at = window.total, window.available_at(slots)
    if at is None:
        assert before < slots
        return
    window.prune(at - 0.01)
    assert before - window.total < slots
    window.prune(at)
    assert before - window.total >= slots


def test_stays_small() -> None:
    """Ten thousand calls in a window take no more room than the window's buckets."""
    window = SlidingWindow(60.0)
    for number in range(10_000):
        window.add(NOW + number * 0.006)

    assert len(window.to_list()) <= 2 * (60 * BUCKETS_PER_SECOND + 2) + 1


@pytest.mark.parametrize("back", [1.0, 100.0, 1e6])
def test_clock_set_back(back: float) -> None:
    """After the clock was set back no slot is held longer than a window, none lost."""
    window = SlidingWindow(60.0)
    for second in range(5):
        window.add(NOW - second)
    window.on_clock_set_back(NOW - back)

    assert window.total == 5
    window.prune(NOW - back + 60.2)
    assert window.total == 0
