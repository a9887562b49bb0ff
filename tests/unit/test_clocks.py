"""Tests of the clocks that tests use."""

import asyncio
from datetime import timedelta

import pytest

from tests.builders import T0
from tests.clocks import (
    AutoAdvanceClock,
    ManualClock,
    RealSleepClock,
    let_others_run,
)

SECOND = timedelta(seconds=1)


@pytest.mark.anyio
async def test_time_stands_still_until_told() -> None:
    """Both clocks move by exactly what they are told."""
    clock = ManualClock()
    before = (clock.now(), clock.monotonic())
    clock.advance(90 * SECOND)

    assert before == (T0, 0.0)
    assert (clock.now(), clock.monotonic()) == (T0 + 90 * SECOND, 90.0)


@pytest.mark.anyio
async def test_a_sleeper_wakes_at_its_moment() -> None:
    """A sleeper wakes when its time has come, and not before."""
    clock = ManualClock()
    short = asyncio.create_task(clock.sleep(2))
    long = asyncio.create_task(clock.sleep(3))
    await let_others_run()
    clock.advance(SECOND)
    await let_others_run()
    early = short.done()
    clock.advance(SECOND)
    await short
    still_sleeping = (long.done(), clock.sleepers)
    clock.advance(SECOND)
    await long

    assert not early
    assert still_sleeping == (False, 1)
    assert clock.sleepers == 0


@pytest.mark.anyio
async def test_no_time_is_no_sleep() -> None:
    """A sleep of no length ends although the clock stands still."""
    clock = ManualClock()

    await clock.sleep(0)

    assert clock.now() == T0


@pytest.mark.anyio
async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """A cancelled sleep is not counted as waiting."""
    clock = ManualClock()
    sleeping = asyncio.create_task(clock.sleep(1))
    await let_others_run()
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping

    assert clock.sleepers == 0


@pytest.mark.anyio
async def test_waiting_advances_the_clock() -> None:
    """On the advancing clock a sleep ends at once, and its length has passed."""
    clock = AutoAdvanceClock()
    await clock.sleep(90)

    assert clock.now() == T0 + 90 * SECOND
    assert clock.slept == [90]


@pytest.mark.anyio
async def test_a_real_sleep_moves_no_shown_time() -> None:
    """The clock with real sleeps shows what the other clock shows, and no more."""
    shown = AutoAdvanceClock()
    clock = RealSleepClock(shown)
    await clock.sleep(0.001)
    before = clock.now()
    shown.advance(5)

    assert (before, clock.now()) == (T0, T0 + 5 * SECOND)
