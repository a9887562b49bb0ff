"""Weeks of a whole daemon in minutes: real parts, a sandbox on loopback, virtual time.

The first half has restarts every few hours, some in the middle of a cycle; the second
half is one long life, in which memory is measured.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import structlog

from tests.builders import T0
from tests.reliability.resource_usage import Sample, measure_usage
from tests.reliability.simulated_time import SimulatedClock, ended, simulated_loop
from tests.reliability.simulated_users import SimulatedUsers
from triaged.daemon.process import Daemon, open_daemon
from triaged.daemon.systemd import SystemdNotifier
from triaged.leadlex.api_key import ApiKey, KeySource
from triaged.leadlex.errors import KeyRejected
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.quota import QuotaSettings
from triaged.sandbox.faults import Fault, FaultScript, parse_fault
from triaged.sandbox.server import Sandbox, api_url, listen, serve_on
from triaged.sandbox.settings import SandboxSettings
from triaged.settings import Settings

FAULTS: Final = (
    "dismiss:drop-after-effect:p=0.03",
    "dismiss:500-after-effect:p=0.02",
    "dismiss:truncated:p=0.02",
    "dismiss:bad-schema:p=0.01",
    "dismiss:delay-after-effect=20:p=0.01",
    "dismiss:drop-before-effect:p=0.03",
    "dismiss:500:p=0.02",
    "dismiss:html:p=0.01",
    "dismiss:429:p=0.01",
    "list:drop-before-effect:p=0.01",
    "list:truncated:p=0.01",
    "list:503:p=0.01",
    "list:429:p=0.005",
    "list:401:p=0.001",
)
TICK: Final = timedelta(minutes=5)
HOUR: Final = timedelta(hours=1)
ARRIVALS_A_TICK: Final = 0.7


class Faults(FaultScript):
    """The faults, and a trap that springs at a dismissal to come."""

    def __init__(self, seed: int) -> None:
        super().__init__([parse_fault(text) for text in FAULTS], seed=seed)
        self.spring: Callable[[], None] = lambda: None
        self.springs_in = 0

    def next_fault(self, operation: str) -> Fault | None:
        if operation == "dismiss":
            self.springs_in -= 1
            if self.springs_in == 0:
                self.spring()
        return super().next_fault(operation)


class Logged:
    """Counts the product's log events, and keeps none of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.port = 0

    def __call__(self, _: Any, __: str, event: Any) -> str:
        name = str(event["event"])
        self.counts[name] += 1
        self.port = event.get("port", self.port)
        raise structlog.DropEvent


class Soak:
    """One daemon that is restarted now and then, and its surroundings."""

    def __init__(
        self, directory: Path, *, days: float, retention: timedelta, seed: int
    ) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable, not secret
        self.clock = SimulatedClock(T0)
        self.days = days
        self._end = T0 + timedelta(days=days)
        self._half = T0 + timedelta(days=days / 2)
        self._state = directory / "state"
        self._rules = directory / "rules.yaml"
        self._beside = Ledger.open(self._state)
        # Answers take their time; the last parts of minutes and days are fought over.
        self._sandbox = Sandbox(SandboxSettings(task_count=0, latency=0.3), self.clock)
        self._faults = self._sandbox.world.faults = Faults(seed)
        self._listener = listen()
        self.settings = Settings(
            key=KeySource(value=ApiKey("wbk_soak")),
            api_url=api_url(self._listener),
            rules=(self._rules,),
            quota=QuotaSettings.for_plan("pro"),
            state_dir=self._state,
            listen_port=0,
            retention=retention,
        )
        self.around = SimulatedUsers(self._sandbox.world, self._beside, seed)
        self.logged = Logged()
        self.lives: Counter[str] = Counter()
        self.edits = self.bad_edits = self.looks = 0
        self.samples: list[Sample] = []
        self.restarts: list[Sample] = []
        self._daemon: Daemon | None = None
        self._next_edit = self._next_audit = T0
        self._unpause_at: datetime | None = None

    def run(self) -> None:
        """Live through all days."""
        structlog.configure(processors=[self.logged])
        with asyncio.Runner(loop_factory=lambda: simulated_loop(self.clock)) as runner:
            runner.run(self._run())
        self._beside.close()

    async def _run(self) -> None:
        serving = asyncio.create_task(serve_on(self._sandbox, self._listener))
        while self.clock.now() < self._end:
            now = self.clock.now()
            next_end = now + self._random.uniform(2, 9) * HOUR
            await self._live(next_end if now < self._half else self._end)
            # What the sandbox still has to close for its part.
            await self.clock.sleep(5)
            self.restarts.append(await self._weigh_when_calm())
        serving.cancel()
        await ended(serving)

    async def _live(self, until: datetime) -> None:
        """Run one daemon until it is stopped or ends by itself."""
        is_last = until >= self._end
        self._edit(good=True)
        living = asyncio.create_task(self._daemon_life())
        dies = not is_last and self._random.random() < 1 / 2
        while self.clock.now() < until and not living.done():
            await self.clock.sleep(TICK.total_seconds())
            if self._tick() and not living.done():
                await self._look()
            if is_last and len(self.samples) < self._samples_due():
                self.samples.append(self._weigh())
        if dies and not living.done():
            await self._die(living)
        elif self._daemon is not None:
            self.lives["stopped"] += not living.done()
            self._daemon.stop()
        try:
            await living
        except KeyRejected:
            self.lives["key refused"] += 1

    async def _daemon_life(self) -> None:
        async with open_daemon(
            self.settings, self.clock, dry_run=False, notifier=SystemdNotifier({})
        ) as daemon:
            self._daemon = daemon
            try:
                await daemon.run()
            finally:
                self._daemon = None

    async def _die(self, living: asyncio.Task[None]) -> None:
        """End the cycle at its next dismissals, as a kill would."""
        dead = asyncio.Event()

        def spring() -> None:
            running = self._daemon and self._daemon.supervisor.running
            if running:
                running.cancel()
            dead.set()

        self._faults.spring, self._faults.springs_in = spring, 2
        while not dead.is_set() and not living.done():
            await self.clock.sleep(TICK.total_seconds())
            self._tick()
        self._faults.springs_in = 0
        self.lives["died at work"] += 1
        if self._daemon is not None:
            self._daemon.stop()

    async def _look(self) -> None:
        """Look at the daemon's pages, and compare its counters with the ledger."""
        if self._daemon is None or not self._daemon.health.key_accepted:
            # On its way out, for it was never let in.
            return
        before = self._total()
        url = f"http://127.0.0.1:{self.logged.port}"
        async with httpx.AsyncClient(trust_env=False) as client:
            pages = [await client.get(url + path) for path in ("/metrics", "/")]
        lines = pages[0].text.splitlines()
        name = "triaged_dismissals_total{"
        shown = sum(float(x.split()[-1]) for x in lines if x.startswith(name))
        demand = self.around.findings.demand
        demand(all(page.is_success for page in pages), f"pages: {pages}")
        demand(before <= shown <= self._total(), f"{shown} on the metrics page")
        self.looks += 1

    def _total(self) -> int:
        return sum(self._beside.counters.values("dismissals").values())

    def _tick(self) -> bool:
        """Let five minutes' worth of things happen; say whether it is audit time."""
        now, chance = self.clock.now(), self._random.random
        while chance() < ARRIVALS_A_TICK / (1 + ARRIVALS_A_TICK):
            self.around.arrive(now)
        self.around.people_act(now)
        self._pause_or_resume(now)
        if now >= self._next_edit:
            self._next_edit = now + self._random.uniform(1, 8) * HOUR
            self._edit(good=chance() < 2 / 3)
        if now >= self._next_audit:
            self._next_audit = now + 8 * HOUR
            self.around.audit(now, self.settings.retention)
            return True
        return False

    def _pause_or_resume(self, now: datetime) -> None:
        flags = self._beside.flags
        if self._unpause_at is not None and now >= self._unpause_at:
            flags.clear(FlagName.PAUSED)
            self._unpause_at = self.around.paused_since = None
        elif self._unpause_at is None and self._random.random() < 1 / 200:
            flags.set(FlagName.PAUSED, reason="", at=now)
            self.around.paused_since, self._unpause_at = now, now + 2 * HOUR

    def _edit(self, *, good: bool) -> None:
        self.edits += 1
        if good:
            text = self.around.edit(self.clock.now(), self.edits)
        else:
            self.bad_edits += 1
            text = f"{self._rules.read_text()}nonsense: [{self.edits}\n"
        self._rules.write_text(text)

    def _samples_due(self) -> int:
        gone = (self.clock.now() - self._half) / (self._end - self._half)
        return int(gone * 60)

    async def _weigh_when_calm(self) -> Sample:
        """Wait for sockets, which close in real time; what is not closed stays."""
        sample = self._weigh()
        for _ in range(25):
            if self.restarts and sample.descriptors <= self.restarts[0].descriptors:
                break
            await asyncio.sleep(0.02)  # noqa: TID251 - see above
            sample = self._weigh()
        return sample

    def _weigh(self) -> Sample:
        return measure_usage(
            self._state, day=(self.clock.now() - T0) / timedelta(days=1)
        )
