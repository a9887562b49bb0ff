"""Neighbours in the minute and polls over the day, to the number."""

from math import exp

import pytest

from tests.bench.quota.servers import DAY, START
from tests.unit.test_quota_calls import EVE, call, restored
from tests.unit.test_quota_machine import NOON, PRO, STARTER, a_word, fill, send
from triaged.quota import Purpose, Quota, QuotaSettings

# --- neighbours -------------------------------------------------------------------


def test_others_calls_fill_the_minute_too() -> None:
    """Five of theirs between two of ours leave three of ten, less one foreseen."""
    quota = Quota(STARTER)
    call(quota, NOON, remaining=99)
    call(quota, NOON + 10, remaining=93)

    assert quota.view(NOON + 10).spent_by_others == 5
    assert fill(quota, NOON + 10) == 10 - 2 - 5 - 1


def test_others_calls_leave_the_minute_too() -> None:
    """Of five that came evenly within 100 s, the last three are in the window."""
    quota = Quota(STARTER)
    call(quota, NOON, remaining=99)
    call(quota, NOON + 100, remaining=93)

    assert fill(quota, NOON + 100) == 10 - 1 - 3 - 1


@pytest.mark.parametrize(
    ("rate", "seconds", "room"),
    [
        (0.1, 30, 50 - 3 - 1),
        (0.1, 0, 50 - 1),
        (1 / 60, 0, 50 - 1),
        (0.016, 30, 50 - 0),  # nobody's steady work
        (10.0, 60, 50 // 2),  # foresight is no reason not to ask
    ],
)
def test_others_are_foreseen(rate: float, seconds: float, room: int) -> None:
    """A steady neighbour goes on while we hear nothing."""
    quota = restored(PRO, others={"rate": rate, "heard_at": NOON})

    assert fill(quota, NOON + seconds) == room


@pytest.mark.parametrize(("first", "then"), [(100, 1_000), (1_000, 100)])
def test_calls_that_others_made_before_the_limit_changed_are_no_news(
    first: int, then: int
) -> None:
    """Another plan counts from another number; nobody called in between."""
    quota = Quota(QuotaSettings(minute_limit=50))
    words = [(first, first - 1), (then, then - 40), (then, then - 41)]
    for second, (limit, remaining) in enumerate(words):
        word = a_word(limit=limit, remaining=remaining)
        quota.answered(NOON + second, send(quota, NOON + second), word)

    assert quota.state()["others"]["rate"] == 0
    assert quota.state()["log"][2::2] == [1, 1, 1]


def test_calls_of_ours_that_overtake_each_other_are_not_others() -> None:
    """Neither beside another call nor after it was overtaken is a count exact."""
    quota = Quota(STARTER)
    call(quota, NOON, remaining=99)
    slow, fast = quota.admit(NOON + 1, Purpose.DISMISS, 2).tickets
    quota.answered(NOON + 2, fast, a_word(remaining=96))
    quota.answered(NOON + 3, slow, a_word(remaining=96))

    assert quota.state()["others"]["rate"] == 0


def test_an_answer_to_an_unknown_call_still_tells_the_day() -> None:
    """Its headers are as good as any other's, but it is no measure of others."""
    quota = Quota(STARTER)
    quota.answered(NOON, 4_711, a_word(limit=100, remaining=60))

    assert quota.view(NOON).remaining == 60
    assert quota.state()["others"]["seen"] is None


def test_the_days_limit_tells_the_plan() -> None:
    """1,000 a day are 50 a minute, which is believed without a refusal."""
    quota, now = Quota(QuotaSettings()), NOON
    word = a_word(limit=1_000, remaining=900)
    while not quota.view(now).plan_known:
        for ticket in quota.admit(now, Purpose.DISMISS).tickets:
            quota.answered(now, ticket, word)
        assert quota.view(now).spent_today <= 50

    assert quota.view(now).minute_limit == 50


def test_the_pace_of_others_outlives_the_day() -> None:
    """At midnight the count begins anew, and the neighbour is still there."""
    quota = Quota(STARTER)
    call(quota, EVE - 60, remaining=90)
    call(quota, EVE, remaining=79)
    rate = quota.state()["others"]["rate"]
    quota.view(EVE + 15)

    assert rate == pytest.approx((1 - exp(-1 / 3)) / 60 * 10)
    assert quota.state()["others"]["rate"] == rate
    assert quota.state()["others"]["seen"] is None


# --- polls ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backlog", "polls"),
    [(0, 600), (100, 500), (200, 400), (5_000, 400)],
)
def test_polls_are_what_dismissals_leave_of_the_day(backlog: int, polls: int) -> None:
    """At first a quarter of 800 calls is kept; half is always left to polls."""
    quota = Quota(PRO)

    assert quota.next_poll(START, 1.0, backlog=backlog) - START == pytest.approx(
        DAY / polls
    )


def test_what_is_kept_follows_the_days_before() -> None:
    """80 dismissals yesterday leave 720 polls, and none at all 799 or so."""
    busy = restored(PRO, day={"before": 80.0})
    calm = restored(PRO, day={"before": 0.5})

    assert busy.next_poll(START, 1.0) - START == pytest.approx(DAY / 720)
    assert calm.next_poll(START, 1.0) - START == pytest.approx(DAY / 799)


def test_what_was_dismissed_today_is_foreseen_for_its_rest() -> None:
    """50 until noon are 50 more, of 750 calls that are left."""
    quota = restored(PRO, day={"dismissed": 50, "spent": 50, "began_at": START})

    assert quota.next_poll(NOON, 1.0) - NOON == pytest.approx(DAY / 2 / 700)


@pytest.mark.parametrize(("spent", "polls"), [(79, False), (78, True)])
def test_the_last_poll_leaves_one_call_for_what_it_finds(
    spent: int, polls: bool
) -> None:
    """With one call left the next poll waits for the new day."""
    quota = restored(STARTER, day={"spent": spent})
    at = quota.next_poll(NOON, 300.0)

    assert (at == START + DAY) is polls


@pytest.mark.parametrize("spent", [0, 80])
def test_no_poll_is_planned_behind_a_closed_gate(spent: int) -> None:
    """Before it opens a poll could only be sent away."""
    quota = restored(STARTER, day={"spent": spent}, closing={"until": NOON + 2 * DAY})

    assert quota.next_poll(NOON, 300.0) == NOON + 2 * DAY


def test_of_an_odd_rest_polls_get_the_greater_half() -> None:
    """Of five calls two are kept for dismissals, however many wait for one."""
    quota = restored(STARTER, day={"spent": 75})

    assert quota.next_poll(START, 1.0, backlog=50) - START == pytest.approx(DAY / 3)


def test_what_is_left_of_the_evening_is_spread_over_it() -> None:
    """Ten calls in the last hour: three are kept, seven are polls."""
    quota = restored(STARTER, day={"spent": 70})
    evening = START + DAY - 3_600

    assert quota.next_poll(evening, 300.0) - evening == pytest.approx(3_600 / 7)
    assert quota.view(evening).poll_interval == pytest.approx(3_600 / 7)


def test_before_the_first_poll_no_interval_is_told() -> None:
    """Nothing was planned yet."""
    assert Quota(STARTER).view(START).poll_interval == 0


def test_beside_a_neighbour_the_last_part_goes_two_by_two() -> None:
    """Their calls come any moment, so what may be refused together is little."""
    alone, beside = (
        restored(PRO, others={"rate": rate, "heard_at": NOON}) for rate in (0.0, 0.05)
    )
    for quota in (alone, beside):
        for _ in range(42):
            call(quota, NOON)

    assert len(alone.admit(NOON, Purpose.DISMISS, 16).tickets) == 4
    assert len(beside.admit(NOON, Purpose.DISMISS, 16).tickets) == 2


def test_a_full_minute_beside_a_neighbour_waits_for_their_room_too() -> None:
    """47 slots are ours and four foreseen theirs: two of 50 must come free."""
    quota = restored(PRO, others={"rate": 0.05, "heard_at": NOON})
    for second in range(47):
        call(quota, NOON + second)

    until = quota.admit(NOON + 59, Purpose.DISMISS).until
    assert until == pytest.approx(NOON + 60 + 1, abs=0.2)
