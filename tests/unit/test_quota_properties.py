"""What the quota keeps whatever happens, over random arrivals and answers."""

import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.quota.servers import (
    DAY,
    START,
    Api,
    FixedWindow,
    Limiter,
    SlidingLog,
    TokenBucket,
)
from triaged.quota import Purpose, Quota, QuotaSettings, ServerWord

LIMITERS: Final[dict[str, Callable[[int, float], Limiter]]] = {
    "fixed": FixedWindow,
    "sliding": lambda limit, _: SlidingLog(limit),
    "bucket": lambda limit, _: TokenBucket(limit),
}


@dataclass(frozen=True)
class Ask:
    """Somebody wants calls; how long each takes and when within that it counts."""

    gap: float
    purpose: Purpose
    wanted: int
    took: float
    counted_at: float
    answer: str
    others: int


asks = st.builds(
    Ask,
    gap=st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0, 5.0, 20.0, 45.0]),
    purpose=st.sampled_from(Purpose),
    wanted=st.integers(1, 16),
    took=st.sampled_from([0.0, 0.05, 0.4, 2.0, 9.0, 30.0]),
    counted_at=st.floats(0, 1),
    answer=st.sampled_from(["yes", "yes", "yes", "silence", "cancel"]),
    others=st.sampled_from([0, 0, 0, 1, 7]),
)
histories = st.lists(asks, min_size=1, max_size=60)


@dataclass
class World:
    """A quota, the API it talks to, and the calls between them."""

    quota: Quota
    api: Api
    now: float = START
    refused: int = 0
    day_refused: int = 0
    unseen: int = 0
    worst: int = 0
    taken: list[float] = field(default_factory=list)
    _events: list[tuple[float, int, str, int, Ask]] = field(default_factory=list)
    _words: dict[int, tuple[bool, ServerWord]] = field(default_factory=dict)
    _number: int = 0

    def ask(self, ask: Ask) -> int:
        """Let time pass, answers come in, and so many calls leave as may."""
        self.run_until(self.now + ask.gap)
        for _ in range(ask.others):
            # Somebody else's call; nobody tells us before our next answer.
            self.api.spent += 1
            self.unseen += 1
        tickets = self.quota.admit(self.now, ask.purpose, ask.wanted).tickets
        for ticket in tickets:
            self._number += 1
            leaves = self.now + ask.took * ask.counted_at
            if ask.answer != "cancel":
                self._push(leaves, "arrives", ticket, ask)
            self._push(self.now + ask.took, ask.answer, ticket, ask)
        return len(tickets)

    def run_until(self, moment: float) -> None:
        """Deliver everything that happens until then."""
        while self._events and self._events[0][0] <= moment:
            self.now, _, kind, ticket, _ = heapq.heappop(self._events)
            self._happen(kind, ticket)
        self.now = moment

    def _push(self, at: float, kind: str, ticket: int, ask: Ask) -> None:
        rank = 0 if kind == "arrives" else 1
        heapq.heappush(self._events, (at, 2 * self._number + rank, kind, ticket, ask))

    def _happen(self, kind: str, ticket: int) -> None:
        if kind == "arrives":
            served, word = self.api.take(self.now)
            self._words[ticket] = served, word
            self.refused += not served
            self.worst = max(self.worst, self.api.spent - self.unseen)
            self.taken.append(self.now)
            return
        served, word = self._words.pop(ticket, (True, ServerWord()))
        if kind == "cancel":
            self.quota.cancelled(self.now, ticket)
        elif kind == "silence":
            self.quota.unanswered(self.now, ticket)
        elif served:
            self.quota.answered(self.now, ticket, word)
        else:
            self.quota.refused(self.now, ticket, word)


def a_world(kind: str, limit: int, phase: float, *, headers: bool, day: int) -> World:
    """Return a quota that knows its plan, and the server that keeps to it."""
    limits = QuotaSettings(minute_limit=limit, daily_limit=day)
    api = Api(LIMITERS[kind](limit, phase), day_limit=day, headers=headers)
    return World(Quota(limits), api)


@pytest.mark.parametrize("kind", LIMITERS)
@settings(max_examples=60, deadline=None)
@given(histories, st.sampled_from([1, 3, 10, 50]), st.floats(0, 60), st.booleans())
def test_known_plan_is_never_refused(
    kind: str, history: list[Ask], limit: int, phase: float, headers: bool
) -> None:
    """Whenever a call is counted between sent and answered, the minute holds."""
    world = a_world(kind, limit, phase, headers=headers, day=100_000)
    for ask in history:
        world.ask(ask)
    world.run_until(world.now + 60)

    assert world.refused == 0


@settings(max_examples=60, deadline=None)
@given(histories, st.sampled_from([5, 20, 60]), st.sampled_from([0.0, 0.2, 0.5]))
def test_reserve_is_never_spent_without_others(
    history: list[Ask], day: int, reserve: float
) -> None:
    """The sum of the day's calls stays out of the reserve, answered or not."""
    quota = Quota(QuotaSettings(minute_limit=1_000, daily_limit=day, reserve=reserve))
    world = World(quota, Api(SlidingLog(1_000), day_limit=day))
    for ask in history:
        world.ask(Ask(**{**vars(ask), "others": 0}))
    world.run_until(world.now + 60)

    assert world.api.spent <= day - quota.view(world.now).reserved


@settings(max_examples=100, deadline=None)
@given(histories, st.sampled_from([20, 60]))
def test_reserve_is_entered_only_for_what_nobody_could_know(
    history: list[Ask], day: int
) -> None:
    """Others' calls since the last headers are the only way into the reserve."""
    quota = Quota(QuotaSettings(minute_limit=1_000, daily_limit=day))
    world = World(quota, Api(SlidingLog(1_000), day_limit=10_000))
    world.api.day_limit = day
    known = 0
    for ask in history:
        left = world.ask(Ask(**{**vars(ask), "took": 0.0, "answer": "yes"}))
        world.run_until(world.now)
        if left:
            assert known + left <= day - quota.view(world.now).reserved
            known = world.api.spent


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(5, 40), st.floats(0, 60), st.data())
def test_written_down_and_read_back_is_the_same(
    history: list[Ask], hidden: int, phase: float, data: st.DataObject
) -> None:
    """At any moment a state from JSON behaves as the quota it was taken from."""
    limits = QuotaSettings(daily_limit=200)
    world = World(Quota(limits), Api(FixedWindow(hidden, phase), day_limit=200))
    twin = World(Quota(limits), Api(FixedWindow(hidden, phase), day_limit=200))
    for ask in history:
        if data.draw(st.booleans()):
            twin.quota = Quota(limits, json.loads(json.dumps(twin.quota.state())))

        assert world.ask(ask) == twin.ask(ask)
        assert world.quota.view(world.now) == twin.quota.view(twin.now)
    assert world.quota.next_poll(world.now, 60.0) == twin.quota.next_poll(
        twin.now, 60.0
    )


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(1, 30), st.floats(0, 60), st.booleans())
def test_view_is_consistent(
    history: list[Ask], hidden: int, phase: float, headers: bool
) -> None:
    """What people are shown adds up at every moment, whatever the server does."""
    api = Api(FixedWindow(hidden, phase), day_limit=40, headers=headers)
    world = World(Quota(QuotaSettings()), api)
    for ask in history:
        world.ask(ask)
        view = world.quota.view(world.now)

        assert 0 <= view.remaining <= view.daily_limit
        assert 0 <= view.reserved <= view.daily_limit
        assert world.now <= view.reset_at + 3
        assert view.minute_limit >= 1
        assert view.spent_today >= 0
        assert view.spent_by_others >= 0
        assert (view.closed_until is None) == (view.closed_window is None)
        assert view.closed_until is None or view.closed_until > world.now


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(1, 30), st.floats(0, 60))
def test_closed_means_closed_and_until_is_worth_waiting_for(
    history: list[Ask], hidden: int, phase: float
) -> None:
    """Nothing leaves a closed gate, and no answer sends anybody into the past."""
    world = World(Quota(QuotaSettings()), Api(FixedWindow(hidden, phase)))
    for ask in history:
        world.run_until(world.now + ask.gap)
        closed = world.quota.view(world.now).closed_until
        admission = world.quota.admit(world.now, ask.purpose, ask.wanted)
        for ticket in admission.tickets:
            world.quota.cancelled(world.now, ticket)

        assert closed is None or admission.tickets == ()
        assert admission.until is None or admission.until > world.now
        assert len(admission.tickets) <= ask.wanted
        assert len(set(admission.tickets)) == len(admission.tickets)
        world.ask(ask)


@settings(max_examples=60, deadline=None)
@given(
    histories,
    st.floats(1, DAY),
    st.integers(0, 500),
    st.sampled_from([20, 100, 1_000]),
)
def test_next_poll_is_never_before_wished(
    history: list[Ask], wished: float, backlog: int, day: int
) -> None:
    """However full or near its end the day is, and however much waits."""
    world = a_world("sliding", 10, 0.0, headers=True, day=day)
    for ask in history:
        world.ask(ask)

        at = world.quota.next_poll(world.now, wished, backlog=backlog)
        assert at >= world.now + wished
        assert at <= max(START + DAY + 62, world.now + wished)


@settings(max_examples=40, deadline=None)
@given(histories, st.lists(st.floats(-3 * DAY, 3 * DAY), min_size=1, max_size=4))
def test_no_clock_locks_us_out_for_ever(history: list[Ask], jumps: list[float]) -> None:
    """After any jumps of the clock a call may leave within two days."""
    world = World(Quota(QuotaSettings()), Api(FixedWindow(10), headers=False))
    for number, ask in enumerate(history):
        world.ask(ask)
        if number < len(jumps):
            world.run_until(world.now + 40)
            world.now += jumps[number]
    world.run_until(world.now + 40)

    now, asked = world.now, 0
    while not (admission := world.quota.admit(now, Purpose.DISMISS)).tickets:
        now = now + 10 if admission.until is None else admission.until + 0.01
        asked += 1
        assert asked < 100
    assert now - world.now < 2 * DAY
