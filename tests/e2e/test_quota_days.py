"""The daemon on short days and minutes: the quota is spent like money, for real."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Program, a_listed, add, eventually
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

MINUTE, A_MINUTE = 2.0, 10
DAY, A_DAY = 20.0, 60
RESERVE = 12


@pytest.fixture
def short_days() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(
        task_count=0,
        minute_limit=A_MINUTE,
        minute_window=MINUTE,
        day_limit=A_DAY,
        day_window=DAY,
    )
    with running_sandbox(settings, SystemClock()) as running:
        yield running


def a_program(directory: Path, sandbox: RunningSandbox) -> Program:
    program = Program(directory, sandbox.api_url)
    program.settings |= {
        "TRIAGED_RATE_LIMIT": f"{A_MINUTE}/2s",
        "TRIAGED_DAILY_LIMIT": str(A_DAY),
    }
    return program


def spent_by_day(sandbox: RunningSandbox) -> Counter[int]:
    """Count the calls of each of the sandbox's days."""
    return Counter(int(c.at.timestamp() // DAY) for c in sandbox.world.calls)


def refused(sandbox: RunningSandbox) -> int:
    """Count the 429 answers."""
    return sum(call.status == "429" for call in sandbox.world.calls)


def test_days_of_twenty_seconds(tmp_path: Path, short_days: RunningSandbox) -> None:
    """Over three days nothing is refused, the reserve stays, and the work gets done."""
    program = a_program(tmp_path, short_days)
    add(short_days, [a_listed(f"t{number}") for number in range(50)])
    with program.daemon() as daemon:
        eventually(lambda: short_days.world.store.counts()["pending"] == 0, 70)

        assert daemon.end() == 0
    assert refused(short_days) == 0
    assert max(spent_by_day(short_days).values()) <= A_DAY - RESERVE
    assert len(program.history()) == 50


def test_what_is_spent_survives_a_kill(
    tmp_path: Path, short_days: RunningSandbox
) -> None:
    """Killed and started again in mid-day, the day's count goes on where it was."""
    program = a_program(tmp_path, short_days)
    add(short_days, [a_listed(f"t{number}") for number in range(60)])
    for _ in range(3):
        before = len(short_days.world.store.effects)
        with program.daemon() as daemon:
            eventually(
                lambda before=before: len(short_days.world.store.effects) > before + 4,
                40,
            )
            daemon.end(signal.SIGKILL)

    assert refused(short_days) <= 1
    assert max(spent_by_day(short_days).values()) <= A_DAY - RESERVE
