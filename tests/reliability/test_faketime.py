"""The real program on a machine whose clock is set while it runs, or is wrong."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.harness import Program, RunningDaemon, a_listed, add, eventually
from tests.reliability.clock_harness import FakeTime, libfaketime
from tests.reliability.report import FULL, Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

LIBRARY: Final = libfaketime()
pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed"),
]

# The last is what a machine without a battery does that wakes up in 1970.
JUMPS: Final = tuple(
    timedelta(days=days) for days in (1, -1, 1_100, -1_100, 30_000, -20_000)
)
WATCHED_SECONDS: Final = 4.0


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as running:
        yield running


@pytest.fixture
def faketime(tmp_path: Path) -> FakeTime:
    assert LIBRARY is not None
    faketime = FakeTime(tmp_path / "faketime", LIBRARY)
    faketime.shift(timedelta(0))
    return faketime


@pytest.fixture
def program(tmp_path: Path, sandbox: RunningSandbox, faketime: FakeTime) -> Program:
    program = Program(tmp_path, sandbox.api_url, dict(faketime.environ()))
    # Rules that were just written are waited for, and under libfaketime Python's
    # `time.sleep` fails: its library passes on a deadline that the kernel refuses.
    written_at = time.time() - 3600  # noqa: TID251 - a file's time
    os.utime(program.rules, (written_at, written_at))
    return program


def polls_during(sandbox: RunningSandbox, seconds: float) -> int:
    """Count the list calls within that time."""
    before = len(sandbox.world.calls)
    time.sleep(seconds)  # noqa: TID251 - another process is at work
    return len(sandbox.world.calls) - before


def breaker(daemon: RunningDaemon) -> Any:
    return daemon.named("cycle.finished")[-1].get("breaker")


def test_a_clock_that_is_set_while_the_daemon_runs(
    program: Program, sandbox: RunningSandbox, faketime: FakeTime, report: Report
) -> None:
    """It neither storms nor sleeps, dismisses nothing meanwhile, and recovers."""
    guarantee = (
        "The clock is set by days to years under the daemon: polls keep their pace"
    )
    polls: list[int] = []
    with report.check("Clocks", guarantee) as check, program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        for number, jump in enumerate(JUMPS):
            faketime.shift(jump)
            # Not the end of a cycle that had begun before.
            cycles = len(daemon.named("cycle.finished"))
            daemon.wait_for("cycle.finished", times=cycles + 1)
            eventually(lambda: breaker(daemon))
            add(sandbox, [a_listed(f"t{number}")])
            polls.append(polls_during(sandbox, WATCHED_SECONDS))

            assert 1 <= polls[-1] <= WATCHED_SECONDS + 2, (jump, polls)
            assert sandbox.world.store.status_of(f"t{number}") == "pending"
            assert daemon.get("/healthz").status_code == 200
            faketime.shift(timedelta(0))
            dismissed = number + 1
            eventually(lambda: len(sandbox.world.store.effects) == dismissed)  # noqa: B023
            check.runs += 1
        assert daemon.end() == 0
        told = ", ".join(str(each) for each in polls)
        check.result = f"{told} polls in {WATCHED_SECONDS:.0f} s at one a second"
    ids = [f"t{number}" for number in range(len(JUMPS))]
    assert [sandbox.world.store.request_count(each) for each in ids] == [1] * len(ids)


def test_a_daemon_that_was_stopped_catches_nothing_up(
    program: Program, sandbox: RunningSandbox, report: Report
) -> None:
    """Held for ten intervals, it polls once, not ten times."""
    guarantee = "A process stopped for ten intervals polls once when it goes on"
    with report.check("Clocks", guarantee) as check, program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=2)
        daemon.process.send_signal(signal.SIGSTOP)
        polls_during(sandbox, 0.5)
        assert polls_during(sandbox, 10.0) == 0
        daemon.process.send_signal(signal.SIGCONT)
        polls = polls_during(sandbox, 1.5)

        assert 1 <= polls <= 3
        check.runs, check.result = 1, f"{polls} polls in the next 1.5 s"


# Seconds before clocks in these places are put forward and back.
CHANGES: Final = (
    ("Europe/Berlin", datetime(2026, 3, 29, 0, 59, 57, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 0, 59, 57, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 6, 59, 57, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 5, 59, 57, tzinfo=UTC)),
)


class ShiftedClock(SystemClock):
    """The sandbox lives at the moment that the program is shown."""

    def __init__(self, moment: datetime) -> None:
        self._ahead = moment - datetime.now(UTC)  # noqa: TID251 - a process lives by it

    def now(self) -> datetime:
        return super().now() + self._ahead


@pytest.mark.parametrize(("place", "moment"), CHANGES if FULL else CHANGES[1::2])
def test_daylight_saving(
    tmp_path: Path, place: str, moment: datetime, faketime: FakeTime, report: Report
) -> None:
    """When the hour changes polls keep their pace, and an age is an age."""
    guarantee = "Daylight saving changes, in two places: no effect"
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with (
        report.check("Clocks", guarantee) as check,
        running_sandbox(settings, ShiftedClock(moment)) as sandbox,
    ):
        young = moment - timedelta(seconds=50)
        add(sandbox, [a_listed("t1", created_at=young.isoformat())])
        program = Program(tmp_path, sandbox.api_url, dict(faketime.environ()))
        program.settings["TZ"] = place
        faketime.set_to(moment)
        with program.daemon() as daemon:
            eventually(lambda: sandbox.world.store.effects)
            polls = polls_during(sandbox, WATCHED_SECONDS)
            effect = sandbox.world.store.effects[0]

            assert 2 <= polls <= WATCHED_SECONDS + 2
            # The rules ask for a minute of age.
            assert timedelta(0) <= effect.at - young - timedelta(minutes=1)
            assert effect.at - young <= timedelta(seconds=70)
            assert not any(e.get("breaker") for e in daemon.named("cycle.finished"))
            assert daemon.end() == 0
        check.runs, check.result = 1, f"{polls} polls in {WATCHED_SECONDS:.0f} s"


@pytest.mark.parametrize("command", ["once", "daemon"])
def test_a_clock_years_ahead_forgets_nothing(
    program: Program,
    faketime: FakeTime,
    command: str,
    sandbox: RunningSandbox,
    report: Report,
) -> None:
    """What is remembered is not thrown away because a clock is wrong for a moment."""
    guarantee = (
        "A clock three years ahead, by daemon and `run --once`: nothing forgotten"
    )
    with report.check("Clocks", guarantee) as check:
        add(sandbox, [a_listed("t1")])
        program.run("run", "--once")
        before = program.history()
        faketime.shift(timedelta(days=1_100))
        if command == "once":
            program.run("run", "--once")
        else:
            with program.daemon() as daemon:
                daemon.wait_for("cycle.finished", times=2)
                polls_during(sandbox, 2.0)
        faketime.shift(timedelta(0))

        assert before == {"t1": ["confirmed"]}
        assert program.history() == before
        check.runs = 1
