"""Four daemons of a fleet on one PostgreSQL ledger, and what may happen to them."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.e2e.harness import Program, a_listed, eventually
from tests.postgres import PostgresServer
from tests.reliability.fleet_daemon import (
    CLOCK_VARIABLE,
    LEASE_SECONDS,
    NEXT_VARIABLE,
)
from tests.sandbox_server import RunningSandbox
from tests.tcp_proxy import TcpProxy, tcp_proxy
from triaged.sandbox.faults import parse_fault
from triaged.sandbox.limits import Limits, Window

DAEMONS: Final = 4
KEY: Final = "wbk_fleet"
# The first workspaces have little quota and more tasks than it can dismiss.
SCARCE: Final = 3
SCARCE_CALLS: Final = 60
RESERVE: Final = 0.2
CALLS_A_MINUTE: Final = 60
# Five cycles a second together, or a poll every five seconds.
POLLS_A_SECOND: Final = 5
ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = (sys.executable, "-m", "tests.reliability.fleet_daemon")

WANTED, KEPT, PROTECTED = "[TEST] clutter", "merge contacts", "[TEST] board"
# What happens at the API besides: outcomes that are not known, with and without effect.
API_FAULTS: Final = (
    "dismiss:drop-after-effect:1",
    "dismiss:drop-before-effect:1",
    "dismiss:500-after-effect:1",
    "dismiss:502:1",
    "list:drop-before-effect:1",
)


def now() -> datetime:
    """Return the time; daemons, commands and servers share one clock."""
    return datetime.now(UTC)  # noqa: TID251 - real processes, real time


def wait(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - other processes are at work


@dataclass
class Daemon:
    """A place for a daemon: its way to the database, its log, and its process."""

    name: str
    proxy: TcpProxy
    log: Path
    environ: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    awake_at: float = 0.0
    log_begins: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def clock(self) -> Path:
        """The file that sets the daemon's clock forward while it is there."""
        return Path(self.environ[CLOCK_VARIABLE])

    @property
    def is_stopped(self) -> bool:
        return self.awake_at > 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.log_begins = log.tell()
            self.process = subprocess.Popen(
                [*PROGRAM, "run"],
                env=self.environ,
                stderr=log,
                cwd=ROOT,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.awake_at = 0.0

    def end(self) -> int:
        """Ask it to stop, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def stop(self, seconds: float) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.awake_at = time.monotonic() + seconds

    def wake(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.awake_at = 0.0


@dataclass
class FleetTrial:
    """Daemons at work, tasks that arrive, and faults drawn from a seed."""

    program: Program
    sandbox: RunningSandbox
    postgres: PostgresServer
    daemons: list[Daemon]
    database: str
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    made: int = 0
    jumped: Daemon | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)  # noqa: S311 - which daemon, which fault

    def run(self, *, faults: int, seconds: float) -> None:
        """Let so many faults happen, a rolling upgrade and a pause in the middle.

        Takes at least ``seconds``.
        """
        gap = seconds / faults
        for number in range(faults):
            if number == faults // 4:
                self.upgrade()
            if number == faults // 2:
                self.pause()
            self.feed()
            self.fault(may_stop=True)
            self.wait(gap)
        self.calm()

    def upgrade(self) -> None:
        """Upgrade the ledger below the daemons, then replace them one by one."""
        environ = {**self.program.environ(), NEXT_VARIABLE: "1"}
        command = [*PROGRAM, "ledger", "upgrade"]
        eventually(
            lambda: (
                not subprocess.run(
                    command, env=environ, cwd=ROOT, check=False, capture_output=True
                ).returncode
            )
        )
        for daemon in self.daemons:
            for _ in range(2):
                self.feed()
                self.fault(may_stop=False)
                self.wait(1.0)
            self.wake_all()
            code = daemon.end()
            if code != 0:
                self.ended.append(f"{daemon.name}: {code} when asked to stop")
            daemon.environ[NEXT_VARIABLE] = "1"
            daemon.start()
            self.faults["daemons upgraded"] += 1

    def pause(self) -> None:
        """Pause everything amid faults, and resume after a while.

        Nothing is stopped meanwhile: a process may be stopped between its last check
        and the first byte of its call, which no program can prevent.
        """
        self.wake_all()
        self.wait(0.5)
        done = self.program.run("pause", "--all", "--note", "trial")
        since = now()
        assert done.returncode == 0, done.stderr
        for _ in range(5):
            self.feed()
            self.fault(may_stop=False)
            self.wait(1.5)
        until = now()
        self.told("resume", "--all")
        self.pauses.append((since, until))

    def told(self, *arguments: str) -> None:
        """Run a command until it succeeds: the database may be away."""
        eventually(lambda: self.program.run(*arguments).returncode == 0)

    def feed(self) -> None:
        """Add tasks to some workspaces, most of them wanted dismissed."""
        for world in self.rng.sample(self.sandbox.worlds[SCARCE:], 6):
            texts = self.rng.choices((WANTED, KEPT, PROTECTED), (8, 1, 1), k=2)
            world.store.add([self.task(text) for text in texts])

    def task(self, text: str) -> dict[str, Any]:
        self.made += 1
        return a_listed(f"t{self.made:06}", f"{text} {self.made}")

    def fault(self, *, may_stop: bool) -> None:
        """Let one thing go wrong."""
        weights: dict[Callable[[Daemon], None], int] = {
            self.cut: 40,
            self.kill: 16,
            self.crash_database: 4,
            self.close_way: 8,
            self.lose_answer: 16,
            self.api_fault: 20,
            self.jump: 6,
        }
        if may_stop:
            weights[self.suspend] = 24
        (act,) = self.rng.choices([*weights], [*weights.values()])
        act(self.rng.choice(self.daemons))

    def cut(self, daemon: Daemon) -> None:
        self.faults["cut connections"] += 1
        daemon.proxy.cut()

    def lose_answer(self, daemon: Daemon) -> None:
        """Lose the answer to a COMMIT, which the server has carried out."""
        self.faults["lost answers to COMMIT"] += 1
        left = [1]

        def is_lost(data: bytes) -> bool:
            if b"COMMIT" in data and left:
                left.clear()
                return True
            return False

        daemon.proxy.drop_answer_to = is_lost

    def close_way(self, daemon: Daemon) -> None:
        """Cut a daemon off for a while; it may be longer than its leases last."""
        self.faults["networks away"] += 1
        daemon.proxy.accepts = False
        daemon.proxy.cut()
        self.wait(self.rng.choice((1.0, 3.0)))
        daemon.proxy.accepts = True

    def kill(self, daemon: Daemon) -> None:
        self.faults["SIGKILL"] += 1
        daemon.kill()
        daemon.start()

    def suspend(self, daemon: Daemon) -> None:
        if daemon.is_stopped or sum(each.is_stopped for each in self.daemons) > 1:
            self.cut(daemon)
            return
        self.faults["SIGSTOP beyond the lease"] += 1
        daemon.stop(LEASE_SECONDS + self.rng.random() * 3)

    def crash_database(self, _: Daemon) -> None:
        self.faults["crashes of the database"] += 1
        with self.postgres.away():
            self.wait(0.5)

    def jump(self, daemon: Daemon) -> None:
        """Set the clock of one daemon forward, or set the one that is wrong right."""
        self.faults["clock jumps"] += 1
        if self.jumped is None:
            self.jumped = daemon
            daemon.clock.touch()
        else:
            self.jumped.clock.unlink()
            self.jumped = None

    def api_fault(self, _: Daemon) -> None:
        self.faults["faults of the API"] += 1
        world = self.rng.choice(self.sandbox.worlds[SCARCE:])
        world.faults.add(parse_fault(self.rng.choice(API_FAULTS)))

    def wait(self, seconds: float) -> None:
        """Wait, wake whom it is time to wake, and start what has ended by itself."""
        until = time.monotonic() + seconds
        while True:
            for daemon in self.daemons:
                if daemon.is_stopped and time.monotonic() >= daemon.awake_at:
                    daemon.wake()
                if not daemon.is_running:
                    self.note_end(daemon)
                    daemon.start()
            if time.monotonic() >= until:
                return
            wait(0.05)

    def note_end(self, daemon: Daemon) -> None:
        """Record a daemon that ended by itself.

        At a start it may, if the database is away: a service manager starts it again.
        """
        assert daemon.process is not None
        with daemon.log.open("rb") as log:
            log.seek(daemon.log_begins)
            told = log.read().decode()
        if "daemon.started" in told or "database runs and can be reached" not in told:
            self.ended.append(f"{daemon.name}: {daemon.process.returncode} {told}")
        self.faults["starts without a database"] += 1

    def wake_all(self) -> None:
        for daemon in self.daemons:
            if daemon.is_stopped:
                daemon.wake()

    def calm(self) -> None:
        """End all faults."""
        self.wake_all()
        if self.jumped is not None:
            self.jump(self.jumped)
        for world in self.sandbox.worlds:
            world.faults.clear()
        for daemon in self.daemons:
            daemon.proxy.drop_answer_to = lambda _: False

    def wanted_left(self) -> int:
        """Count the tasks that rules want dismissed and that quota allows."""
        return sum(
            str(task["description"]).startswith(WANTED)
            for world in self.sandbox.worlds[SCARCE:]
            for task in world.store.tasks("pending")
            if isinstance(task, dict)
        )

    def end(self) -> list[int]:
        """Ask all daemons to stop; return their exit codes."""
        processes = [daemon.process for daemon in self.daemons if daemon.process]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        return [process.wait(90) for process in processes]


@contextmanager
def fleet_trial(
    directory: Path,
    sandbox: RunningSandbox,
    postgres: PostgresServer,
    *,
    seed: int,
) -> Iterator[FleetTrial]:
    """Run the daemons, each with its own way to the database, until the block ends."""
    program = Program(directory, sandbox.api_url)
    write_fleet(directory, len(sandbox.worlds))
    name = postgres.new_database()
    program.settings |= {
        "TRIAGED_FLEET": str(directory),
        "TRIAGED_LEDGER_URL": postgres.url(name),
        "TRIAGED_LOG_FORMAT": "json",
    }
    with ExitStack() as stack:
        daemons = []
        for number in range(DAEMONS):
            proxy = stack.enter_context(tcp_proxy(postgres.port))
            url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
            environ = {
                **program.environ(),
                "TRIAGED_LEDGER_URL": url,
                CLOCK_VARIABLE: str(directory / f"clock-{number}"),
            }
            log = directory / f"daemon-{number}.log"
            daemons.append(Daemon(f"d{number}", proxy, log, environ))
        trial = FleetTrial(program, sandbox, postgres, daemons, name, seed)
        limit_scarce(trial)
        for daemon in daemons:
            daemon.start()
            stack.callback(daemon.kill)
        yield trial


def limit_scarce(trial: FleetTrial) -> None:
    """Give the first workspaces more wanted tasks than calls."""
    for world in trial.sandbox.worlds[:SCARCE]:
        world.limits = Limits(
            minute=Window(limit=None, seconds=60.0),
            day=Window(limit=SCARCE_CALLS, seconds=86_400.0),
            refused_count=False,
        )
        world.store.add([trial.task(WANTED) for _ in range(SCARCE_CALLS)])


def write_fleet(directory: Path, workspaces: int) -> None:
    """Write the fleet file and a key for each workspace."""
    (directory / "keys").mkdir()
    lines = [
        "version: 1",
        "defaults:",
        "  rules: [rules.yaml]",
        f"  poll_interval: {max(5, workspaces // POLLS_A_SECOND)}s",
        f"  reserve: {RESERVE}",
        f"  rate_limit: {CALLS_A_MINUTE}/1m",
        "workspaces:",
    ]
    for number in range(1, workspaces + 1):
        key = directory / "keys" / f"w{number}"
        key.touch(mode=0o600)
        key.write_text(f"{KEY}_{number}")
        limit = f", daily_limit: {SCARCE_CALLS}" if number <= SCARCE else ""
        lines.append(f"  - {{name: w{number}, key: {{file: keys/w{number}}}{limit}}}")
    (directory / "fleet.yaml").write_text("\n".join(lines))
