"""Everything that acts on one ledger at the same time, and what each was told.

A daemon that is killed, stopped and reloaded; plans that are applied; dismissals in
bulk; reviews on a terminal; an operator who pauses, vetoes, and demotes and promotes
the rule; people who approve, change what tasks say, and use ids again; a server that
fails before and after the effect, and is slow.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from tests.e2e.harness import Program, a_listed
from tests.e2e.terminal import Terminal
from tests.reliability.report import FULL
from tests.sandbox_server import RunningSandbox
from triaged.cli.review import HELP
from triaged.rulesfile.sources import fingerprint
from triaged.sandbox.faults import parse_fault

RULES: Final = """
version: 1
safety:
  {{min_age: 0s, max_share_of_pending: 1.0, max_dismissals_per_cycle: 1000,
  max_dismissals_per_day: {cap}}}
protect: [{{description: board}}{protect}]
rules:
{leave}- {{name: clutter, match: {{description: '^TEST'}}, dismiss: testing}}
"""
FAULTS: Final = (
    "dismiss:500:p=0.03",
    "dismiss:500-after-effect:p=0.04",
    "dismiss:drop-before-effect:p=0.03",
    "dismiss:drop-after-effect:p=0.04",
    "dismiss:429:p=0.01",
    "dismiss:slow=3:p=0.04",
    "dismiss:delay-after-effect=2:p=0.04",
    "dismiss:401:p=0.002",
    "list:500:p=0.03",
    "list:slow=3:p=0.03",
)
# Longer than a client waits: the effect comes after the call was given up.
LATE_FAULTS: Final = ("dismiss:slow=45:p=0.004", "dismiss:slow=60:p=0.002")
# Many dismissals of up to a minute each, behind those of other participants.
COMMAND_SECONDS: Final = 600
RULE: Final = "clutter"
# More would make each cycle longer, and the trial shorter.
MOST_PENDING: Final = 300
# Where the reviews of one person end.
REVIEWED_TASKS: Final = 5


def now() -> datetime:
    """Return the time; the participants and the server share one clock."""
    return datetime.now(UTC)  # noqa: TID251 - real processes, real time


@dataclass
class Told:
    """What was forbidden, and from when until when it was certainly in force."""

    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    vetoes: dict[str, datetime] = field(default_factory=dict)
    protected: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    left: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    demoted: list[tuple[datetime, datetime]] = field(default_factory=list)
    deleted: list[tuple[datetime, datetime]] = field(default_factory=list)
    boards: dict[str, datetime] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class Participants:
    """Runs all of them for a while."""

    def __init__(
        self, program: Program, sandbox: RunningSandbox, *, cap: int, seed: int
    ) -> None:
        self.program = program
        self.sandbox = sandbox
        self.told = Told()
        self.cap = cap
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._over = threading.Event()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._log = program.directory / "daemon.log"
        self._number = 0
        self.write_rules()

    def write_rules(self, *, protect: str = "", leave: str = "") -> None:
        """Put a rules file in place, as an editor does."""
        draft = self.program.rules.with_suffix(".draft")
        draft.write_text(RULES.format(cap=self.cap, protect=protect, leave=leave))
        draft.replace(self.program.rules)

    def run(self, seconds: float) -> None:
        """Let all act for this long, then end them."""
        for fault in (*FAULTS, *LATE_FAULTS) if FULL else FAULTS:
            self.sandbox.world.faults.add(parse_fault(fault))
        work = (
            self._daemons,
            self._operator,
            self._vetoes,
            self._modes,
            self._reloads,
            self._reviews,
            self._bulk,
            self._plans,
            self._people,
        )
        threads = [threading.Thread(target=self._guarded(each)) for each in work]
        for thread in threads:
            thread.start()
        time.sleep(seconds)  # noqa: TID251 - real processes, real time
        self._over.set()
        for thread in threads:
            thread.join(COMMAND_SECONDS)
        self.sandbox.world.faults.clear()

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - told by the test
                self.told.errors.append(f"{work.__name__}: {error!r}")

        return run

    def _wait(self, seconds: float) -> bool:
        return not self._over.wait(seconds)

    def _chance(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def _command(self, *arguments: str) -> int:
        done = subprocess.run(
            [sys.executable, "-m", "triaged", *arguments],
            env=self.program.environ(),
            capture_output=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        if b"Traceback" in done.stderr:
            self.told.errors.append(done.stderr.decode()[-2000:])
        return done.returncode

    @contextmanager
    def _running(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "triaged", "run"],
                env=self.program.environ(),
                stdout=log,
                stderr=log,
            )
        self._daemon = process
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(90)

    def _daemons(self) -> None:
        while not self._over.is_set():
            with self._running() as process:
                deadline = time.monotonic() + self._chance(6, 14)
                while self._wait(self._chance(1, 2.5)) and time.monotonic() < deadline:
                    if self._random.random() < 0.5:
                        os.kill(process.pid, signal.SIGSTOP)
                        self._wait(self._chance(0.2, 1.5))
                        os.kill(process.pid, signal.SIGCONT)
                if not self._over.is_set():
                    process.kill()

    def _operator(self) -> None:
        while self._wait(self._chance(2, 4)):
            if self._command("pause", "--note", "trial"):
                continue
            since = now()
            self._wait(self._chance(1.5, 3))
            until = now()
            self._command("resume")
            self.told.pauses.append((since, until))

    def _vetoes(self) -> None:
        while self._wait(self._chance(0.5, 1.5)):
            pending = self._pending()
            if pending:
                task_id = self._random.choice(pending)
                if self._command("veto", task_id) == 0:
                    self.told.vetoes[task_id] = now()

    def _modes(self) -> None:
        while self._wait(self._chance(4, 9)):
            if self._command("demote", RULE):
                continue
            since = now()
            self._wait(self._chance(1.5, 3))
            until = now()
            # Without a rules file it is refused; another participant deletes it.
            while self._command("promote", RULE) and self._wait(1):
                pass
            self.told.demoted.append((since, until))

    def _reloads(self) -> None:
        for number in range(1_000_000):
            if not self._wait(self._chance(2, 5)):
                return
            word = f"lot{number % 4}"
            if number % 3 == 0:
                self._put_in_force(
                    word, self.told.protected, protect=f", {{description: {word}}}"
                )
            elif number % 3 == 1:
                rule = f"- {{name: keep, match: {{description: {word}}}, leave: true}}"
                self._put_in_force(word, self.told.left, leave=f"{rule}\n")
            else:
                self.program.rules.unlink()
                since = now()
                self._wait(self._chance(1, 2))
                self.told.deleted.append((since, now()))
                self.write_rules()

    def _put_in_force(
        self, word: str, told: list[tuple[str, datetime, datetime]], **rules: str
    ) -> None:
        """Change the rules until a while after the daemon has confirmed them."""
        logged = self._log.stat().st_size
        self.write_rules(**rules)
        sha256 = fingerprint(self.program.rules).encode()
        deadline = time.monotonic() + 12
        while sha256 not in self._logged_since(logged):
            if time.monotonic() > deadline or not self._wait(0.1):
                self.write_rules()
                return
        since = now()
        self._wait(self._chance(1, 2))
        until = now()
        self.write_rules()
        told.append((word, since, until))

    def _logged_since(self, position: int) -> bytes:
        with self._log.open("rb") as log:
            log.seek(position)
            return log.read()

    def _reviews(self) -> None:
        while self._wait(self._chance(3, 6)):
            screen = Terminal(self.program, "review")
            seen = 0
            while screen.is_running():
                shown = screen.read_more()
                if HELP in shown:
                    seen += 1
                    screen.press("q" if seen > REVIEWED_TASKS else "d")
                elif "b back" in shown:
                    self._wait(self._chance(0, 1))
                    screen.press("\r")
            screen.end()
            if "Traceback" in screen.shown:
                self.told.errors.append(screen.shown[-2000:])

    def _bulk(self) -> None:
        while self._wait(self._chance(4, 8)):
            self._command(
                *("dismiss", "--description", "^TEST bulk", "--reason", "testing"),
                "--yes",
            )
            if self._random.random() < 0.3:
                # Refused while a daemon runs, and in its place after a kill.
                self._command("run", "--once")

    def _plans(self) -> None:
        plan = self.program.directory / "plan.json"
        while self._wait(self._chance(1, 3)):
            plan.unlink(missing_ok=True)
            self._command("plan", "--out", str(plan))
            if plan.exists():
                self._command("apply", str(plan), "--yes")

    def _pending(self) -> list[str]:
        """Return the ids of the pending tasks; other threads add some meanwhile."""
        while True:
            with suppress(RuntimeError):
                return self.sandbox.world.store.ids("pending")

    def _people(self) -> None:
        store = self.sandbox.world.store
        approved: list[str] = []
        while self._wait(0.15):
            kind = self._random.choice(("", "bulk "))
            lot = f"lot{self._random.randrange(4)}"
            pending = self._pending()
            if len(pending) > MOST_PENDING:
                store.remove(self._random.choice(pending))
            if approved and self._random.random() < 0.02:
                task_id = approved.pop()
            else:
                task_id = f"t{self._number:05}"
                self._number += 1
            store.add([a_listed(task_id, f"TEST {kind}{lot}")])
            pending = self._pending()
            if not pending:
                continue
            task_id, chance = self._random.choice(pending), self._random.random()
            if chance < 0.1:
                with suppress(Exception):
                    store.settle(task_id, "approved", now=now(), by="person")
                    approved.append(task_id)
            elif chance < 0.15 and task_id not in self.told.boards:
                store.add([a_listed(task_id, "TEST board: keep this")])
                self.told.boards[task_id] = now()
