"""The log of one window, and what it hears of others' calls."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.quota.others import ALONE, Others
from triaged.quota.window import WindowLog

NOW = 1_772_323_200.0
ages = st.lists(st.floats(0, 59), max_size=40)


@given(ages)
def test_slot_is_held_for_a_window_and_hardly_longer(moments: list[float]) -> None:
    """No slot comes free before its window is over, and none a grain after."""
    log = WindowLog(60.0)
    for age in moments:
        log.add(NOW - age)
    for later in (0.0, 1.0, 30.0, 59.9, 60.2):
        log.prune(NOW + later)
        held = sum(later - 60 < -age for age in moments)
        at_most = sum(later - 60 < -age + 0.13 for age in moments)

        assert held <= log.total <= at_most


@given(ages)
def test_packed_and_unpacked_is_the_same(moments: list[float]) -> None:
    """The log survives being written down."""
    log = WindowLog(60.0)
    for age in moments:
        log.add(NOW - age)
    copy = WindowLog(60.0, json.loads(json.dumps(log.packed())))

    assert copy.packed() == log.packed()
    assert copy.total == log.total


@given(ages, st.integers(1, 40))
def test_frees_at_says_when_so_many_are_free(moments: list[float], slots: int) -> None:
    """At that moment, and not before, that many have come free."""
    log = WindowLog(60.0)
    for age in moments:
        log.add(NOW - age)
    before, at = log.total, log.frees_at(slots)
    if at is None:
        assert before < slots
        return
    log.prune(at - 0.01)
    assert before - log.total < slots
    log.prune(at)
    assert before - log.total >= slots


def test_log_stays_small() -> None:
    """Ten thousand calls in a window take no more than a window's grains."""
    log = WindowLog(60.0)
    for number in range(10_000):
        log.add(NOW + number * 0.006)

    assert len(log.packed()) <= 2 * 502 + 1


@pytest.mark.parametrize("back", [1.0, 100.0, 1e6])
def test_clock_set_back_makes_old_calls_new(back: float) -> None:
    """Nothing is held for longer than a window from now."""
    log = WindowLog(60.0)
    log.add(NOW, 5)
    log.rewind(NOW - back)

    assert log.total == 5
    log.prune(NOW - back + 60.2)
    assert log.total == (5 if back < 1 else 0)


def test_resized_log_holds_the_same_calls() -> None:
    """Another window frees the same calls at another time."""
    log = WindowLog(60.0)
    log.add(NOW, 3)
    wider = log.resized(120.0)
    wider.prune(NOW + 119)
    assert wider.total == 3
    wider.prune(NOW + 121)

    assert wider.total == 0


def hear(others: Others, now: float, count: int, *, exact: bool = True) -> list[float]:
    """Hear a count, without a bound."""
    return list(others.hear(now, count, exact=exact, most=1_000))


def test_first_count_is_no_news() -> None:
    """How long ago others spent what is gone already, nobody knows."""
    others = Others()

    assert hear(others, NOW, 700) == []
    assert others.rate == 0


def test_news_is_spread_over_the_time_since() -> None:
    """Six more a minute later came one each ten seconds."""
    others = Others()
    hear(others, NOW, 0)

    moments = hear(others, NOW + 60, 6)
    assert moments == pytest.approx([NOW + 10 * n for n in range(1, 7)])
    assert others.rate > ALONE


def test_foresight_grows_with_silence_up_to_a_window() -> None:
    """A steady neighbour is expected to go on, but not to pile up."""
    others = Others()
    for minute in range(20):
        hear(others, NOW + 60 * minute, 15 * minute)
    last = NOW + 60 * 19

    assert others.unheard(last, 60.0) == 0
    assert 4 <= others.unheard(last + 20, 60.0) <= 6
    assert 13 <= others.unheard(last + 3_600, 60.0) <= 16


def test_neighbour_who_has_gone_is_forgotten() -> None:
    """After a quarter of an hour without news we are alone again."""
    others = Others()
    for minute in range(10):
        hear(others, NOW + 60 * minute, 15 * minute)
    for minute in range(10, 25):
        hear(others, NOW + 60 * minute, 15 * 9)

    assert others.rate < ALONE


def test_calls_that_overtake_each_other_are_nobody() -> None:
    """A count that is not exact, or low once, does not betray anybody."""
    others = Others()
    hear(others, NOW, 0)
    for number, count in enumerate([-3, 1, 2, 0]):
        assert hear(others, NOW + number, count, exact=False) == []
    assert hear(others, NOW + 5, -1) == []

    assert hear(others, NOW + 6, 0) == []


def test_lasting_correction_is_taken_over() -> None:
    """When the count stays lower, what comes next counts from there."""
    others = Others()
    hear(others, NOW, 10)
    for second in range(1, 6):
        hear(others, NOW + second, 8)

    assert len(hear(others, NOW + 6, 9)) == 1


def test_a_clock_set_back_loses_no_call() -> None:
    """Calls of several moments that now lie ahead all count as new."""
    log = WindowLog(60.0)
    for second in range(5):
        log.add(NOW + second, 2)
    log.rewind(NOW - 100)

    assert log.total == 10
    assert log.packed()[2::2] == [10]
