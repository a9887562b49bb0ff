"""Refusals and calls under way, to the number."""

from typing import Any, Final

import pytest

from tests.bench.quota.servers import DAY, START
from tests.unit.test_quota_machine import (
    NOON,
    PRO,
    SILENCE,
    STARTER,
    a_word,
    fill,
    send,
)
from triaged.quota import Purpose, Quota, QuotaSettings
from triaged.quota.machine import FLIGHT_SECONDS

EVE: Final = START + DAY - 10
GRAIN: Final = 0.2


def restored(settings: QuotaSettings, **parts: dict[str, Any] | float) -> Quota:
    """Return a quota that reads back a state with some parts told otherwise."""
    quota = Quota(settings)
    quota.view(START)
    state = quota.state()
    for name, value in parts.items():
        state[name] = state[name] | value if isinstance(value, dict) else value
    return Quota(settings, state)


def call(quota: Quota, at: float, *, remaining: int | None = None) -> None:
    """Make one call that is answered at once."""
    quota.answered(at, send(quota, at), a_word(remaining=remaining))


def opens(quota: Quota, at: float) -> float:
    """Return until when nobody may ask, as it is told at a moment."""
    admission = quota.admit(at, Purpose.DISMISS)
    assert admission.tickets == ()
    assert admission.until is not None
    return admission.until


# --- refusals ---------------------------------------------------------------------


def test_after_a_first_refusal_the_oldest_slot_opens_the_gate() -> None:
    """The server's window began no later than our oldest call in it."""
    quota = Quota(PRO)
    call(quota, NOON)
    call(quota, NOON + 10)
    quota.refused(NOON + 20, send(quota, NOON + 20), SILENCE)

    assert opens(quota, NOON + 20) == pytest.approx(NOON + 60, abs=GRAIN)


def test_without_a_call_in_the_window_a_refusal_closes_for_all_of_it() -> None:
    """Then it was somebody else who filled the minute, and nobody knows when."""
    quota = Quota(PRO)
    quota.refused(NOON, send(quota, NOON), SILENCE)

    assert opens(quota, NOON) == NOON + 60


def test_after_a_second_refusal_a_whole_window_passes() -> None:
    """The oldest slot was not the reason, so it is no longer waited for."""
    quota = Quota(PRO)
    call(quota, NOON)
    quota.refused(NOON + 20, send(quota, NOON + 20), SILENCE)
    again = opens(quota, NOON + 20)
    quota.refused(again, send(quota, again), SILENCE)

    assert opens(quota, again) == again + 60


def test_a_third_refusal_closes_for_four_windows() -> None:
    """A day's lock-out costs a handful of refusals."""
    quota, now, waits = Quota(PRO), NOON, []
    for _ in range(4):
        quota.refused(now, send(quota, now), SILENCE)
        waits.append(opens(quota, now) - now)
        now += waits[-1]

    assert waits == [60, 60, 240, 960]


def test_no_refusal_of_the_minute_outlasts_the_days_reset() -> None:
    """With the new day the gate opens when it would open after a spent day."""
    for seed in range(10):
        spent = restored(STARTER, day={"spent": 100})
        assert spent.state()["day"]["reset_at"] == START + DAY
        spent = Quota(STARTER, spent.state(), seed=seed)
        quota = Quota(STARTER, seed=seed)
        quota.refused(EVE, send(quota, EVE), SILENCE)

        assert opens(quota, EVE) == min(opens(spent, EVE), EVE + 60)


def test_a_refused_call_takes_a_slot() -> None:
    """Whether the server counts it is unknown; a slot costs less than a refusal."""
    quota = Quota(STARTER)
    call(quota, NOON - 50)
    quota.refused(NOON, send(quota, NOON), SILENCE)
    ahead = opens(quota, NOON)
    call(quota, ahead)

    limit = quota.view(ahead).minute_limit
    assert limit == 5
    assert fill(quota, ahead) == limit - 2


def test_a_refusal_of_the_day_says_nothing_of_the_minute() -> None:
    """It neither lowers the minute's limit nor takes a slot."""
    quota = Quota(PRO)
    word = a_word(limit=1_000, remaining=0, reset=NOON + 3_600)

    assert quota.refused(NOON, send(quota, NOON), word) == "day"
    assert quota.view(NOON).minute_limit == 50
    assert quota.state()["log"] == []


@pytest.mark.parametrize(("rate", "limit"), [(0.0, 5), (0.1, 8), (1.0, 10)])
def test_a_refusal_leaves_room_beside_others(rate: float, limit: int) -> None:
    """Their calls are in the count, so the limit must hold theirs and two of ours."""
    quota = restored(STARTER, others={"rate": rate, "heard_at": NOON})
    quota.refused(NOON, send(quota, NOON), SILENCE)

    assert quota.view(NOON).minute_limit == limit


def test_the_answer_to_an_older_call_does_not_end_the_caution() -> None:
    """What left before the refusal, or with it, says nothing of the time after."""
    quota = Quota(PRO)
    refused, other = quota.admit(NOON, Purpose.DISMISS, 2).tickets
    quota.refused(NOON, refused, SILENCE)
    quota.answered(NOON + 1, other, SILENCE)

    assert len(quota.admit(opens(quota, NOON + 1), Purpose.DISMISS, 9).tickets) == 1


def test_answers_of_calls_beside_the_refused_one_correct_the_limit() -> None:
    """Nine of ten were accepted, so the limit is nine and not half."""
    quota = restored(STARTER, latency=30.0)
    refused, *others = quota.admit(NOON, Purpose.DISMISS, 10).tickets
    assert len(others) == 9
    quota.refused(NOON + 1, refused, SILENCE)
    assert quota.view(NOON + 1).minute_limit == 5
    for ticket in others:
        quota.answered(NOON + 2, ticket, SILENCE)

    assert quota.view(NOON + 2).minute_limit == 9


def test_a_refused_try_costs_nothing_but_itself() -> None:
    """One call beyond a limit that held, refused: the limit is what it was."""
    settled = {"cap": 30, "base": 30, "settled": True}
    quota = restored(QuotaSettings(daily_limit=10_000), pace=settled)
    for second in range(30):
        call(quota, NOON + second)
    quota.refused(NOON + 31, send(quota, NOON + 31), SILENCE)

    assert quota.view(NOON + 31).minute_limit == 30


def test_refusals_that_come_one_by_one_may_be_one_burst() -> None:
    """Both calls had left before the first refusal, so the second tells nothing new."""
    quota = Quota(PRO)
    first, second = quota.admit(NOON, Purpose.DISMISS, 2).tickets
    quota.refused(NOON + 1, first, SILENCE)
    limit = quota.view(NOON + 1).minute_limit
    quota.refused(NOON + 2, second, SILENCE)

    assert quota.view(NOON + 2).minute_limit == limit == 25
    assert quota.state()["closing"]["strikes"] == 1


def test_a_refusal_without_a_ticket_is_believed() -> None:
    """A call that was given up meanwhile may be refused all the same."""
    quota = Quota(PRO)

    assert quota.refused(NOON, 4_711, SILENCE) == "minute"
    assert opens(quota, NOON) == NOON + 60
    assert quota.view(NOON).spent_today == 0


def test_a_closed_gate_tells_until_when_and_then_no_more() -> None:
    """The view shows a closing for as long as it lasts."""
    quota = Quota(PRO)
    quota.refused(NOON, send(quota, NOON), SILENCE)
    closed, ended = quota.view(NOON + 59.9), quota.view(NOON + 60)

    assert (closed.closed_until, closed.closed_window) == (NOON + 60, "minute")
    assert (ended.closed_until, ended.closed_window) == (None, None)


# --- calls under way --------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "flying", "slots"),
    [
        (FLIGHT_SECONDS - 0.1, 1, []),
        (FLIGHT_SECONDS, 0, [1]),
        (-1.0, 1, [1]),
        (-1.1, 0, [2]),
    ],
)
def test_a_call_is_under_way_for_two_minutes_at_most(
    later: float, flying: int, slots: list[int]
) -> None:
    """Then whoever asked has died; a clock set back tells nothing of it either."""
    quota = Quota(STARTER)
    quota.answered(NOON, send(quota, NOON), a_word(limit=100, remaining=90))
    send(quota, NOON)
    view = quota.view(NOON + later)

    assert len(quota.state()["flights"]) == flying
    assert view.remaining == 89
    assert quota.state()["log"][2::2] == slots


def test_the_dead_keep_nobody_waiting() -> None:
    """After a refusal one goes ahead; where it died, another one may."""
    quota = Quota(PRO)
    quota.refused(NOON, send(quota, NOON), SILENCE)
    ahead = opens(quota, NOON)
    send(quota, ahead)
    assert quota.admit(ahead + 1, Purpose.DISMISS).tickets == ()
    quota.abandon_dismissals(ahead + 2)

    assert len(quota.admit(ahead + 2, Purpose.DISMISS, 9).tickets) == 1


def test_how_long_answers_take_is_averaged() -> None:
    """Each answer counts a fifth, and none comes before it was asked for."""
    quota, seen = Quota(STARTER), []
    for took in (10.0, 5.0, -0.5):
        quota.answered(NOON + took, send(quota, NOON), SILENCE)
        seen.append(quota.state()["latency"])

    assert seen == pytest.approx([2.0, 2.6, 2.08])


def test_only_answered_dismissals_count_as_dismissals() -> None:
    """Polls are no dismissals, and what nobody answered may have been none."""
    quota = Quota(STARTER)
    for purpose in Purpose:
        quota.answered(NOON, send(quota, NOON, purpose), SILENCE)
    quota.unanswered(NOON, send(quota, NOON))
    quota.cancelled(NOON, send(quota, NOON))

    assert quota.state()["day"]["dismissed"] == 1
    assert quota.view(NOON).spent_today == 5


def test_a_lost_call_is_lost_once() -> None:
    """The call that told nothing is counted; the others still fly."""
    quota = Quota(STARTER)
    quota.answered(NOON, send(quota, NOON), a_word(limit=100, remaining=90))
    lost, _, given_back = quota.admit(NOON, Purpose.HAND, 3).tickets
    quota.unanswered(NOON + 1, lost)
    quota.unanswered(NOON + 1, lost)
    quota.cancelled(NOON + 1, given_back)
    quota.cancelled(NOON + 1, given_back)

    assert len(quota.state()["flights"]) == 1
    assert quota.view(NOON + 1).remaining == 88
    assert quota.view(NOON + 1).spent_today == 3


def test_too_many_in_the_window_are_all_waited_for() -> None:
    """With 30 calls in a window of ten, 21 must come free before one may leave."""
    pro = Quota(PRO)
    for second in range(30):
        call(pro, NOON + second)
    starter = Quota(STARTER, pro.state())
    admission = starter.admit(NOON + 30, Purpose.DISMISS)

    assert admission.until == pytest.approx(NOON + 20 + 60, abs=GRAIN)
    assert admission.window == "minute"


@pytest.mark.parametrize(("spent", "may"), [(78, True), (79, False)])
def test_a_poll_needs_two_calls_and_no_more(spent: int, may: bool) -> None:
    """Itself, and one for what it finds."""
    quota = restored(STARTER, day={"spent": spent})

    assert bool(quota.admit(NOON, Purpose.POLL).tickets) is may


def test_the_last_calls_of_a_day_tell_when_there_are_more() -> None:
    """Who gets fewer than wanted hears of the reset, who gets all hears nothing."""
    enough, scarce = (restored(STARTER, day={"spent": 77}) for _ in range(2))
    all_of_them = enough.admit(NOON, Purpose.DISMISS, 3)
    some_of_them = scarce.admit(NOON, Purpose.DISMISS, 4)

    assert len(all_of_them.tickets) == len(some_of_them.tickets) == 3
    assert (all_of_them.until, all_of_them.window) == (None, None)
    assert some_of_them.window == "day"
    assert some_of_them.until is not None
    assert START + DAY < some_of_them.until <= START + DAY + 60


def test_an_accepted_try_raises_the_limit() -> None:
    """One call beyond a limit that held, accepted: there is more than there was."""
    settled = {"cap": 30, "base": 30, "settled": True}
    quota = restored(QuotaSettings(daily_limit=10_000), pace=settled)
    for second in range(31):
        call(quota, NOON + second)

    assert quota.view(NOON + 31).minute_limit == 31


def test_slow_answers_are_measured_in_windows() -> None:
    """At 50 a minute, answers that take 6 s keep twelve calls under way."""
    quota = restored(PRO, latency=6.0)

    assert len(quota.admit(NOON, Purpose.DISMISS, 16).tickets) == 12
