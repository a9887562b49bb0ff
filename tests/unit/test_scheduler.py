"""The schedule while the machine's clock is set."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest

from triaged.clock import SystemClock
from triaged.daemon import scheduler as schedule
from triaged.daemon.scheduler import Scheduler

SOON = timedelta(seconds=0.3)
PATIENCE_SECONDS = 5


class Machine:
    """The machine's clock, and by how much somebody has set it wrong."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.error = timedelta(0)
        right, machine = SystemClock.now, self

        class Wrong(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                moment = (right(SystemClock()) + machine.error).astimezone(tz)
                return cls.fromtimestamp(moment.timestamp(), tz)

        patch.setattr("apscheduler.schedulers.base.datetime", Wrong)
        patch.setattr(SystemClock, "now", lambda clock: right(clock) + self.error)
        patch.setattr(schedule, "CLOCK_CHECK_SECONDS", 0.05)


@pytest.mark.anyio
@pytest.mark.parametrize("days", [0, -400, 40_000])
async def test_jobs_go_on_when_the_clock_is_set(
    days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether set back or forward, what was due soon is run soon, and once."""
    machine, runs = Machine(monkeypatch), Counter[str]()
    once, often = asyncio.Event(), asyncio.Event()
    planned = Scheduler()

    async def run_once() -> None:
        runs["once"] += 1
        once.set()

    async def run_often() -> None:
        runs["often"] += 1
        if runs["often"] > 3:
            often.set()
        raise ZeroDivisionError  # a job that fails comes round all the same

    planned.every(0.1, run_often, name="often")
    planned.at(SystemClock().now() + SOON, run_once, name="once")
    machine.error = timedelta(days=days)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await once.wait()
        await often.wait()
    planned.close()

    assert runs["once"] == 1
    assert runs["often"] < 10


@pytest.mark.anyio
async def test_a_paused_schedule_begins_nothing() -> None:
    """After a pause what is due does not begin."""
    planned, ran = Scheduler(), asyncio.Event()

    async def run() -> None:
        ran.set()

    planned.pause()
    planned.at(SystemClock().now(), run, name="now")
    for _ in range(20):
        await asyncio.sleep(0)  # noqa: TID251 - no time passes
    planned.close()

    assert not ran.is_set()
