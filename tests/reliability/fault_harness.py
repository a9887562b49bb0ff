"""A harness: one ``run --once`` after the other in this process, under scripted faults.

Every wait advances the clock at once, so hundreds of cells of a matrix take seconds;
HTTP, ledger, dispatcher and exit code are the real ones.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from tests.clocks import AutoAdvanceClock
from tests.e2e.harness import KEY, RULES
from tests.sandbox_server import RunningSandbox
from triaged.cli.run import _run_once
from triaged.clock import SystemClock
from triaged.daemon.internal_errors import InternalErrors
from triaged.leadlex.approver import LexiApprover
from triaged.leadlex.errors import LexiError
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome
from triaged.sandbox.faults import Fault, FaultScript
from triaged.sandbox.state import RecordedCall
from triaged.sandbox.store import Store
from triaged.settings import Settings, read_settings
from triaged.workspace import open_workspace

MORNING: Final = datetime(2026, 3, 2, 6, tzinfo=UTC)
TIMEOUT_SECONDS: Final = 20.0

# The detail of a queued request that was cancelled: no call was made.
NOT_SENT: Final = "not sent"

# A list of the dismissed is asked for to settle what is unknown.
SETTLE: Final = "settle"


class Script(FaultScript):
    """Faults that tell a cycle's second list, which settles, from its first."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        super().__init__(faults)
        self.drawn = 0
        self.lists = 0

    def next_fault(self, operation: str) -> Fault | None:
        self.drawn += 1
        if operation != "list":
            return super().next_fault(operation)
        self.lists += 1
        return super().next_fault("list" if self.lists == 1 else SETTLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleRun:
    """What came of one cycle: the exit code, its last event and the calls it made."""

    code: int
    event: dict[str, Any]
    calls: tuple[RecordedCall, ...]

    @property
    def result(self) -> str:
        return str(self.event["result"])

    @property
    def hits(self) -> int:
        """Count the calls that met a fault."""
        return sum(call.fault is not None for call in self.calls)

    def made(self, operation: str) -> int:
        """Count the calls of one operation."""
        return sum(call.operation == operation for call in self.calls)


class FaultHarness:
    """A workspace of its own for each cell, before one sandbox for all of them."""

    def __init__(
        self, directory: Path, sandbox: RunningSandbox, clock: AutoAdvanceClock
    ) -> None:
        self._directory = directory
        self._sandbox = sandbox
        self._cells = 0
        self.clock = clock
        self.rules = directory / "rules.yaml"
        self.rules.write_text(RULES)
        self.clear_table()

    @property
    def state(self) -> Path:
        return self._directory / f"state-{self._cells}"

    @property
    def store(self) -> Store:
        return self._sandbox.world.store

    def clear_table(self) -> None:
        """Begin a cell: an empty workspace, an empty ledger, no faults, T0."""
        self._cells += 1
        self.clock.at = MORNING
        self._sandbox.world.store = Store(order="added")
        self.script()

    def script(self, *faults: Fault) -> None:
        """Put other faults in the place of those that were left."""
        self._script = Script(faults)
        self._sandbox.world.faults = self._script
        self._sandbox.world.calls = deque()

    def cycle(self, *, after: timedelta = timedelta(minutes=6)) -> CycleRun:
        """Let time pass, run one cycle and wait until the sandbox is done with it."""
        self.clock.advance(after.total_seconds())
        self._script.lists = 0
        before = len(self._sandbox.world.calls)
        with capture_logs() as logs:
            code = asyncio.run(
                _run_once(self._settings(), InternalErrors(), dry_run=False)
            )
        self._await_sandbox()
        return CycleRun(
            code=code,
            event=[dict(e) for e in logs if e["event"] == "cycle.finished"][-1],
            calls=tuple(self._sandbox.world.calls)[before:],
        )

    def approve(self, task_id: str) -> LexiError | None:
        """Approve a task as a review does; return what went wrong."""
        raised = asyncio.run(self._approve(task_id))
        self._await_sandbox()
        return raised

    async def _approve(self, task_id: str) -> LexiError | None:
        async with open_workspace(self._settings(), SystemClock()) as workspace:
            try:
                await LexiApprover(workspace.connection).approve(task_id)
            except LexiError as error:
                return error
        return None

    def entries(self) -> dict[str, list[DismissalRecord]]:
        """Return what the ledger says of calls that were made, by task."""
        with Ledger.open(self.state) as ledger:
            found = ledger.dismissals.query(DismissalFilter())
        ends: dict[str, list[DismissalRecord]] = {}
        for entry in found:
            if NOT_SENT not in (entry.detail or ""):
                ends.setdefault(entry.task_id, []).append(entry)
        return ends

    def outcomes(self) -> Counter[Outcome | None]:
        """Count the outcomes in the ledger, of calls that were made."""
        ends = self.entries().values()
        return Counter(entry.outcome for entries in ends for entry in entries)

    def totals(self, name: str) -> dict[tuple[str, str], int]:
        """Return the durable totals of a name."""
        with Ledger.open(self.state) as ledger:
            return dict(ledger.counters.values(name))

    def _settings(self) -> Settings:
        environ = {
            "TRIAGED_API_URL": self._sandbox.api_url,
            "TRIAGED_API_KEY": KEY,
            "TRIAGED_STATE_DIR": str(self.state),
            "TRIAGED_RULES": str(self.rules),
            "TRIAGED_RATE_LIMIT": "1000/1m",
            "TRIAGED_DAILY_LIMIT": "10000",
        }
        return read_settings(environ, {})

    def _await_sandbox(self) -> None:
        """Wait for calls that the client has given up on: they may have effects."""
        until = time.monotonic() + TIMEOUT_SECONDS
        while len(self._sandbox.world.calls) < self._script.drawn:
            assert time.monotonic() < until
            time.sleep(0.005)  # noqa: TID251 - another thread is at work


def install_clock(patch: pytest.MonkeyPatch, clock: AutoAdvanceClock) -> None:
    """Make every system clock of this process show and follow another one."""

    async def sleep(_: SystemClock, seconds: float) -> None:
        await clock.sleep(seconds)

    patch.setattr(SystemClock, "now", lambda _: clock.now())
    patch.setattr(SystemClock, "monotonic", lambda _: clock.monotonic())
    patch.setattr(SystemClock, "sleep", sleep)
