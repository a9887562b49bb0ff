"""What an answer's headers say of the day, and which of it is believed."""

from datetime import UTC, datetime

import pytest

from tests.unit.test_quota_day import NOON, TOMORROW, at_noon
from triaged.quota import ServerWord
from triaged.quota.day import LATE_ANSWER, Day


def word(
    remaining: int | None = None,
    *,
    limit: int | None = None,
    reset: float | None = None,
) -> ServerWord:
    """Return what an answer's headers say."""
    moment = None if reset is None else datetime.fromtimestamp(reset, UTC)
    return ServerWord(limit=limit, remaining=remaining, reset=moment)


def hear(
    day: Day,
    said: ServerWord,
    *,
    now: float = NOON + 600,
    sent_at: float | None = None,
    in_flight: int = 0,
) -> bool:
    """Have a call answered that left at the same moment."""
    left_at = now if sent_at is None else sent_at
    return day.hear(now, said, sent_at=left_at, in_flight=in_flight)


# --- what headers say -------------------------------------------------------------


def test_a_limit_is_taken_over_unless_it_is_none() -> None:
    """No server means that nothing is allowed, ever."""
    day = at_noon()
    hear(day, word(limit=100))
    assert day.said_limit == 100
    hear(day, word(limit=0))
    assert day.said_limit == 100
    hear(day, word(limit=1))

    assert day.said_limit == 1


def test_an_answer_that_tells_no_remainder_tells_nothing() -> None:
    """Then neither remainder nor reset is taken over."""
    day = at_noon(heard=500)

    assert not hear(day, word(reset=NOON + 3_600))
    assert (day.heard, day.reset_at) == (500, TOMORROW)


def test_alone_the_answer_is_whole() -> None:
    """With no other call under way the server's count is believed, up or down."""
    day = at_noon()
    for remaining in (900, 950, 100):
        assert hear(day, word(remaining))
        assert day.heard == remaining


@pytest.mark.parametrize(("remaining", "heard"), [(700, 499), (499, 499), (450, 450)])
def test_beside_other_calls_the_count_only_falls(remaining: int, heard: int) -> None:
    """An answer that was overtaken does not know of those that overtook it."""
    day = at_noon(heard=500)
    hear(day, word(remaining), in_flight=1)

    assert day.heard == heard


def test_the_first_count_is_taken_beside_others_too() -> None:
    """Something is better than nothing."""
    day = at_noon()
    hear(day, word(700), in_flight=3)

    assert day.heard == 700


def test_a_call_that_told_nothing_is_counted_down() -> None:
    """But only from something: nothing heard stays nothing heard."""
    day, silent = at_noon(heard=500), at_noon()
    for each in (day, silent):
        each.unheard()
        each.unheard()

    assert (day.heard, silent.heard) == (498, None)


@pytest.mark.parametrize(
    ("ahead", "believed"),
    [(-1.0, False), (0.0, False), (1.0, True), (90_000.0, True), (90_001.0, False)],
)
def test_a_reset_lies_ahead_but_not_beyond_a_day_and_an_hour(
    ahead: float, believed: bool
) -> None:
    """Anything else is a slip of somebody's clock."""
    day, now = at_noon(), NOON + 600
    hear(day, word(500, reset=now + ahead), now=now)

    assert day.reset_at == (now + ahead if believed else TOMORROW)
    assert day.heard == 500


@pytest.mark.parametrize(
    ("remaining", "later", "begun"),
    [(990, 60.0, True), (990, 2.0, False), (500, 60.0, False), (499, 60.0, False)],
)
def test_the_servers_day_may_begin_before_ours(
    remaining: int, later: float, begun: bool
) -> None:
    """More remains than did, and until a later reset: then its day has begun."""
    day = at_noon(spent=400, heard=500)
    day.dismissed = 7
    hear(day, word(remaining, reset=TOMORROW + later), in_flight=2)

    assert day.spent == (3 if begun else 400)
    assert day.dismissed == (0 if begun else 7)
    assert day.reset_at == TOMORROW + later


def test_a_first_count_begins_no_day() -> None:
    """Where nothing was heard before, nothing can have risen."""
    day = at_noon(spent=400)
    hear(day, word(990, reset=TOMORROW + 60))

    assert day.spent == 400


@pytest.mark.parametrize(
    ("sent", "now", "told"),
    [
        (-0.1, 1.0, False),
        (0.0, 1.0, True),
        (-0.1, LATE_ANSWER, False),
        (-0.1, LATE_ANSWER + 0.1, True),  # no answer comes that late
    ],
)
def test_an_answer_to_a_call_of_yesterday_tells_of_yesterday(
    sent: float, now: float, told: bool
) -> None:
    """Without a reset, what left before the day began is not believed."""
    day = at_noon()

    assert hear(day, word(1), now=NOON + now, sent_at=NOON + sent) is told
    assert day.heard == (1 if told else None)


@pytest.mark.parametrize(
    ("reset", "told"),
    [
        (NOON, False),
        (NOON + 3.0, False),
        (NOON + 3.1, True),  # it lies ahead
        (NOON - LATE_ANSWER, False),
        (NOON - LATE_ANSWER - 1, True),  # it is no end of the day before
        (TOMORROW, True),
    ],
)
def test_an_answer_whose_reset_began_this_day_tells_of_yesterday(
    reset: float, told: bool
) -> None:
    """Whenever the call left, the reset says which day was counted."""
    day, now = at_noon(), NOON + 1.0

    assert hear(day, word(1, reset=reset), now=now, sent_at=NOON - 5) is told
    assert day.heard == (1 if told else None)
