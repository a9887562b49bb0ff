"""Many workspaces in one process: fair, bounded, and each for itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from tests.builders import T0
from tests.clocks import ManualClock, let_others_run
from triaged.clock import Clock
from triaged.daemon import scheduler
from triaged.daemon.fleet_supervisor import FleetSupervisor
from triaged.daemon.health import CYCLE_TIMEOUT, Health
from triaged.daemon.internal_errors import InternalErrors, Where

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


class ClockSchedule:
    """A schedule that fires when the clock of the test gets there."""

    def __init__(self, clock: ManualClock, on_due: Callable[[], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self.at: datetime | None = None
        self.plans = 0

    def plan(self, at: datetime) -> None:
        self.at = at
        self.plans += 1

    def check(self) -> None:
        if self.at is not None and self.at <= self._clock.now():
            self.at = None
            self._on_due()

    def close(self) -> None:
        self.at = None


class Work:
    """The cycles of one workspace, each of which waits until it is let go."""

    def __init__(self, name: str, clock: Clock, ran: list[str]) -> None:
        self.name = name
        self.health = Health(heartbeat_at=0.0, interval=5 * MINUTE)
        self.clock = clock
        self.ran = ran
        self.is_held = False
        self.released = asyncio.Event()
        self.sleeps = 0.0
        self.error: BaseException | None = None
        self.bound: dict[str, Any] = {}

    async def run_cycle(self) -> datetime:
        self.ran.append(self.name)
        self.bound = structlog.contextvars.get_contextvars()
        if self.error is not None:
            raise self.error
        if self.sleeps:
            await self.clock.sleep(self.sleeps)
        if self.is_held:
            await self.released.wait()
        return self.clock.now() + 5 * MINUTE


class Rig:
    """A supervisor of some workspaces with the time in the test's hands."""

    def __init__(
        self, patch: pytest.MonkeyPatch, *, working: int = 2, opened: int = 9
    ) -> None:
        made: list[ClockSchedule] = []

        def make(on_due: Callable[[], None]) -> ClockSchedule:
            made.append(ClockSchedule(self.clock, on_due))
            return made[-1]

        patch.setattr(scheduler, "Scheduler", make)
        self.clock = ManualClock()
        self.errors = InternalErrors()
        self.ran: list[str] = []
        self.late: list[float] = []
        self.stop = asyncio.Event()
        self.supervisor = FleetSupervisor(
            clock=self.clock,
            errors=self.errors,
            tick=self._tick,
            on_started=self.late.append,
            max_working=working,
            max_open=opened,
        )
        (self.schedule,) = made

    async def _tick(self) -> None:
        self.schedule.check()

    def add(self, name: str, after: timedelta = timedelta(0)) -> Work:
        work = Work(name, self.supervisor.cycle_clock, self.ran)
        self.supervisor.add(name, work, T0 + after)
        return work

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supervisor.run(self.stop))
        await let_others_run()
        try:
            yield
        finally:
            self.stop.set()
            await asyncio.wait_for(task, 5)

    async def advance(self, passed: timedelta = timedelta(seconds=1)) -> None:
        for _ in range(int(passed.total_seconds())):
            self.clock.advance(timedelta(seconds=1))
            self.schedule.check()
            await let_others_run()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


async def test_each_workspace_is_polled_again_in_its_time(rig: Rig) -> None:
    """Each cycle says when its workspace is due next, and it is not polled before."""
    rig.add("a")
    rig.add("b", after=2 * MINUTE)
    async with rig.running():
        await rig.advance(2 * MINUTE)
        assert rig.ran == ["a"]
        await rig.advance(4 * MINUTE)

        assert rig.ran == ["a", "b", "a"]


async def test_a_clock_that_is_set_back_in_a_cycle_delays_no_poll(rig: Rig) -> None:
    """The next poll is an interval later, although the cycle read the clock before."""

    class Misled(Work):
        async def run_cycle(self) -> datetime:
            next_at = await super().run_cycle()
            rig.clock.set_wall(timedelta(hours=-1))
            return next_at

    work = Misled("a", rig.supervisor.cycle_clock, rig.ran)
    rig.supervisor.add("a", work, T0)
    async with rig.running():
        await rig.advance(5 * MINUTE + timedelta(seconds=2))

    assert rig.ran == ["a", "a"]


async def test_who_is_due_longest_goes_first(rig: Rig) -> None:
    """While all places are taken, those that wait keep the order of their times."""
    held = [rig.add(name) for name in ("a", "b")]
    for work in held:
        work.is_held = True
    for name, after in (("d", 3), ("c", 2), ("e", 4)):
        rig.add(name, after=timedelta(seconds=after))
    async with rig.running():
        await rig.advance(timedelta(seconds=10))
        assert rig.ran == ["a", "b"]
        held[0].released.set()
        for _ in range(5):
            await let_others_run()
        held[1].released.set()

        assert rig.ran == ["a", "b", "c", "d", "e"]
        assert [round(late) for late in rig.late] == [0, 0, 8, 7, 6]


async def test_a_slow_workspace_delays_no_other(rig: Rig) -> None:
    """A cycle that does not end keeps one place, and is not started twice."""
    rig.add("slow").is_held = True
    rig.add("a")
    async with rig.running():
        await rig.advance(11 * MINUTE)

        assert rig.ran.count("slow") == 1
        assert rig.ran.count("a") == 3
        rig.supervisor.plan("slow", T0)
        await rig.advance()
        assert rig.ran.count("slow") == 1
        rig.stop.set()
        for entry in rig.supervisor._entries.values():  # noqa: SLF001 - lets it end
            assert isinstance(entry.job, Work)
            entry.job.released.set()


async def test_a_workspace_that_waits_gives_its_place_away(rig: Rig) -> None:
    """Those that wait for their quota do not keep others from working."""
    for name in ("a", "b"):
        rig.add(name).sleeps = 30.0
    rig.add("c")
    async with rig.running():
        await rig.advance()
        assert rig.ran == ["a", "b", "c"]
        assert rig.supervisor.why_not_alive(rig.clock.monotonic()) is None
        await rig.advance(timedelta(minutes=6))

        assert sorted(rig.ran) == ["a", "a", "b", "b", "c", "c"]


async def test_no_more_are_open_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles that only wait hold a file each, so their number has a bound too."""
    rig = Rig(monkeypatch, opened=3)
    for name in "abcd":
        rig.add(name).sleeps = 30.0
    async with rig.running():
        await rig.advance()
        assert rig.ran == ["a", "b", "c"]
        await rig.advance(timedelta(seconds=30))

        assert rig.ran == ["a", "b", "c", "d"]
        await rig.advance(timedelta(seconds=30))


@pytest.mark.parametrize("error", [RuntimeError("x"), asyncio.CancelledError()])
async def test_a_workspace_that_raises_costs_itself_only(
    rig: Rig, error: BaseException
) -> None:
    """It is counted, polled again after its interval, and the others go on."""
    broken = rig.add("broken")
    broken.error = error
    rig.add("a")
    async with rig.running():
        await rig.advance(timedelta(seconds=2))
        assert rig.errors.counts()[Where.CYCLE] == 1
        broken.error = None
        await rig.advance(5 * MINUTE)

        assert sorted(rig.ran) == ["a", "a", "broken", "broken"]
        assert rig.errors.counts()[Where.CYCLE] == 1


async def test_a_stuck_cycle_is_ended(rig: Rig) -> None:
    """After half an hour a cycle loses its place, and its workspace is tried again."""
    stuck = rig.add("stuck")
    stuck.is_held = True
    async with rig.running():
        await rig.advance(timedelta(seconds=CYCLE_TIMEOUT + 2))
        assert rig.errors.counts()[Where.CYCLE] == 1
        stuck.is_held = False
        await rig.advance(6 * MINUTE)

        assert rig.ran == ["stuck", "stuck"]


async def test_each_cycle_logs_its_workspace(rig: Rig) -> None:
    """What is logged in a cycle names its workspace, and nothing of it stays behind."""
    works = [rig.add("a"), rig.add("b")]
    async with rig.running():
        await rig.advance()

        assert [work.bound["workspace"] for work in works] == ["a", "b"]
    assert "workspace" not in structlog.contextvars.get_contextvars()


async def test_a_removed_workspace_is_not_polled_again(rig: Rig) -> None:
    """One that is removed while its cycle runs ends that, and has no other."""
    rig.add("idle", after=MINUTE)
    busy = rig.add("busy")
    busy.is_held = True
    async with rig.running():
        await rig.advance()
        rig.supervisor.remove("idle")
        rig.supervisor.remove("busy")
        busy.released.set()
        await rig.advance(10 * MINUTE)

        assert rig.ran == ["busy"]


async def test_the_stop_waits_for_running_cycles(rig: Rig) -> None:
    """What was begun is finished, and nothing new begins."""
    held = rig.add("held")
    held.is_held = True
    rig.add("later", after=MINUTE)
    async with rig.running():
        await rig.advance()
        rig.stop.set()
        await let_others_run()
        held.released.set()
    await let_others_run()

    assert rig.ran == ["held"]
    assert held.health.cycle_since is None
    assert rig.errors.counts()[Where.CYCLE] == 0


async def test_a_lost_wake_up_is_made_again(rig: Rig) -> None:
    """A schedule that forgets the wake-up costs seconds, not the polls."""
    rig.add("a", after=MINUTE)
    async with rig.running():
        rig.schedule.at = None
        await rig.advance(MINUTE + timedelta(seconds=5))

        assert rig.ran == ["a"]


async def test_liveness(rig: Rig) -> None:
    """It is not alive if its loop does not run or a poll that could begin does not."""
    rig.add("a")
    monotonic = rig.clock.monotonic()

    assert rig.supervisor.why_not_alive(monotonic) is None
    assert rig.supervisor.why_not_alive(monotonic + 29) is None
    assert rig.supervisor.why_not_alive(monotonic + 31) == "the event loop is stuck"
    rig.supervisor._heartbeat_at += 31  # noqa: SLF001 - as the loop does
    assert rig.supervisor.why_not_alive(monotonic + 31) == "a planned poll is overdue"
