"""The daily window by itself: its limit, what is left, its end and what it foresees."""

from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.quota.day import CLOCKS_APART, DAY, Day, next_midnight

MIDNIGHT: Final = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
NOON: Final = MIDNIGHT + DAY / 2
TOMORROW: Final = MIDNIGHT + DAY


def at_noon(given: int | None = 1_000, **changes: int | None) -> Day:
    """Return the day that began at noon, with what became of it since."""
    day = Day.at(NOON, given)
    for name, value in changes.items():
        setattr(day, name, value)
    return day


# --- what is left -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said", "limit"),
    [(None, None, 100), (1_000, None, 1_000), (None, 500, 500), (1_000, 100, 100)],
)
def test_the_stricter_limit_is_believed(
    given: int | None, said: int | None, limit: int
) -> None:
    """The settings or the server; with neither, the smallest plan."""
    assert at_noon(given, said_limit=said).limit == limit
    assert at_noon(said, said_limit=given).limit == limit


@pytest.mark.parametrize(
    ("share", "reserved"),
    [(0.0, 0), (0.2, 20), (0.07, 7), (0.201, 21), (1.0, 100), (1.5, 100)],
)
def test_the_reserve_is_rounded_up_and_is_never_more_than_all(
    share: float, reserved: int
) -> None:
    """In binary 0.07 of 100 is a little more than 7, and still 7."""
    assert at_noon(100).reserved(share) == reserved


@pytest.mark.parametrize(
    ("spent", "heard", "in_flight", "remaining"),
    [
        (30, None, 5, 70),  # without headers only our own count
        (30, 70, 0, 70),
        (30, 40, 0, 40),  # others have spent 30
        (30, 40, 5, 35),  # the server may not have counted those
        (30, 90, 0, 70),  # nor does it know of calls that were lost
        (120, None, 0, 0),
        (30, 2, 5, 0),
    ],
)
def test_the_smaller_count_is_believed(
    spent: int, heard: int | None, in_flight: int, remaining: int
) -> None:
    """Ours knows nothing of others, the server's nothing of calls under way."""
    assert at_noon(100, spent=spent, heard=heard).remaining(in_flight) == remaining


@pytest.mark.parametrize(
    ("heard", "in_flight", "others"),
    [(None, 0, 0), (70, 0, 0), (50, 0, 20), (50, 10, 30), (90, 0, 0)],
)
def test_others_are_what_the_headers_show_beside_ours(
    heard: int | None, in_flight: int, others: int
) -> None:
    """Calls under way are not in the server's count, so they are no part of ours."""
    assert at_noon(100, spent=30, heard=heard).others(in_flight) == others


def test_others_are_counted_against_the_servers_limit() -> None:
    """The server counts down from its limit, be ours smaller."""
    day = at_noon(100, spent=30, heard=950, said_limit=1_000)

    assert day.others(0) == 20


# --- the end of the day -----------------------------------------------------------


@pytest.mark.parametrize("now", [MIDNIGHT, NOON, TOMORROW - 1])
def test_the_day_is_the_utc_day(now: float) -> None:
    """Whenever it is first looked at, it ends at the next midnight."""
    day = Day.at(now, 100)

    assert (day.began_at, day.reset_at) == (now, TOMORROW)


@pytest.mark.parametrize(
    ("after", "over"), [(-1.0, False), (1.9, False), (CLOCKS_APART, True)]
)
def test_a_new_day_is_believed_when_all_clocks_agree(after: float, over: bool) -> None:
    """Two seconds after midnight, and not earlier, our count begins anew."""
    day = at_noon(spent=30, heard=500)

    assert day.roll(TOMORROW + after, 0) is over
    assert day.spent == (0 if over else 30)
    assert day.reset_at == (TOMORROW + DAY if over else TOMORROW)


def test_calls_under_way_belong_to_the_new_day() -> None:
    """The server may count them on either, so they are counted."""
    day = at_noon(spent=30, heard=500)
    day.roll(TOMORROW + 5, 3)

    assert (day.spent, day.heard, day.began_at) == (3, None, TOMORROW + 5)


@pytest.mark.parametrize(
    ("back", "reset"),
    [(12 * 3_600, TOMORROW), (13 * 3_600, TOMORROW), (13 * 3_600 + 1, MIDNIGHT)],
)
def test_a_clock_set_far_back_does_not_make_the_day_endless(
    back: int, reset: float
) -> None:
    """A reset more than a day and an hour ahead is taken for a slip."""
    day = at_noon(spent=30)

    assert not day.roll(NOON - back, 0)
    assert (day.reset_at, day.spent) == (reset, 30)


@given(st.integers(0, 2**32), st.floats(0, 600))
def test_the_first_call_of_a_day_waits_its_turn(seed: int, spread: float) -> None:
    """Every seed has its moment between the clocks' agreement and the spread's end."""
    day = at_noon()
    opens = day.opens_at(seed, spread)

    assert TOMORROW + CLOCKS_APART <= opens <= TOMORROW + max(spread, CLOCKS_APART)
    assert opens == day.opens_at(seed, spread)


def test_installations_wake_apart_and_all_over_the_spread() -> None:
    """Different seeds, and different days, give different moments."""
    day = at_noon()
    moments = [day.opens_at(seed, 60) - TOMORROW for seed in range(50)]

    assert len(set(moments)) == 50
    assert min(moments) < 10
    assert max(moments) > 50
    today = day.opens_at(1, 60) - day.reset_at
    day.reset_at += DAY
    assert day.opens_at(1, 60) - day.reset_at != today


@pytest.mark.parametrize("now", [MIDNIGHT, MIDNIGHT + 0.5, NOON, TOMORROW - 0.001])
def test_midnight_is_the_next_one(now: float) -> None:
    """At midnight the next one is a whole day ahead."""
    assert next_midnight(now) == TOMORROW


# --- what it foresees -------------------------------------------------------------


def test_yesterday_foresees_today() -> None:
    """As many dismissals as yesterday, less as the day goes by."""
    day = Day.at(MIDNIGHT, 1_000)
    day.dismissed = 40
    day.roll(TOMORROW + CLOCKS_APART, 0)

    assert day.before == 40
    assert day.expected_dismissals(TOMORROW + DAY / 4) == 30
    assert day.expected_dismissals(TOMORROW + 3 * DAY / 4) == 10
    assert day.expected_dismissals(TOMORROW + 2 * DAY) == 0


@pytest.mark.parametrize(
    ("hours", "before"), [(24, 10), (12, 20), (6, 40), (1, 240), (0.5, 240), (0, 240)]
)
def test_a_part_of_a_day_foresees_a_whole_one(hours: float, before: float) -> None:
    """Ten in half a day are twenty in a whole one, but an hour's is the most of it."""
    day = Day.at(TOMORROW - hours * 3_600, 1_000)
    day.reset_at = TOMORROW
    day.dismissed = 10
    day.roll(TOMORROW + CLOCKS_APART, 0)

    assert day.before == before


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (0.0, 0.0),
        (0.19, 0.0),
        (0.2, 0.0),
        (0.21, 10 * 0.79 / 0.21),
        (0.5, 10.0),
        (0.75, 10 / 3),
    ],
)
def test_today_foresees_its_rest_once_it_has_lasted(
    behind: float, expected: float
) -> None:
    """Some minutes' dismissals say nothing of a day; a fifth of it does."""
    day = Day.at(MIDNIGHT, 1_000)
    day.dismissed = 10

    assert day.expected_dismissals(MIDNIGHT + behind * DAY) == pytest.approx(expected)


def test_the_greater_of_both_is_foreseen() -> None:
    """A busy today is believed before a quiet yesterday, and the other way round."""
    day = Day.at(MIDNIGHT, 1_000)
    day.before, day.dismissed = 100.0, 10
    assert day.expected_dismissals(NOON) == 50
    day.before = 4.0

    assert day.expected_dismissals(NOON) == 10


def test_a_clock_set_back_foresees_no_less_than_yesterday() -> None:
    """Before the day's first moment nothing of it has passed."""
    day = Day.at(NOON, 1_000)
    day.before, day.dismissed = 12.0, 10

    assert day.expected_dismissals(NOON - 60) == pytest.approx(6.0, abs=0.1)
