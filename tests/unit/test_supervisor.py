"""The supervisor: whatever is raised, a next poll is planned and the error counted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from tests.builders import T0
from tests.clocks import ManualClock, let_others_run
from triaged.daemon import scheduler
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.supervisor import Supervisor

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


class PlannedMoments:
    """A schedule that fires when the test says so."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self.on_due = on_due
        self.at: datetime | None = None
        self.plans: list[datetime] = []

    def plan(self, at: datetime) -> None:
        self.at = at
        self.plans.append(at)

    def is_planned(self) -> bool:
        return self.at is not None

    def close(self) -> None:
        self.at = None

    def fire(self) -> None:
        self.at = None
        self.on_due()


class Rig:
    """A supervisor with everything around it in the test's hands."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        made: list[PlannedMoments] = []

        def make(on_due: Callable[[], None]) -> PlannedMoments:
            made.append(PlannedMoments(on_due))
            return made[-1]

        patch.setattr(scheduler, "Scheduler", make)
        self.clock = ManualClock()
        self.wall_error = timedelta(0)
        self.health = Health(heartbeat_at=0.0, interval=5 * MINUTE)
        self.errors = InternalErrors()
        self.cycle: Callable[[], Awaitable[datetime]] = self._cycle
        self.tick_error: Exception | None = None
        self.cycles = 0
        self.ticked = asyncio.Event()
        self.stop = asyncio.Event()
        self.supervisor = Supervisor(
            clock=self.clock,
            health=self.health,
            errors=self.errors,
            cycle=lambda: self.cycle(),  # noqa: PLW0108 - replaced by tests
            tick=self._tick,
        )
        (self.schedule,) = made

    async def _cycle(self) -> datetime:
        self.cycles += 1
        return self.clock.now() + MINUTE

    async def _tick(self) -> None:
        self.ticked.set()
        if self.tick_error is not None:
            raise self.tick_error

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supervisor.run(self.stop))
        await let_others_run()
        self.schedule.fire()
        await let_others_run()
        try:
            yield
        finally:
            self.stop.set()
            await asyncio.wait_for(task, 5)

    async def tick(self, passed: timedelta = timedelta(seconds=1)) -> None:
        self.clock.advance(passed)
        await let_others_run()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


async def test_the_next_poll_is_planned(rig: Rig) -> None:
    """A cycle says when to poll next, and that is planned and due."""
    async with rig.running():
        assert rig.cycles == 1
        assert rig.schedule.at == T0 + MINUTE
        assert rig.health.next_poll_at == T0 + MINUTE
        assert rig.health.why_not_alive(0.0) is None


@pytest.mark.parametrize("error", [RuntimeError("x"), asyncio.CancelledError()])
async def test_a_cycle_that_raises(rig: Rig, error: BaseException) -> None:
    """Whatever a cycle raises, the next poll is planned and the error counted."""

    async def fail() -> datetime:
        raise error

    rig.cycle = fail
    async with rig.running():
        assert rig.schedule.at == T0 + 5 * MINUTE
        assert rig.errors.counts()[Where.CYCLE] == 1
        assert rig.health.cycle_since is None
        rig.cycle = rig._cycle  # noqa: SLF001 - well again
        rig.schedule.fire()
        await let_others_run()

        assert rig.cycles == 1


async def test_a_tick_that_raises(rig: Rig) -> None:
    """A failing tick is counted, and the heartbeat goes on."""
    async with rig.running():
        rig.tick_error = ZeroDivisionError()
        await rig.tick()
        assert rig.errors.counts()[Where.CYCLE] == 1
        rig.tick_error = None
        rig.ticked.clear()

        # The loop begins again in real time.
        await asyncio.wait_for(rig.ticked.wait(), 5)


async def test_a_lost_plan_is_made_again(rig: Rig) -> None:
    """A schedule that has lost the poll is given it again within a second."""
    async with rig.running():
        rig.schedule.at = None
        await rig.tick()

        assert rig.schedule.at == T0 + MINUTE


@pytest.mark.parametrize("days", [-400, -1, 1, 20_000])
async def test_a_clock_that_is_set(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Set back, a poll due in a minute still is; set forward, it is due at once."""
    async with rig.running():
        step = timedelta(days=days)
        wall = rig.clock.now
        monkeypatch.setattr(rig.clock, "now", lambda: wall() + step)
        await rig.tick()
        planned = rig.schedule.at

        assert planned is not None
        remaining = planned - rig.clock.now()
        expected = timedelta(seconds=59) if days < 0 else T0 + MINUTE - rig.clock.now()
        assert remaining == expected
        assert rig.health.poll_due is not None
        assert rig.health.poll_due <= rig.clock.monotonic() + 60


async def test_a_clock_that_is_set_back_as_a_cycle_ends(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cycle said by the old clock is not waited for by the new one."""

    async def set_back() -> datetime:
        at = rig.clock.now() + MINUTE
        wall = rig.clock.now
        monkeypatch.setattr(rig.clock, "now", lambda: wall() - timedelta(days=1))
        return at

    rig.cycle = set_back
    async with rig.running():
        assert rig.schedule.at == rig.clock.now() + rig.health.interval
        assert rig.health.poll_due == rig.clock.monotonic() + 5 * 60


async def test_the_cycle_in_flight_is_awaited(rig: Rig) -> None:
    """Told to stop, it waits for the cycle under way and begins no other."""
    release = asyncio.Event()

    async def slow() -> datetime:
        await release.wait()
        rig.cycles += 1
        return rig.clock.now()

    rig.cycle = slow
    async with rig.running():
        rig.stop.set()
        await let_others_run()
        assert rig.health.cycle_since is not None
        release.set()
        await let_others_run()

        assert rig.cycles == 1


async def test_a_real_schedule_fires() -> None:
    """APScheduler runs what is due, also when it was due long ago."""
    for at in (datetime(1970, 1, 2, tzinfo=T0.tzinfo), datetime.now(T0.tzinfo)):  # noqa: TID251 - APScheduler asks the machine
        due = asyncio.Event()
        planned = scheduler.Scheduler(due.set)
        planned.plan(at)
        await asyncio.wait_for(due.wait(), 5)
        await let_others_run()

        assert not planned.is_planned()
        planned.close()
