"""What the quota guarantees, whatever the arrivals and responses."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quota_servers import (
    DAY,
    START,
    Api,
    FixedWindow,
    Limiter,
    SlidingLog,
    TokenBucket,
)
from tests.unit.quota.builders import Ask, World
from triaged.quota import Purpose, QuotaLimiter, QuotaSettings

SERVERS: Final[dict[str, Callable[[int, float], Limiter]]] = {
    "fixed": FixedWindow,
    "sliding": lambda limit, _: SlidingLog(limit),
    "bucket": lambda limit, _: TokenBucket(limit),
}

asks = st.builds(
    Ask,
    gap=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.01, 0.3, 1.0, 5.0, 20.0, 45.0]),
    purpose=st.sampled_from(Purpose),
    took=st.sampled_from([0.0, 0.05, 0.4, 2.0, 9.0, 30.0]),
    counted_at=st.floats(0, 1),
    end=st.sampled_from(["response", "response", "response", "lost", "release"]),
    others=st.sampled_from([0, 0, 0, 1, 7]),
)
histories = st.lists(asks, min_size=1, max_size=80)


def a_world(kind: str, limit: int, phase: float, *, headers: bool, day: int) -> World:
    """Return a limiter that knows its plan, and the server that enforces it."""
    limits = QuotaSettings(minute_limit=limit, daily_limit=day)
    api = Api(SERVERS[kind](limit, phase), day_limit=day, headers=headers)
    return World(QuotaLimiter(limits), api)


@pytest.mark.parametrize("kind", SERVERS)
@given(histories, st.sampled_from([1, 3, 10, 50]), st.floats(0, 60), st.booleans())
def test_no_window_exceeds_a_known_limit(
    kind: str,
    history: list[Ask],
    limit: int,
    phase: float,
    headers: bool,
) -> None:
    """Whenever a call is counted between sent and answered, no minute has too many."""
    world = a_world(kind, limit, phase, headers=headers, day=100_000)
    for ask in history:
        world.ask(ask)
    world.run_until(world.now + 60)

    assert world.refused == 0


@given(histories, st.sampled_from([5, 20, 60]), st.sampled_from([0.0, 0.2, 0.5]))
def test_reserve_is_never_used(history: list[Ask], day: int, reserve: float) -> None:
    """The day's calls stay out of the reserve, answered or not."""
    limiter = QuotaLimiter(
        QuotaSettings(minute_limit=1_000, daily_limit=day, reserve=reserve)
    )
    world = World(limiter, Api(SlidingLog(1_000), day_limit=day))
    for ask in history:
        world.ask(replace(ask, others=0))
    world.run_until(world.now + 60)

    assert world.api.spent <= day - limiter.snapshot(world.now).reserved


@given(histories, st.sampled_from([20, 60]))
def test_reserve_beside_others(history: list[Ask], day: int) -> None:
    """Only calls that other clients made since the last headers enter the reserve."""
    limiter = QuotaLimiter(QuotaSettings(minute_limit=1_000, daily_limit=day))
    world = World(limiter, Api(SlidingLog(1_000), day_limit=day))
    reported = 0
    for ask in history:
        allowed = world.ask(replace(ask, took=0.0, end="response"))
        world.run_until(world.now)
        if allowed:
            assert reported + 1 <= day - limiter.snapshot(world.now).reserved
            reported = world.api.spent


@given(
    histories, st.sampled_from([5, 40]), st.sampled_from([20, 100]), st.floats(0, 60)
)
def test_headers_never_give_calls_back(
    history: list[Ask], limit: int, day: int, phase: float
) -> None:
    """Headers of the minute or none at all: own calls stay out of the reserve."""
    limiter = QuotaLimiter(QuotaSettings(minute_limit=limit, daily_limit=day))
    api = Api(FixedWindow(limit, phase), day_limit=day, minute_headers=True)
    world = World(limiter, api)
    for ask in history:
        world.ask(replace(ask, others=0))
    world.run_until(world.now + 60)

    assert api.spent <= day - limiter.snapshot(world.now).reserved


@given(histories, st.integers(5, 40), st.floats(0, 60), st.data())
def test_saved_and_loaded(
    history: list[Ask], hidden: int, phase: float, data: st.DataObject
) -> None:
    """A limiter that is saved as JSON and loaded at any time behaves the same."""
    limits = QuotaSettings(daily_limit=200)
    world, twin = (
        World(QuotaLimiter(limits), Api(FixedWindow(hidden, phase), day_limit=200))
        for _ in range(2)
    )
    for ask in history:
        if data.draw(st.booleans()):
            state = json.loads(json.dumps(twin.limiter.to_dict()))
            twin.limiter = QuotaLimiter(limits, state)

        assert world.ask(ask) == twin.ask(ask)
        assert world.limiter.snapshot(world.now) == twin.limiter.snapshot(twin.now)
    assert world.limiter.next_poll(world.now, 60.0) == twin.limiter.next_poll(
        twin.now, 60.0
    )


@given(histories, st.integers(1, 30), st.floats(0, 60), st.booleans())
def test_snapshot_is_consistent(
    history: list[Ask],
    hidden: int,
    phase: float,
    headers: bool,
) -> None:
    """What is displayed adds up at every moment, whatever the server does."""
    api = Api(FixedWindow(hidden, phase), day_limit=40, headers=headers)
    world = World(QuotaLimiter(QuotaSettings()), api)
    for ask in history:
        world.ask(ask)
        snapshot = world.limiter.snapshot(world.now)

        assert 0 <= snapshot.remaining <= snapshot.daily_limit
        assert 0 <= snapshot.reserved <= snapshot.daily_limit
        assert snapshot.used_today >= 0
        assert snapshot.used_by_others >= 0
        assert snapshot.minute_limit >= 1
        assert snapshot.reset_at > world.now - 2
        blocked_until = snapshot.blocked_until
        assert (blocked_until is None) == (snapshot.blocked_by is None)
        assert blocked_until is None or blocked_until > world.now


@given(histories, st.integers(1, 30), st.floats(0, 60))
def test_blocked_means_no_call(history: list[Ask], hidden: int, phase: float) -> None:
    """No call is allowed while blocked, and a retry time lies in the future."""
    world = World(QuotaLimiter(QuotaSettings()), Api(FixedWindow(hidden, phase)))
    for ask in history:
        world.run_until(world.now + ask.gap)
        blocked = world.limiter.snapshot(world.now).blocked_until
        grant = world.limiter.acquire(world.now, ask.purpose)

        assert blocked is None or grant.permit is None
        assert grant.retry_at is None or grant.retry_at > world.now
        if grant.permit is not None:
            world.limiter.release(world.now, grant.permit)
        world.ask(ask)


@given(
    histories, st.floats(1, DAY), st.integers(0, 500), st.sampled_from([20, 100, 1_000])
)
def test_next_poll_is_not_early(
    history: list[Ask], target: float, backlog: int, day: int
) -> None:
    """The next poll is never before the target interval, and at most a day away."""
    world = a_world("sliding", 10, 0.0, headers=True, day=day)
    for ask in history:
        world.ask(ask)

        at = world.limiter.next_poll(world.now, target, backlog=backlog)
        assert at >= world.now + target
        assert at <= max(START + DAY + 62, world.now + target)


@given(histories, st.lists(st.floats(-3 * DAY, 3 * DAY), min_size=1, max_size=4))
def test_no_clock_blocks_for_ever(history: list[Ask], jumps: list[float]) -> None:
    """After any jumps of the time a call is allowed within two days."""
    world = World(QuotaLimiter(QuotaSettings()), Api(FixedWindow(10), headers=False))
    for number, ask in enumerate(history):
        world.ask(ask)
        if number < len(jumps):
            world.run_until(world.now + 40)
            world.now += jumps[number]
    world.run_until(world.now + 40)

    now, tries = world.now, 0
    while (grant := world.limiter.acquire(now, Purpose.DISMISS)).permit is None:
        now = now + 10 if grant.retry_at is None else grant.retry_at + 0.01
        tries += 1
        assert tries < 100
    assert now - world.now < 2 * DAY
