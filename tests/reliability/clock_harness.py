"""Machines whose clocks go wrong: in this process, and a real one under libfaketime.

The server's clock is right at all times; only the machine that runs us is not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.clocks import AutoAdvanceClock, RealSleepClock
from tests.e2e.harness import KEY, RULES, a_listed
from tests.reliability.fault_harness import MORNING, NOT_SENT
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.rulesfile.loader import load_rules
from triaged.sandbox.faults import Fault, FaultScript
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import RecordedCall
from triaged.settings import Settings, read_settings
from triaged.triage.report import CycleReport
from triaged.workspace import Workspace, open_workspace

JUMPS: Final = tuple(
    timedelta(seconds=sign * seconds)
    for seconds in (
        61,
        119,
        121,
        3_600,
        10 * 3_600,
        86_400,
        40 * 86_400,
        1_100 * 86_400,
    )
    for sign in (1, -1)
)


class MachineClock:
    """A clock that is off by ``error``, over true time that passes by waiting."""

    def __init__(self) -> None:
        self.true = AutoAdvanceClock(MORNING)
        self.error = timedelta(0)
        self.since_boot = 0.0
        self.longest_nap = 0.0

    def now(self) -> datetime:
        return self.true.at + self.error

    def monotonic(self) -> float:
        return self.since_boot

    async def sleep(self, seconds: float) -> None:
        self.longest_nap = max(self.longest_nap, seconds)
        self.pass_by(timedelta(seconds=seconds))

    def pass_by(self, time: timedelta) -> None:
        """Let time pass."""
        self.since_boot += time.total_seconds()
        self.true.at += time

    def suspend(self, time: timedelta) -> None:
        """Let time pass without the program; the clock of the boot goes on."""
        self.pass_by(time)


class Hooked(FaultScript):
    """No faults, but something that happens within the n-th call of an operation."""

    def __init__(self, operation: str, number: int, event: Callable[[], None]) -> None:
        super().__init__()
        self._operation, self._left, self._event = operation, number, event

    def next_fault(self, operation: str) -> Fault | None:
        if operation == self._operation:
            self._left -= 1
            if self._left == 0:
                self._event()
        return super().next_fault(operation)


@dataclass
class Site:
    """A daemon's workspace in this process, on a machine whose clock goes wrong."""

    machine: MachineClock
    sandbox: RunningSandbox
    settings: Settings
    workspace: Workspace
    ids: list[str] = field(default_factory=list)

    def restock(self, count: int) -> None:
        """Add tasks that are due."""
        ids = [f"t{len(self.ids) + number}" for number in range(count)]
        self.ids += ids
        self.sandbox.world.store.add([a_listed(task_id) for task_id in ids])

    async def cycle(self) -> CycleReport:
        """Run one cycle."""
        rules, _ = load_rules(*self.settings.rules, now=self.machine.now())
        cycle = self.workspace.cycle(dry_run=False)
        return await cycle.run(lambda: rules, stop=asyncio.Event())

    def within(self, operation: str, number: int, event: Callable[[], None]) -> None:
        """Let something happen within the n-th such call from now on."""
        self.sandbox.world.faults = Hooked(operation, number, event)

    def wait_for_next_poll(self, wished: timedelta, jump: timedelta) -> timedelta:
        """Wait as the schedule does, while the clock jumps; return for how long."""
        now = self.machine.now()
        planned = self.workspace.rate_limiter.next_poll(wished) - now
        # A schedule goes along with a clock set back, and is late on one set forward.
        waits = max(planned - max(jump, timedelta(0)), timedelta(seconds=1))
        self.machine.pass_by(waits)
        self.machine.error += jump
        return waits

    def done(self) -> set[str]:
        """Return the tasks that were dismissed."""
        return {effect.task_id for effect in self.sandbox.world.store.effects}

    def calls(self) -> list[RecordedCall]:
        """Return all calls that the server has seen."""
        return list(self.sandbox.world.calls)

    def confirmed(self) -> list[str]:
        """Return the tasks that the ledger says were dismissed."""
        found = self.workspace.ledger.dismissals.query(
            DismissalFilter(outcome=Outcome.CONFIRMED)
        )
        return [e.task_id for e in found if NOT_SENT not in (e.detail or "")]


@asynccontextmanager
async def site(
    directory: Path, *, minute: int = 50, day: int = 1000, rules: str = RULES
) -> AsyncIterator[Site]:
    """Open a workspace on such a machine, before a sandbox with real limits."""
    machine = MachineClock()
    path = directory / "rules.yaml"
    path.write_text(rules)
    limits = SandboxSettings(task_count=0, minute_limit=minute, day_limit=day)
    with running_sandbox(limits, RealSleepClock(machine.true)) as sandbox:
        environ = {
            "TRIAGED_API_URL": sandbox.api_url,
            "TRIAGED_API_KEY": KEY,
            "TRIAGED_STATE_DIR": str(directory / "state"),
            "TRIAGED_RULES": str(path),
            "TRIAGED_RATE_LIMIT": f"{minute}/1m",
            "TRIAGED_DAILY_LIMIT": str(day),
        }
        settings = read_settings(environ, {})
        async with open_workspace(settings, machine) as workspace:
            yield Site(machine, sandbox, settings, workspace)


def libfaketime() -> Path | None:
    """Return the library that shows a process another time, where it is installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found[0] if found else None


@dataclass(frozen=True)
class FakeTime:
    """What shows one process another time; it may change while the process runs."""

    file: Path
    library: Path

    def environ(self) -> Mapping[str, str]:
        """Return what a process needs; its monotonic clock stays as it is."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def shift(self, by: timedelta) -> None:
        """Put the clock off by so much from the machine's own."""
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{by.total_seconds():+.0f}")
        # Read at any moment, so never half written.
        draft.replace(self.file)

    def set_to(self, moment: datetime) -> None:
        """Set the clock to a moment."""
        self.shift(moment - datetime.now(UTC))  # noqa: TID251 - a process lives by it
