"""A workspace that talks to its sandbox through the chaos proxy, and what must be true.

Waits advance the clock at once; the network is real.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.clocks import AutoAdvanceClock, RealSleepClock
from tests.e2e.harness import KEY, RULES, a_listed
from tests.reliability.chaos_proxy import ChaosProxy, chaos_before
from tests.reliability.fault_harness import MORNING, NOT_SENT
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.rulesfile.loader import load_rules
from triaged.sandbox.settings import SandboxSettings
from triaged.settings import read_settings
from triaged.triage.report import CycleReport, CycleResult
from triaged.workspace import Workspace, open_workspace

# After so many unknown outcomes in a row the dispatcher halts, and no more would leave.
TOGETHER: Final = 3


class ProxyHarness:
    """A workspace that talks to its sandbox through the proxy."""

    def __init__(
        self,
        workspace: Workspace,
        sandbox: RunningSandbox,
        proxy: ChaosProxy,
        clock: AutoAdvanceClock,
    ) -> None:
        self._workspace = workspace
        self._clock = clock
        self._rules, _ = load_rules(*workspace.settings.rules, now=clock.now())
        self._made = 0
        self.world = sandbox.world
        self.proxy = proxy

    def restock(self, count: int = TOGETHER) -> list[str]:
        """Add tasks that are due; return their ids."""
        # All of one length: so are requests and answers then.
        ids = [f"t{self._made + number:06}" for number in range(count)]
        self._made += count
        self.world.store.add([a_listed(task_id) for task_id in ids])
        return ids

    async def cycle(self) -> CycleReport:
        """Run one cycle, and let the server come to the end of what it was sent."""
        self._clock.advance(360)
        report = await self._workspace.cycle(dry_run=False).run(
            lambda: self._rules, stop=asyncio.Event()
        )
        await self.proxy.settle()
        return report

    async def recover(self) -> None:
        """Run cycles without faults until one succeeds.

        The first may still meet the end of a connection that was cut behind an answer.
        """
        for _ in range(3):
            if (await self.cycle()).result is CycleResult.OK:
                return

    def effects(self, ids: Sequence[str]) -> int:
        """Count the tasks that are dismissed."""
        return sum(self.world.store.status_of(each) == "dismissed" for each in ids)

    def ends(self, task_id: str) -> list[Outcome | None]:
        """Return what the ledger says of the calls for one task."""
        found = self._workspace.ledger.dismissals.query(
            DismissalFilter(task_id=task_id)
        )
        return [e.outcome for e in found if NOT_SENT not in (e.detail or "")]

    def check_known(self, ids: Sequence[str]) -> Counter[Outcome | None]:
        """Compare what is known of each task with what was done; count the last ends.

        Confirmed was done; what was done is confirmed or unknown.
        """
        last: Counter[Outcome | None] = Counter()
        for task_id in ids:
            ends = self.ends(task_id)
            done = self.world.store.status_of(task_id) == "dismissed"
            end = ends[-1] if ends else None
            wanted = {Outcome.CONFIRMED} if done else {Outcome.FAILED, None}
            assert end in wanted | {Outcome.UNKNOWN}, (task_id, done, ends)
            assert ends.count(Outcome.CONFIRMED) <= done, (task_id, ends)
            last[end] += 1
        return last

    def check_over(self, ids: Sequence[str], *, times: int = 1) -> None:
        """Each was done, asked for once when it was, and is remembered once."""
        for task_id in ids:
            ends = self.ends(task_id)
            assert self.world.store.status_of(task_id) == "dismissed", (task_id, ends)
            assert self.world.store.request_count(task_id) <= times, (task_id, ends)
            assert ends[-1] is Outcome.CONFIRMED, (task_id, ends)
            assert ends.count(Outcome.CONFIRMED) == 1, (task_id, ends)
        totals = self._workspace.ledger.counters.values("dismissals")
        done = len(self.world.store.effects)
        assert totals == {("clutter", "testing"): done}


@asynccontextmanager
async def proxy_harness(directory: Path) -> AsyncIterator[ProxyHarness]:
    """Set everything up, and run one clean cycle to learn the sizes."""
    clock = AutoAdvanceClock(MORNING)
    rules = directory / "rules.yaml"
    no_cap = "safety: {max_dismissals_per_day: 1000000, "
    rules.write_text(RULES.replace("safety: {", no_cap))
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, RealSleepClock(clock)) as sandbox:
        async with chaos_before(sandbox.api_url) as (proxy, url):
            environ = {
                "TRIAGED_API_URL": url,
                "TRIAGED_API_KEY": KEY,
                "TRIAGED_STATE_DIR": str(directory / "state"),
                "TRIAGED_RULES": str(rules),
                "TRIAGED_RATE_LIMIT": "100000/1m",
                "TRIAGED_DAILY_LIMIT": "1000000",
            }
            async with open_workspace(read_settings(environ, {}), clock) as workspace:
                harness = ProxyHarness(workspace, sandbox, proxy, clock)
                harness.restock(1)
                assert (await harness.cycle()).result is CycleResult.OK
                yield harness
