"""What others spend, and for how long the gate stays closed: each by itself."""

from math import exp
from typing import Final

import pytest

from triaged.quota.closing import LONGEST, Closing
from triaged.quota.others import MEMORY, Others

NOW: Final = 1_772_323_200.0


def steady(seen: int = 0) -> Others:
    """Return others that call once a second, last heard of now."""
    return Others(seen=seen, heard_at=NOW, rate=1.0, exact=[seen], recent=[seen])


def news(others: Others, at: float, count: int, *, exact: bool = False) -> int:
    """Hear of a count so many seconds later; return how many calls are news."""
    return len(others.hear(NOW + at, count, exact=exact, most=1_000))


# --- how many ---------------------------------------------------------------------


def test_only_the_latest_of_many_are_told() -> None:
    """The minute window has room for so many, and the oldest have left it."""
    others = Others()
    others.hear(NOW, 0, exact=True, most=10)

    moments = others.hear(NOW + 50, 100, exact=True, most=10)

    assert moments == pytest.approx([NOW + n / 2 for n in range(91, 101)])


def test_beside_a_steady_neighbour_an_inexact_count_is_heard() -> None:
    """Our calls hardly ever leave the air empty, and somebody is known to be there."""
    others = Others(seen=0, heard_at=NOW, rate=1.0)

    assert news(others, 10, 5) == 5


def test_an_inexact_count_is_no_beginning() -> None:
    """Without an exact count before, nobody knows what is new."""
    others = Others(rate=1.0)

    assert news(others, 0, 5) == 0
    assert others.seen is None


def test_inexact_counts_are_believed_when_eight_agree() -> None:
    """Answers overtake each other, so the least of the last eight is the count."""
    others = steady()
    heard = [news(others, n, 9) for n in range(1, 9)]

    assert heard == [0] * 7 + [9]


def test_an_exact_count_is_believed_at_once() -> None:
    """It makes an end of the inexact ones before it."""
    others = steady()
    news(others, 1, 3)

    assert news(others, 2, 9, exact=True) == 9
    assert news(others, 3, 12) == 0
    assert news(others, 4, 13, exact=True) == 4


def test_news_are_counted_once() -> None:
    """What was told is not told again, and less is no news."""
    others = steady()
    heard = [news(others, n, count, exact=True) for n, count in enumerate((4, 4, 3, 6))]

    assert heard == [4, 0, 0, 2]


@pytest.mark.parametrize(("lows", "heard"), [(1, 0), (4, 0), (5, 1)])
def test_a_correction_must_last(lows: int, heard: int) -> None:
    """One low count may be a call that was overtaken; five in a row are none."""
    others = steady(10)
    for number in range(lows):
        assert news(others, number, 8, exact=True) == 0

    assert news(others, lows, 9, exact=True) == heard


def test_a_new_day_counts_anew_at_the_same_pace() -> None:
    """The first count of the day is no news, and the neighbour is still there."""
    others = steady(500)
    others.forget_day()

    assert news(others, 1, 3, exact=True) == 0
    assert others.rate == 1.0
    assert news(others, 2, 5, exact=True) == 2


# --- how fast ---------------------------------------------------------------------


def test_the_pace_fades_over_three_minutes() -> None:
    """After them a little more than a third of what was known still counts."""
    others = steady()
    news(others, MEMORY, 0, exact=True)
    assert others.rate == pytest.approx(exp(-1))
    news(others, 2 * MEMORY, 90, exact=True)

    assert others.rate == pytest.approx(exp(-2) + (1 - exp(-1)) / 2)


def test_news_at_the_same_moment_are_a_burst() -> None:
    """With no time between, each call is one of three minutes."""
    others = Others(seen=0, heard_at=NOW, exact=[0], recent=[0])
    news(others, 0, 6, exact=True)

    assert others.rate == pytest.approx(6 / MEMORY)


@pytest.mark.parametrize(
    ("at", "foreseen"), [(-5, 0), (0, 0), (10, 10), (60, 60), (100, 60)]
)
def test_others_are_foreseen_for_one_window(at: float, foreseen: int) -> None:
    """They go on as they did, but an earlier call has left the window."""
    assert steady().unheard(NOW + at, 60.0) == foreseen


def test_the_pace_is_measured_since_the_last_answer() -> None:
    """Each answer begins the measure anew, and so does a clock that was set back."""
    others = steady()
    news(others, 30, 0, exact=True)
    assert others.heard_at == NOW + 30
    others.rewind(NOW + 100)
    assert others.heard_at == NOW + 30
    others.rewind(NOW - 100)

    assert others.heard_at == NOW - 100


# --- the gate ---------------------------------------------------------------------


def test_refusals_of_one_burst_are_one_strike() -> None:
    """Only a call that left after the last refusal tells anything new."""
    closing = Closing()

    assert closing.refuse(NOW, NOW - 1)
    assert not closing.refuse(NOW + 1, NOW - 1)
    assert not closing.refuse(NOW + 1, NOW)
    assert (closing.strikes, closing.refused_at) == (1, NOW)
    assert closing.refuse(NOW + 9, NOW + 1)

    assert (closing.strikes, closing.refused_at) == (2, NOW + 9)


def test_a_gate_stays_closed_for_the_longer_of_two() -> None:
    """A shorter or equal closing neither opens it sooner nor renames it."""
    closing = Closing()
    closing.close(NOW, NOW + 600, "day")
    closing.close(NOW, NOW + 60, "minute")
    closing.close(NOW, NOW + 600, "minute")
    assert (closing.until, closing.window) == (NOW + 600, "day")
    closing.close(NOW, NOW + 601, "minute")

    assert (closing.until, closing.window) == (NOW + 601, "minute")


def test_no_gate_is_closed_for_more_than_a_week() -> None:
    """Whatever a server wants, some day we ask again."""
    closing = Closing()
    closing.close(NOW, NOW + 1e9, "day")

    assert closing.until == NOW + LONGEST


@pytest.mark.parametrize(
    ("strikes", "windows"), [(1, 1), (2, 1), (3, 4), (4, 16), (5, 64), (6, 256)]
)
def test_each_strike_closes_four_times_as_long(strikes: int, windows: int) -> None:
    """From the third refusal in a row on."""
    assert Closing(strikes=strikes).widened(60.0) == 60.0 * windows


def test_strikes_end_at_twelve() -> None:
    """Their width is then far beyond the longest closing."""
    closing = Closing()
    for number in range(20):
        closing.refuse(NOW + 2 * number, NOW + 2 * number - 1)

    assert closing.strikes == 12
    assert closing.widened(60.0) > LONGEST


@pytest.mark.parametrize("back", [10.0, 100.0])
def test_a_closing_moves_along_with_a_clock_set_back(back: float) -> None:
    """It lasts as long as it would have."""
    closing = Closing()
    closing.refuse(NOW, NOW - 1)
    closing.close(NOW, NOW + 60, "minute")
    closing.rewind(NOW - back)

    assert (closing.until, closing.refused_at) == (NOW - back + 60, NOW - back)


def test_a_clock_that_goes_on_moves_nothing() -> None:
    """Only a moment of refusal that lies ahead shows that the clock was set back."""
    closing = Closing(until=NOW + 60, refused_at=NOW)
    closing.rewind(NOW)
    closing.rewind(NOW + 30)

    assert (closing.until, closing.refused_at) == (NOW + 60, NOW)
