"""The quota: minute, day, reserve, refusals, and a state that can be shared."""

import json
from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from triaged.quota import Purpose, Quota, QuotaSettings, ServerWord
from triaged.quota.day import next_midnight

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
NOTHING = ServerWord()


def a_quota(**given: float | None) -> Quota:
    known = {"minute_limit": 10, "daily_limit": 1000, "reserve": 0.2, **given}
    return Quota(QuotaSettings(**known))  # type: ignore[arg-type]


def word(**given: object) -> ServerWord:
    return ServerWord(**given)  # type: ignore[arg-type]


def spend(quota: Quota, now: float, count: int) -> int:
    """Send and answer so many calls, one after the other; return how many left."""
    done = 0
    for _ in range(count):
        admission = quota.admit(now, Purpose.HAND)
        if not admission.tickets:
            break
        quota.answered(now, admission.tickets[0], NOTHING)
        done += 1
    return done


def test_a_minute_is_filled_to_the_brim_and_no_further() -> None:
    """Ten a minute means ten at once and the eleventh a minute after the first."""
    quota = a_quota()

    assert spend(quota, NOW, 11) == 10
    refused = quota.admit(NOW + 1, Purpose.DISMISS)
    assert refused.window == "minute"
    assert refused.until == pytest.approx(NOW + 60, abs=0.2)
    assert quota.admit(NOW + 60.2, Purpose.DISMISS).tickets


@settings(max_examples=60, deadline=None)
@example([(0.0, 1.0), (0.0, 0.0), (20.0, 0.0), (20.0, 0.0), (20.0, 0.0)], 2)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5)), max_size=120),
    st.integers(1, 20),
)
def test_no_window_ever_sees_too_many(
    calls: list[tuple[float, float]], limit: int
) -> None:
    """Whenever the server counts between sent and answered, no window overflows."""
    quota = a_quota(minute_limit=limit, daily_limit=10**6)
    now, arrivals = NOW, []
    flying: deque[tuple[float, int]] = deque()
    for wait, latency in calls:
        now += wait
        while flying and flying[0][0] <= now:
            landed, ticket = flying.popleft()
            quota.answered(landed, ticket, NOTHING)
        admission = quota.admit(now, Purpose.DISMISS)
        for ticket in admission.tickets:
            flying = deque(sorted([*flying, (now + latency, ticket)]))
            arrivals.append((now, now + latency))
    # The worst server counts into a window whatever it may: all that was not answered
    # when it begins and was sent before it ends.
    for _, begin in arrivals:
        inside = [sent for sent, end in arrivals if end >= begin and sent < begin + 60]
        assert len(inside) <= limit


@given(st.integers(1, 300), st.floats(0, 0.95), st.integers(0, 100))
def test_the_reserve_is_never_touched(limit: int, reserve: float, others: int) -> None:
    """We stop at the reserve, by our count or by the server's, whichever is less."""
    quota = a_quota(minute_limit=10**6, daily_limit=limit, reserve=reserve)
    left = limit
    sent = 0
    for number in range(limit + 1):
        admission = quota.admit(NOW, Purpose.DISMISS)
        if not admission.tickets:
            break
        assert left > quota.view(NOW).reserved or number == 0
        left -= 1 + (others if number == 0 else 0)
        sent += 1
        quota.answered(
            NOW, admission.tickets[0], word(limit=limit, remaining=max(left, 0))
        )
    assert sent <= limit - quota.view(NOW).reserved


def test_the_day_begins_anew_at_midnight() -> None:
    """At the day's end we say until when, and then the whole day is there again."""
    quota = a_quota(minute_limit=1000, daily_limit=100)
    assert spend(quota, NOW, 200) == 80
    over = quota.admit(NOW + 120, Purpose.POLL)

    assert over.window == "day"
    assert over.until is not None
    assert MIDNIGHT <= over.until <= MIDNIGHT + 60
    assert spend(quota, MIDNIGHT + 60, 200) == 80


def test_a_poll_leaves_the_last_call_to_a_dismissal() -> None:
    """The last call finds nothing new; it dismisses what was found."""
    quota = a_quota(minute_limit=1000, daily_limit=100)
    spend(quota, NOW, 79)

    assert quota.admit(NOW, Purpose.POLL).window == "day"
    assert quota.admit(NOW, Purpose.DISMISS).tickets


def test_the_limit_is_learned_from_the_headers() -> None:
    """Without a plan it starts careful and takes the server's word."""
    quota = a_quota(minute_limit=None, daily_limit=None)
    ticket = quota.admit(NOW, Purpose.POLL).tickets[0]
    before = quota.view(NOW)
    reset = datetime(2026, 3, 2, tzinfo=UTC)
    quota.answered(NOW, ticket, word(limit=1000, remaining=700, reset=reset))
    after = quota.view(NOW)

    assert (before.daily_limit, before.plan_known) == (100, False)
    assert (after.daily_limit, after.remaining, after.reserved) == (1000, 700, 200)
    assert after.spent_by_others == 299


def test_the_stricter_limit_counts() -> None:
    """A server that allows less than we were told has the last word, not more."""
    quota = a_quota(daily_limit=1000)
    ticket = quota.admit(NOW, Purpose.POLL).tickets[0]
    quota.answered(NOW, ticket, word(limit=100, remaining=99))

    assert quota.view(NOW).daily_limit == 100
    ticket = quota.admit(NOW, Purpose.POLL).tickets[0]
    quota.answered(NOW, ticket, word(limit=10_000, remaining=9_000))
    assert quota.view(NOW).daily_limit == 1000


@pytest.mark.parametrize(
    ("said", "window", "at_least"),
    [
        ({"remaining": 0}, "day", MIDNIGHT),
        ({"remaining": 5}, "minute", NOW),
        ({}, "minute", NOW),
        (
            {"retry_after": datetime.fromtimestamp(NOW + 500, UTC)},
            "minute",
            NOW + 500,
        ),
    ],
)
def test_a_refusal_closes_the_gate_for_everybody(
    said: dict[str, object], window: str, at_least: float
) -> None:
    """A 429 stops all callers until its time; Retry-After is a floor."""
    quota = a_quota()
    ticket = quota.admit(NOW, Purpose.DISMISS).tickets[0]

    assert quota.refused(NOW, ticket, word(**said)) == window
    view = quota.view(NOW)
    assert view.closed_window == window
    assert view.closed_until is not None
    assert view.closed_until >= at_least
    for purpose in Purpose:
        assert quota.admit(view.closed_until - 0.01, purpose).tickets == ()


def test_repeated_refusals_widen_the_distance() -> None:
    """Each refusal of a call that left after the last one doubles the wait."""
    quota = a_quota()
    now, waits = NOW, []
    for _ in range(5):
        ticket = quota.admit(now, Purpose.DISMISS).tickets[0]
        quota.refused(now, ticket, NOTHING)
        until = quota.view(now).closed_until or now
        waits.append(until - now)
        now = until + 0.1

    assert waits == sorted(waits)
    assert waits[-1] >= 4 * waits[1]


def test_refusals_of_one_burst_count_once() -> None:
    """Calls that were in flight when the gate closed do not widen it further."""
    quota = a_quota(minute_limit=None)
    tickets = quota.admit(NOW, Purpose.DISMISS, 3).tickets
    for ticket in tickets:
        quota.refused(NOW + 0.1, ticket, NOTHING)

    assert (quota.view(NOW + 0.1).closed_until or 0) <= NOW + 61


def test_after_a_refusal_one_call_goes_ahead() -> None:
    """Nobody storms the gate when it opens again."""
    quota = a_quota()
    quota.refused(NOW, quota.admit(NOW, Purpose.DISMISS).tickets[0], NOTHING)
    first = quota.admit(NOW + 61, Purpose.DISMISS, 8)

    assert len(first.tickets) == 1
    assert quota.admit(NOW + 61, Purpose.DISMISS, 8).tickets == ()
    quota.answered(NOW + 62, first.tickets[0], NOTHING)
    assert len(quota.admit(NOW + 62, Purpose.DISMISS, 4).tickets) > 1


def test_the_state_survives_a_restart() -> None:
    """Written down as JSON and read back, it decides the same."""
    quota = a_quota(daily_limit=100)
    spend(quota, NOW, 4)
    quota.admit(NOW, Purpose.DISMISS, 3)
    state = json.loads(json.dumps(quota.state()))
    given = QuotaSettings(minute_limit=10, daily_limit=100)
    again = Quota(given, state)

    assert again.view(NOW + 1) == quota.view(NOW + 1)
    assert again.admit(NOW + 1, Purpose.HAND, 9) == quota.admit(
        NOW + 1, Purpose.HAND, 9
    )


def test_a_strange_state_is_not_guessed_at() -> None:
    """What another version wrote is left; the headers soon tell."""
    given = QuotaSettings(minute_limit=10, daily_limit=100)

    assert Quota(given, {"spent": 3}).view(NOW).spent_today == 0


def test_the_calls_of_a_dead_process_come_back() -> None:
    """A ticket that nobody answers for is counted as spent after two minutes."""
    quota = a_quota(minute_limit=4)
    quota.admit(NOW, Purpose.DISMISS, 4)

    assert quota.admit(NOW + 100, Purpose.DISMISS).tickets == ()
    assert quota.admit(NOW + 121, Purpose.DISMISS).tickets == ()
    assert quota.admit(NOW + 182, Purpose.DISMISS).tickets
    assert quota.view(NOW + 182).spent_today == 5


def test_a_call_that_never_left_is_given_back() -> None:
    """Unreachable costs nothing of the day."""
    quota = a_quota()
    ticket = quota.admit(NOW, Purpose.POLL).tickets[0]
    quota.cancelled(NOW, ticket)

    assert quota.view(NOW).spent_today == 0


def test_a_short_day_is_believed_and_an_absurd_one_not() -> None:
    """The header's reset counts when it is ahead and not farther than a day."""
    quota = a_quota(daily_limit=None)
    soon = datetime.fromtimestamp(NOW + 60, UTC)
    for reset in (soon, soon - timedelta(days=2), soon + timedelta(days=3)):
        ticket = quota.admit(NOW, Purpose.HAND).tickets[0]
        quota.answered(NOW, ticket, word(limit=50, remaining=40, reset=reset))

    assert quota.view(NOW).reset_at == NOW + 60


def test_polls_are_spread_over_the_day() -> None:
    """An interval that the quota cannot carry is stretched, never shortened."""
    quota = a_quota(minute_limit=10, daily_limit=100)
    midnight = next_midnight(NOW)
    at = quota.next_poll(midnight, 300.0)

    assert 15 * 60 < at - midnight < 30 * 60
    assert a_quota(daily_limit=100_000).next_poll(NOW, 300.0) == NOW + 300


def test_a_backlog_gets_its_share() -> None:
    """With much to dismiss, polls make room, but never more than half."""
    quota = a_quota(daily_limit=100)
    calm = quota.next_poll(NOW, 300.0) - NOW
    busy = quota.next_poll(NOW, 300.0, backlog=500) - NOW

    assert calm < busy
    assert busy <= (MIDNIGHT - NOW) / 40 + 1


def test_a_clock_that_jumps_back_does_not_stop_us_for_long() -> None:
    """Entries from the future count as new ones: a window later all is well."""
    quota = a_quota()
    spend(quota, NOW, 10)

    assert quota.admit(NOW - 3600, Purpose.DISMISS).tickets == ()
    assert quota.admit(NOW - 3600 + 61, Purpose.DISMISS).tickets
