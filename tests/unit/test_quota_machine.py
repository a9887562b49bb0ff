"""The quota's state machine, told times and answers one by one."""

import itertools
import json
from datetime import UTC, datetime
from typing import Final

import pytest

from tests.bench.quota.servers import DAY, START
from triaged.quota import Purpose, Quota, QuotaSettings, ServerWord

NOON: Final = START + DAY / 2
STARTER: Final = QuotaSettings.for_plan("starter")
PRO: Final = QuotaSettings.for_plan("pro")
SILENCE: Final = ServerWord()


def a_word(
    *,
    limit: int | None = None,
    remaining: int | None = None,
    reset: float | None = None,
    retry_after: float | None = None,
) -> ServerWord:
    """Return headers with moments given in seconds."""
    return ServerWord(
        limit=limit,
        remaining=remaining,
        reset=None if reset is None else datetime.fromtimestamp(reset, UTC),
        retry_after=(
            None if retry_after is None else datetime.fromtimestamp(retry_after, UTC)
        ),
    )


def send(quota: Quota, now: float, purpose: Purpose = Purpose.DISMISS) -> int:
    """Let one call leave, which must be possible."""
    admission = quota.admit(now, purpose)
    assert len(admission.tickets) == 1, admission
    return admission.tickets[0]


def spend(quota: Quota, now: float, calls: int, word: ServerWord = SILENCE) -> float:
    """Make so many calls one after the other as soon as each may leave."""
    for _ in range(calls):
        while not (admission := quota.admit(now, Purpose.DISMISS)).tickets:
            assert admission.until is not None
            now = max(now, admission.until)
        now += 0.1
        quota.answered(now, admission.tickets[0], word)
    return now


def fill(quota: Quota, now: float) -> int:
    """Spend what the minute allows at one moment; return how much that was."""
    spent = 0
    while tickets := quota.admit(now, Purpose.DISMISS, 16).tickets:
        for ticket in tickets:
            quota.answered(now, ticket, SILENCE)
        spent += len(tickets)
    return spent


# --- the minute -------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "limit"), [("starter", 10), ("pro", 50)])
def test_known_plan_fills_its_minute(plan: str, limit: int) -> None:
    """A plan's minute is used to the brim, and then asks to come again."""
    quota = Quota(QuotaSettings.for_plan(plan))

    assert fill(quota, NOON) == limit
    admission = quota.admit(NOON, Purpose.DISMISS)
    assert admission.window == "minute"
    assert admission.until == pytest.approx(NOON + 60, abs=0.2)


def test_slots_come_free_one_window_after_the_answer() -> None:
    """The server may have counted the call as late as it answered."""
    quota = Quota(STARTER)
    tickets = quota.admit(NOON, Purpose.DISMISS, 4).tickets
    for ticket in tickets:
        quota.answered(NOON + 30, ticket, SILENCE)
    assert fill(quota, NOON + 30) == 10 - len(tickets)

    assert fill(quota, NOON + 89.9) == 0
    assert fill(quota, NOON + 90.2) == 10


def test_full_of_calls_in_flight_asks_to_wait_for_an_answer() -> None:
    """With enough calls in flight there is no moment to wait for, only an answer."""
    quota = Quota(PRO)
    while quota.admit(NOON, Purpose.DISMISS, 16).tickets:
        pass

    admission = quota.admit(NOON, Purpose.DISMISS)
    assert (admission.tickets, admission.until, admission.window) == ((), None, None)


def test_slow_answers_get_more_calls_in_flight() -> None:
    """At two seconds an answer, 200 a minute need some seven calls in flight."""
    quota = Quota(QuotaSettings.for_plan("org"))
    now = NOON
    for _ in range(6):
        tickets = quota.admit(now, Purpose.DISMISS, 16).tickets
        now += 2.0
        for ticket in tickets:
            quota.answered(now, ticket, SILENCE)

    assert 8 <= len(quota.admit(now, Purpose.DISMISS, 16).tickets) <= 16


def test_settings_beat_a_laxer_server() -> None:
    """A daily limit in the headers that belongs to a bigger plan changes nothing."""
    quota = Quota(STARTER)
    generous = a_word(limit=10_000, remaining=9_000, reset=START + DAY)
    now = spend(quota, NOON, 1, generous)

    assert quota.view(now).daily_limit == 100
    assert fill(quota, now) == 9


def test_window_of_the_settings_is_kept() -> None:
    """A rate limit of 5 in 2 seconds is that, not 5 a minute."""
    quota = Quota(QuotaSettings(minute_limit=5, minute_window=2.0, daily_limit=1_000))

    assert fill(quota, NOON) == 5
    assert fill(quota, NOON + 1.9) == 0
    assert fill(quota, NOON + 2.1) == 5


# --- the day ----------------------------------------------------------------------


def test_reserve_is_never_spent() -> None:
    """Of 100 calls a day with a reserve of a fifth, the 81st does not leave."""
    quota = Quota(STARTER)
    now = spend(quota, START, 80)

    admission = quota.admit(now, Purpose.DISMISS)
    assert admission.tickets == ()
    assert admission.window == "day"
    assert admission.until is not None
    assert START + DAY <= admission.until <= START + DAY + 60


def test_poll_leaves_the_last_call_to_a_dismissal() -> None:
    """A poll with the last call could only find what cannot be dismissed any more."""
    quota = Quota(STARTER)
    now = spend(quota, START, 79) + 60

    assert quota.admit(now, Purpose.POLL).window == "day"
    assert quota.admit(now, Purpose.DISMISS).tickets


def test_more_than_the_day_has_left_gets_what_is_left() -> None:
    """The last calls are given, and the rest is put off until the reset."""
    quota = Quota(STARTER)
    now = spend(quota, START, 78) + 60

    admission = quota.admit(now, Purpose.DISMISS, 16)
    assert len(admission.tickets) == 2
    assert admission.window == "day"


def test_spending_by_others_is_noticed() -> None:
    """What the headers say is gone is gone, whoever spent it."""
    quota = Quota(STARTER)
    word = a_word(limit=100, remaining=22, reset=START + DAY)
    now = spend(quota, NOON, 1, word)

    view = quota.view(now)
    assert view.remaining == 22
    assert view.spent_by_others == 77
    assert len(quota.admit(now, Purpose.DISMISS, 16).tickets) == 2


def test_others_under_a_stricter_setting_are_not_overcounted() -> None:
    """Headers of a bigger limit than ours are compared with their own limit."""
    quota = Quota(STARTER)
    word = a_word(limit=1_000, remaining=969, reset=START + DAY)
    now = spend(quota, NOON, 1, word)

    assert quota.view(now).spent_by_others == 30
    assert quota.view(now).remaining == 99


def test_headers_out_of_order_do_not_give_calls_back() -> None:
    """An older answer that arrives late does not raise what remains."""
    quota = Quota(PRO)
    first, second, third = (send(quota, NOON) for _ in range(3))
    quota.answered(NOON + 1, second, a_word(limit=1_000, remaining=498))
    quota.answered(NOON + 2, first, a_word(limit=1_000, remaining=499))

    assert quota.view(NOON + 2).remaining <= 497
    quota.answered(NOON + 3, third, a_word(limit=1_000, remaining=497))
    assert quota.view(NOON + 3).remaining == 497


def test_unanswered_calls_count() -> None:
    """A call that was sent and told nothing has been spent."""
    quota = Quota(STARTER)
    now = spend(quota, NOON, 1, a_word(limit=100, remaining=50, reset=START + DAY))
    quota.unanswered(now + 1, send(quota, now))

    assert quota.view(now + 1).remaining == 49


def test_cancelled_calls_are_refunded() -> None:
    """A call that never left the machine costs neither minute nor day."""
    quota = Quota(STARTER)
    before = quota.view(NOON)
    for _ in range(30):
        quota.cancelled(NOON, send(quota, NOON))

    assert quota.view(NOON) == before
    assert fill(quota, NOON) == 10


def test_a_ticket_is_settled_once() -> None:
    """Answers to tickets nobody knows, or twice, change no count."""
    quota = Quota(STARTER)
    ticket = send(quota, NOON)
    quota.answered(NOON, ticket, SILENCE)
    quota.answered(NOON, ticket, SILENCE)
    quota.unanswered(NOON, ticket)
    quota.cancelled(NOON, ticket)

    assert quota.view(NOON).spent_today == 1


def test_tickets_of_the_dead_expire_as_spent() -> None:
    """After two minutes without a word a call counts as sent, and stands aside."""
    quota = Quota(PRO)
    while quota.admit(NOON, Purpose.DISMISS, 16).tickets:
        pass
    spent = quota.view(NOON).spent_today

    assert quota.admit(NOON + 119, Purpose.DISMISS).tickets == ()
    assert quota.admit(NOON + 121, Purpose.DISMISS).tickets
    assert quota.view(NOON + 121).spent_today == spent + 1


def test_limit_is_adopted_from_headers() -> None:
    """Without a plan the first answer tells the day's limit, and with it the plan."""
    quota = Quota(QuotaSettings())
    assert quota.view(NOON).daily_limit == 100
    word = a_word(limit=1_000, remaining=999, reset=START + DAY)
    now = spend(quota, NOON, 1, word)

    view = quota.view(now)
    assert (view.daily_limit, view.reserved, view.remaining) == (1_000, 200, 999)
    assert not view.plan_known
    now = spend(quota, now, 60)
    assert quota.view(now).minute_limit == 50
    assert quota.view(now).plan_known


def test_limit_of_zero_in_headers_is_ignored() -> None:
    """A limit of nothing is a slip, as long as calls are answered."""
    quota = Quota(STARTER)
    now = spend(quota, NOON, 1, a_word(limit=0, remaining=50))

    assert quota.view(now).daily_limit == 100


@pytest.mark.parametrize(
    "reset",
    [START - 1, START - 40 * DAY, START + 3 * DAY, START + 4_000 * DAY],
    ids=["just over", "stale", "in three days", "absurd"],
)
def test_reset_that_cannot_be_is_ignored(reset: float) -> None:
    """A reset in the past or beyond a day leaves the next midnight in force."""
    quota = Quota(STARTER)
    now = spend(quota, NOON, 1, a_word(limit=100, remaining=90, reset=reset))

    assert quota.view(now).reset_at == START + DAY
    assert quota.view(now).remaining == 90


def test_day_begins_anew_at_the_reset() -> None:
    """After the reset and its jitter the whole day may be spent again."""
    quota = Quota(STARTER)
    now = spend(quota, START, 80)
    until = quota.admit(now, Purpose.DISMISS).until
    assert until is not None

    assert quota.admit(START + DAY - 0.1, Purpose.DISMISS).tickets == ()
    assert quota.admit(until, Purpose.DISMISS).tickets
    assert quota.view(until).remaining == 99


def test_day_of_a_minute() -> None:
    """A server whose day has 60 seconds is taken at its word, day after day."""
    quota = Quota(QuotaSettings(minute_limit=1_000, daily_limit=100))
    most = []
    for day in range(3):
        now, spent = NOON + 60.0 * day + 3, 0
        reset = now + 57
        while tickets := quota.admit(now, Purpose.DISMISS).tickets:
            spent += 1
            now += 0.1
            word = a_word(limit=100, remaining=100 - spent, reset=reset)
            quota.answered(now, tickets[0], word)
        most.append(spent)
        assert quota.view(now).reset_at == reset

    assert most == [80, 80, 80]


def test_late_answer_of_yesterday_does_not_spend_today() -> None:
    """A call that crosses midnight tells of the day that is over."""
    quota = Quota(STARTER)
    now = spend(quota, START, 70)
    ticket = send(quota, START + DAY - 0.1)
    midnight = START + DAY
    quota.answered(
        midnight + 0.1, ticket, a_word(limit=100, remaining=21, reset=midnight)
    )
    assert now < midnight

    assert quota.view(midnight + 5).remaining >= 99


def test_clock_ahead_of_the_server_at_midnight() -> None:
    """A call that leaves in our new day and arrives in the server's old one."""
    quota = Quota(STARTER)
    spend(quota, START, 70)
    midnight = START + DAY
    ticket = send(quota, midnight + 2.5)
    quota.answered(
        midnight + 2.7, ticket, a_word(limit=100, remaining=21, reset=midnight)
    )

    assert quota.view(midnight + 3).remaining >= 98


def test_clock_behind_the_server_at_midnight() -> None:
    """A new day that the server begins before us is begun with it."""
    quota = Quota(STARTER)
    spend(quota, START, 70, a_word(limit=100, remaining=30, reset=START + DAY))
    ticket = send(quota, START + DAY - 1)
    word = a_word(limit=100, remaining=99, reset=START + 2 * DAY)
    quota.answered(START + DAY - 0.5, ticket, word)

    view = quota.view(START + DAY)
    assert (view.remaining, view.reset_at) == (99, START + 2 * DAY)


# --- refusals ---------------------------------------------------------------------


def test_refusal_closes_for_everybody() -> None:
    """A 429 stops polls, dismissals and people until its time."""
    quota = Quota(STARTER)
    word = a_word(limit=100, remaining=50, reset=START + DAY)
    assert quota.refused(NOON, send(quota, NOON), word) == "minute"

    for purpose in Purpose:
        admission = quota.admit(NOON + 1, purpose)
        assert admission.tickets == ()
        assert admission.window == "minute"
        assert admission.until is not None
        assert NOON + 1 < admission.until <= NOON + 60
    assert quota.view(NOON + 1).closed_window == "minute"


@pytest.mark.parametrize("seconds", [7, 120, 3_600, 5 * 86_400])
def test_retry_after_is_a_floor(seconds: int) -> None:
    """Nothing leaves before the moment the server asked for."""
    quota = Quota(STARTER)
    word = a_word(remaining=50, retry_after=NOON + seconds)
    quota.refused(NOON, send(quota, NOON), word)

    assert quota.admit(NOON + seconds - 0.1, Purpose.HAND).tickets == ()
    assert quota.next_poll(NOON + 1, 1.0) >= NOON + seconds


def test_retry_after_does_not_shorten() -> None:
    """A server that says 1 s after a full minute is not believed to mean the minute."""
    quota = Quota(STARTER)
    fill(quota, NOON)
    stray = Quota(STARTER, quota.state())
    stray.refused(NOON + 1, 10_000, a_word(retry_after=NOON + 2))

    assert stray.admit(NOON + 59, Purpose.DISMISS).tickets == ()


def test_remaining_zero_means_the_day() -> None:
    """A refusal with nothing left closes until the reset, not for a minute."""
    quota = Quota(PRO)
    reset = NOON + 3_600
    word = a_word(limit=1_000, remaining=0, reset=reset)
    assert quota.refused(NOON, send(quota, NOON), word) == "day"

    admission = quota.admit(NOON + 3_599, Purpose.DISMISS)
    assert (admission.tickets, admission.window) == ((), "day")
    assert quota.admit(reset + 61, Purpose.DISMISS).tickets


def test_repeated_refusals_widen_the_distance() -> None:
    """Each refusal after the gate has opened again at least doubles the wait."""
    quota = Quota(STARTER)
    now, waits = START, []
    for _ in range(6):
        quota.refused(now, send(quota, now), SILENCE)
        until = quota.admit(now, Purpose.DISMISS).until
        assert until is not None
        waits.append(until - now)
        now = until

    assert waits == sorted(waits)
    assert all(b >= 1.9 * a for a, b in itertools.pairwise(waits[1:]))


def test_an_accepted_call_ends_the_widening() -> None:
    """One answer after the gate opened, and the next refusal is a first one again."""
    quota = Quota(STARTER)
    now = START
    for _ in range(4):
        quota.refused(now, send(quota, now), SILENCE)
        now = quota.admit(now, Purpose.DISMISS).until or now
    now = spend(quota, now, 1)
    while not (tickets := quota.admit(now, Purpose.DISMISS).tickets):
        now += 1
    quota.refused(now, tickets[0], SILENCE)

    until = quota.admit(now, Purpose.DISMISS).until
    assert until is not None
    assert until - now <= 60


def test_refusals_of_calls_under_way_are_one() -> None:
    """Calls that had left before the gate closed do not count as repeats."""
    one, many = Quota(PRO), Quota(PRO)
    one_ticket = send(one, NOON)
    tickets = many.admit(NOON, Purpose.DISMISS, 4).tickets
    one.refused(NOON + 1, one_ticket, SILENCE)
    for ticket in tickets:
        many.refused(NOON + 1, ticket, SILENCE)

    assert many.admit(NOON + 2, Purpose.DISMISS).until == pytest.approx(
        one.admit(NOON + 2, Purpose.DISMISS).until, abs=0.2
    )


def test_after_a_refusal_one_goes_ahead() -> None:
    """When the gate opens again a single call tries, not all that waited."""
    quota = Quota(PRO)
    quota.refused(NOON, send(quota, NOON), SILENCE)
    until = quota.admit(NOON, Purpose.DISMISS).until
    assert until is not None

    assert len(quota.admit(until, Purpose.DISMISS, 16).tickets) == 1
    assert quota.admit(until, Purpose.DISMISS, 16).tickets == ()


def test_different_seeds_wake_at_different_moments() -> None:
    """Those who wait for the same reset do not all come at once."""
    moments = set()
    for seed in range(10):
        quota = Quota(STARTER, seed=seed)
        now = spend(quota, START, 80)
        moments.add(quota.admit(now, Purpose.DISMISS).until)

    assert len(moments) == 10


# --- polls ------------------------------------------------------------------------


def test_poll_interval_is_stretched_to_what_the_day_carries() -> None:
    """80 calls a day cannot carry a poll each five minutes, whatever is wished."""
    quota = Quota(STARTER)

    at = quota.next_poll(START, 300.0)
    assert 18 * 60 <= at - START <= 40 * 60
    assert quota.view(START).poll_interval == pytest.approx(at - START)


def test_poll_interval_is_as_wished_where_the_day_carries_it() -> None:
    """10,000 a day carry a poll each minute."""
    quota = Quota(QuotaSettings.for_plan("org"))

    assert quota.next_poll(START, 60.0) == START + 60


def test_backlog_comes_before_polls() -> None:
    """Tasks that wait for their dismissal make polls rarer."""
    quota = Quota(STARTER)

    assert quota.next_poll(START, 300.0, backlog=40) > quota.next_poll(START, 300.0)


def test_poll_beyond_the_day_waits_for_the_reset() -> None:
    """With nothing left, the next poll comes after the reset and its jitter."""
    quota = Quota(STARTER)
    now = spend(quota, START, 80)

    assert START + DAY <= quota.next_poll(now, 300.0) <= START + DAY + 60


def test_poll_is_never_sooner_than_wished() -> None:
    """The reset, however near, is no reason to poll sooner."""
    spent, fresh = Quota(STARTER), Quota(STARTER)
    spend(spent, START, 80)
    eve = START + DAY - 10

    assert spent.next_poll(eve, 300.0) >= eve + 300
    assert fresh.next_poll(eve, 300.0) >= eve + 300


def test_nothing_is_caught_up() -> None:
    """After a long sleep one poll is due, and the next an interval later."""
    quota = Quota(STARTER)
    quota.next_poll(START, 300.0)
    late = START + 20 * 3_600

    assert quota.next_poll(late, 300.0) >= late + 300


# --- clocks and restarts ----------------------------------------------------------


@pytest.mark.parametrize("back", [3.0, 3_600.0, 3 * DAY])
def test_clock_set_back_gives_nothing_away_and_recovers(back: float) -> None:
    """The minute stays counted, and a minute later work goes on."""
    quota = Quota(QuotaSettings(minute_limit=10, daily_limit=10_000))
    fill(quota, NOON)
    now = NOON - back

    assert quota.admit(now, Purpose.DISMISS).tickets == ()
    assert fill(quota, now + 61) == 10


@pytest.mark.parametrize("back", [3_600.0, 3 * DAY])
def test_closed_gate_survives_a_clock_set_back_but_not_for_long(back: float) -> None:
    """A gate closed for a minute opens about a minute after the clock was set back."""
    quota = Quota(PRO)
    quota.refused(NOON, send(quota, NOON), SILENCE)
    now = NOON - back

    assert quota.admit(now, Purpose.DISMISS).tickets == ()
    quota.answered(now + 61, send(quota, now + 61), SILENCE)
    assert len(quota.admit(now + 62, Purpose.DISMISS, 8).tickets) > 1


def test_clock_set_forward_begins_a_day_the_server_may_deny() -> None:
    """A day begun by a wrong clock is corrected by the first answer."""
    quota = Quota(STARTER)
    now = spend(quota, START, 75) + DAY
    word = a_word(limit=100, remaining=24)
    quota.answered(now + 200, send(quota, now + 199), word)

    assert quota.view(now + 200).remaining == 24


def test_restart_in_mid_day_remembers() -> None:
    """What was spent, learned and closed is as before."""
    quota = Quota(QuotaSettings())
    now = spend(quota, NOON, 15, a_word(limit=1_000, remaining=700))
    quota.refused(now, send(quota, now), a_word(limit=1_000, remaining=699))
    state = json.loads(json.dumps(quota.state()))

    assert Quota(QuotaSettings(), state).view(now) == quota.view(now)


def test_other_settings_after_a_restart_keep_the_spending() -> None:
    """A stricter plan holds at once, for the minute and the day under way."""
    quota = Quota(PRO)
    now = spend(quota, NOON, 30)
    stricter = Quota(STARTER, quota.state())

    assert stricter.view(now).minute_limit == 10
    assert stricter.view(now).remaining == 70
    assert stricter.admit(now, Purpose.DISMISS).window == "minute"


def test_another_window_after_a_restart_keeps_the_log() -> None:
    """Calls of a minute ago still count when the window becomes two minutes."""
    quota = Quota(STARTER)
    fill(quota, NOON)
    settings = QuotaSettings(minute_limit=10, minute_window=120.0, daily_limit=100)
    wider = Quota(settings, quota.state())

    assert wider.admit(NOON + 100, Purpose.DISMISS).tickets == ()
    assert wider.admit(NOON + 121, Purpose.DISMISS).tickets


def test_state_of_another_format_is_not_guessed_at() -> None:
    """What another version wrote is left alone."""
    quota = Quota(STARTER, {"format": 0, "spent": "a lot"})

    assert quota.view(NOON).remaining == 100


def test_abandoned_dismissals_count_as_sent() -> None:
    """Dismissals of a process that died are spent, its polls still fly."""
    quota = Quota(STARTER)
    send(quota, NOON, Purpose.POLL)
    send(quota, NOON)
    quota.abandon_dismissals(NOON + 1)

    assert quota.view(NOON + 1).spent_today == 2
    assert fill(quota, NOON + 1) == 8
