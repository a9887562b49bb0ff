"""Ways to kill a program that is at work, each at an instant drawn from a seed."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Final

import httpx

from tests.e2e.harness import PATIENCE, Program, RunningDaemon
from tests.reliability.crash import (
    FAULTS,
    REFUSALS,
    RULES,
    SETTINGS,
    FaultTrap,
    TaskFactory,
    broken,
)
from tests.reliability.report import FULL
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.ledger.database import format_timestamp, parse_stored_timestamp
from triaged.ledger.location import FILE
from triaged.sandbox.settings import SandboxSettings
from triaged.triage.reconcile import EFFECT_TIMEOUT

ROOT: Final = Path(__file__).parents[2]

# Longer than a start, a cycle and the wait for the next one.
TIMEOUT_SECONDS: Final = 6.0

EVERY_FAULT: Final = (*FAULTS, *REFUSALS) if FULL else FAULTS

_STOCK: Final = 60
_LOOK_SECONDS: Final = 0.005

# Where a trap is set: operation, before or after its effect, at most the n-th.
TRAPS: Final = (
    ("list", "before", 3),
    ("list", "after", 3),
    ("dismiss", "before", 30),
    ("dismiss", "after", 30),
)
EVENTS: Final = (
    "http.listening",
    "daemon.started",
    "task.dismissed",
    "dismissal.unknown",
    "dismissal.resolved",
    "cycle.finished",
)


@dataclass
class KillRun:
    """A sandbox, its task factory, the program, and the kills so far."""

    random: Random
    sandbox: RunningSandbox
    program: Program
    factory: TaskFactory
    watch: FaultTrap
    kills: Counter[str] = field(default_factory=Counter)
    approved: int = 0

    @property
    def log(self) -> Path:
        return self.program.directory / "log"

    def restock(self) -> None:
        """Keep enough to do, and let a person settle a task now and then."""
        pending = self.sandbox.world.store.counts()["pending"]
        left = sum(dismissal is None for dismissal in self.factory.expected.values())
        if pending - left < _STOCK:
            tasks = self.factory.more(_STOCK)
            self._post("tasks", {"tasks": tasks, "raw": True}).raise_for_status()
        if self.random.random() < 1 / 3:
            self._approve_one()

    def restock_clutter(self, count: int) -> None:
        """Add tasks that are all to be dismissed."""
        tasks = [self.factory.clutter() for _ in range(count)]
        self._post("tasks", {"tasks": tasks, "raw": True}).raise_for_status()

    def _approve_one(self) -> None:
        # Not one that others are copies of: what is wanted of those would change.
        ids = self.sandbox.world.store.ids("pending")
        expected = self.factory.expected
        wanted = [
            i for i in ids if (dismissal := expected[i]) and dismissal.rule == "clutter"
        ]
        chosen = self.random.choice(wanted)
        answer = self._post(f"tasks/{chosen}/settle", {"status": "approved"})
        # A call of the killed program may still be on its way, and come first.
        if answer.status_code != HTTPStatus.CONFLICT:
            answer.raise_for_status()
            self.approved += 1

    def _post(self, path: str, body: object) -> httpx.Response:
        url = f"{self.sandbox.url}/sandbox/{path}"
        return httpx.post(url, json=body, timeout=PATIENCE)

    def broken(self, *, over: bool = False) -> list[str]:
        """Name every guarantee that does not hold now."""
        return broken(self.factory, self.sandbox.world, self.program, over=over)

    def let_time_pass(self) -> None:
        """Make what is unresolved so old that the next list can settle it.

        All attempts grow older alike: of two on one task the later one stays the later.
        """
        age_attempts(self.program.directory / "state" / FILE)

    def is_quiet(self, daemon: RunningDaemon) -> bool:
        """Say whether nothing is left to do, as server and daemon tell."""
        store, expected = self.sandbox.world.store, self.factory.expected
        if any(expected[task_id] for task_id in store.ids("pending")):
            return False
        return daemon.metric("triaged_dismissals_unresolved") == 0

    def finish(self) -> None:
        """Run cycles without faults until nothing is left, and check the result."""
        self.watch.clear()
        for _ in range(40):
            self.let_time_pass()
            if self.program.run("run", "--once").returncode == 0 and not self.is_open():
                break
        found = self.broken(over=True)
        assert found == [], found

    def is_open(self) -> bool:
        """Return whether the outcome of a dismissal is not known yet."""
        with Ledger.open(self.program.directory / "state") as ledger:
            return ledger.dismissals.count_unresolved() > 0

    def done(self) -> int:
        """Count what was dismissed."""
        return self.sandbox.world.store.counts()["dismissed"]

    def by_step(self) -> str:
        """Say how often which step was hit."""
        steps = sorted(self.kills.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{name} {number}" for name, number in steps)

    # Ways to kill.

    def kill_after_a_while(self) -> None:
        """Kill the daemon after a random delay, from its start or its first list on."""
        begun = self.random.random() < 3 / 4
        with self._running("triaged", "run") as process:
            self.watch.arm("", "", 0, lambda: None)
            if begun:
                self._wait(process, lambda: bool(self.watch.seen), seconds=30)
            time.sleep(self.random.uniform(0.0, 2.0))  # noqa: TID251 - a process works
            where = self._phase()
        self._count(process, where)

    def kill_at_a_request(self) -> None:
        """Kill the daemon the moment the server sees its n-th request."""
        operation, moment, most = self.random.choice(TRAPS)
        self.kill_at(operation, moment, self.random.randint(1, most))

    def kill_in_the_air(self) -> None:
        """Kill the daemon with calls in the air, some with effect and some without."""
        self.kill_at("dismiss", "after", self.random.randint(3, 12))

    def kill_at(self, operation: str, moment: str, times: int) -> None:
        """Kill the daemon the moment the server sees an operation for the n-th time."""
        with self._running("triaged", "run") as process:
            self.watch.arm(operation, moment, times, process.kill)
            self._wait(process, lambda: False, seconds=30)
        self._count(process, f"{moment} the effect of a {operation}")

    def kill_at_an_event(self) -> None:
        """Kill the daemon the moment it logs its n-th event of a name."""
        name = self.random.choice(EVENTS)
        times = self.random.randint(1, 20) if name == "task.dismissed" else 1
        with self._running("triaged", "run") as process:
            self._wait(process, lambda: self._logged(name) >= times)
        self._count(process, f"event {name}")

    def kill_at_a_line(self, spot: str, times: int) -> bool:
        """Kill ``run --once`` just before a line runs; say whether it came to that."""
        command = ("tests.reliability.kill_at_line", f"{spot}:{times}", "run", "--once")
        with self._running(*command) as process:
            self._wait(process, lambda: False, seconds=PATIENCE)
        killed = process.returncode == -signal.SIGKILL
        if killed:
            self.kills[spot.partition(":")[0]] += 1
        return killed

    def survey(self) -> dict[str, int]:
        """Run one cycle and return which lines it reaches, and how often."""
        target = self.program.directory / "survey.json"
        command = (
            "tests.reliability.kill_at_line",
            f"survey:{target}",
            "run",
            "--once",
        )
        with self._running(*command) as process:
            # A traced cycle takes its time on a busy machine, and writes at its end.
            self._wait(process, lambda: False, seconds=PATIENCE)
        assert target.exists(), self.log.read_text()
        found: dict[str, int] = json.loads(target.read_text())
        return found

    def _count(self, process: subprocess.Popen[bytes], where: str) -> None:
        assert process.returncode == -signal.SIGKILL, self.log.read_text()
        self.kills[where] += 1

    def _phase(self) -> str:
        """Say what the daemon is at, by what the server and the log have seen."""
        seen, log = list(self.watch.seen), self.log.read_text()
        if not seen:
            return "starting"
        if log.rstrip().rpartition("\n")[2].find('"cycle.finished"') >= 0:
            return "between cycles"
        if seen[-1] == ("list", "before"):
            return "listing"
        return "settling, deciding" if seen[-1][0] == "list" else "dismissing"

    def _logged(self, name: str) -> int:
        return self.log.read_text().count(f'"{name}"')

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        holds: object,
        seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        assert callable(holds)
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until and not holds():
            time.sleep(_LOOK_SECONDS)  # noqa: TID251 - another process is at work

    @contextmanager
    def _running(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a module while the block lasts, then kill it."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.program.environ(),
                stderr=log,
                stdout=log,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()


@contextmanager
def kill_run(
    directory: Path, seed: int, faults: Sequence[str] = EVERY_FAULT
) -> Iterator[KillRun]:
    """Set up a sandbox whose faults are always on, and its task factory."""
    settings = SandboxSettings(
        task_count=0, minute_limit=None, day_limit=None, latency=0.01
    )
    with running_sandbox(settings, SystemClock()) as sandbox:
        watch = FaultTrap(faults, seed=seed)
        watch.watch(sandbox.world)
        program = Program(directory, sandbox.api_url, dict(SETTINGS))
        program.rules.write_text(RULES)
        random = Random(seed)  # noqa: S311 - repeatable, not secret
        yield KillRun(random, sandbox, program, TaskFactory(seed), watch)


def age_attempts(path: Path) -> None:
    """Make all attempts in a ledger so old that the next list can settle them."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as ledger, ledger:
        for entry, decided_at in ledger.execute(
            "SELECT id, decided_at FROM dismissal"
        ).fetchall():
            earlier = parse_stored_timestamp(decided_at) - EFFECT_TIMEOUT
            ledger.execute(
                "UPDATE dismissal SET decided_at = ? WHERE id = ?",
                (format_timestamp(earlier), entry),
            )
