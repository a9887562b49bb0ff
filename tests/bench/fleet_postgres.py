"""Real daemons that share a fleet on PostgreSQL: throughput, lateness, take-over.

Run ``python -m tests.bench.fleet_postgres [--seconds N] [--workspaces N]``. The server
writes to the disk; LeadLex is a transport in each process, so that what is measured is
daemon and database. A cycle lists 30 tasks and dismisses none. What is measured begins
when each daemon has run all workspaces that are its own: no figure has first cycles.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from tests.bench.fleet import RULES, sync_seconds
from tests.bench.usage import Usage, cut, load, resident_mb, wait, watch
from tests.postgres import PostgresServer, running_server

# So few that each has had its turn soon, and so often due that there is always work.
FEW: Final = 400
OFTEN: Final = 0.25
# As 10,000 workspaces with a poll every five minutes.
MANY: Final = 10_000
CYCLES_PER_SECOND: Final = MANY / 300
SETTLE_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 1800.0
TAKEOVER_SECONDS: Final = 130.0

MIN_CYCLES_PER_SECOND: Final = 60.0
MAX_LATE_SECONDS: Final = 1.0
# What ran ends with its lease, and is claimed soon afterwards.
MAX_TAKEOVER_SECONDS: Final = 90.0

# Each has had a cycle; and the last that ran a workspace has it as its own.
_SETTLED: Final = """
SELECT 1 FROM triaged.lease WHERE is_enrolled
HAVING bool_and(fence > 0)
    AND (SELECT count(*) FROM (SELECT FROM triaged.lease WHERE affinity <> ''
        GROUP BY affinity HAVING count(*) > 0.8 * %s / %s::numeric) AS shares) = %s
"""
_HELD: Final = """
SELECT count(*) FROM triaged.lease AS l JOIN triaged.daemon AS d ON l.holder = d.name
WHERE d.pid = %s AND l.until > now()
"""
_OWN: Final = """
SELECT count(*) FROM triaged.lease AS l JOIN triaged.daemon AS d
ON l.affinity = d.name WHERE d.pid = %s
"""
_SPREAD: Final = """
UPDATE triaged.lease SET due_at = now() + random() * %s * interval '1 second'
"""


@dataclass(frozen=True, slots=True)
class Daemons:
    """Processes that share a fleet; each has a file with the cycles it began."""

    server: PostgresServer
    url: str
    workspaces: int
    running: tuple[subprocess.Popen[bytes], ...]
    files: tuple[Path, ...]

    def ask(self, query: str, *values: object) -> float:
        """Return the one number that a query finds; 0 if there is no row."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query.encode(), values).fetchone()
            return float(row[0]) if row else 0.0

    def settle(self) -> None:
        """Wait until each daemon has run all that are its own, about an equal share."""
        number, until = len(self.running), time.monotonic() + PATIENCE_SECONDS
        while not self.ask(_SETTLED, self.workspaces, number, number):
            assert time.monotonic() < until, "the shares of the daemons do not settle"
            self.check()
            wait(1.0)
        wait(SETTLE_SECONDS)

    def check(self) -> None:
        """Raise if a process has ended."""
        assert {each.poll() for each in self.running} == {None}, "a daemon has ended"

    def watch(self, seconds: float) -> Usage:
        """Let them work for a while."""
        used = watch(
            self.server, self.url, [each.pid for each in self.running], seconds
        )
        wait(2.0)  # each writes its file every second
        self.check()
        return used

    def cycles(self, begun: float, ended: float) -> list[tuple[float, float]]:
        """Return when each cycle between two times began, and how late it was."""
        found = []
        for file in self.files:
            # The last line of a process that was killed may be a part.
            for line in file.read_text().splitlines()[:-1]:
                at, late = map(float, line.split())
                if begun <= at <= ended:
                    found.append((at, late))
        return found


@contextmanager
def daemons(
    server: PostgresServer, number: int, workspaces: int, interval: float
) -> Iterator[Daemons]:
    """Start so many processes on one new ledger."""
    url = server.url(server.new_database())
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / "rules.yaml").write_text(RULES)
        files = tuple(directory / f"started-{each}" for each in range(number))
        running = []
        for file in files:
            command = [sys.executable, "-m", "tests.bench.fleet_worker", url]
            command += [str(directory), str(workspaces), str(interval)]
            running.append(
                subprocess.Popen(command, stdout=stack.enter_context(file.open("wb")))
            )
            stack.callback(running[-1].wait)
            stack.callback(running[-1].kill)
        yield Daemons(server, url, workspaces, tuple(running), files)
        alive = [each for each in running if each.poll() is None]
        for each in alive:
            each.terminate()
        assert not any(each.wait(60) for each in alive), "a daemon had an error"


def throughput(server: PostgresServer, number: int, seconds: float) -> float:
    """Run so many processes, always with work; print and return cycles/s together."""
    with daemons(server, number, FEW, OFTEN) as found:
        found.settle()
        used = found.watch(seconds)
        rate = len(found.cycles(used.begun, used.ended)) / used.seconds
    cpu_ms = 10 * used.worker_cpu * number / max(rate, 0.01)
    print(
        f"{number} processes: {rate:.1f} cycles/s, {cpu_ms:.1f} ms of CPU a cycle;"
        f" PostgreSQL {used.server_cpu:.0f} % CPU, {used.commits:.0f} commits/s;"
        f" {used.worker_mb:.0f} MB each with {FEW / number:.0f} workspaces; {load()}",
        flush=True,
    )
    return rate


def many(
    server: PostgresServer, workspaces: int, seconds: float
) -> tuple[float, float]:
    """Run 33 cycles/s in two processes, and kill one; return p99 and take-over.

    All are due at first, so that each has had its first cycle; then they are spread.
    """
    interval = workspaces / CYCLES_PER_SECOND
    with daemons(server, 2, workspaces, interval) as found:
        found.settle()
        with psycopg.connect(found.url) as connection:
            connection.execute(_SPREAD, (interval,))
        wait(SETTLE_SECONDS)
        used = found.watch(seconds)
        late = [late for _, late in found.cycles(used.begun, used.ended)]
        median, p99 = cut(late)
        print(
            f"{workspaces:,} workspaces, 2 processes: {len(late) / used.seconds:.0f}"
            f" cycles/s, late p50 {1000 * median:.0f} ms, p99 {1000 * p99:.0f} ms;"
            f" PostgreSQL"
            f" {used.server_cpu:.0f} % CPU, {used.commits:.0f} commits/s; each process"
            f" {used.worker_cpu:.0f} % CPU, {used.worker_mb:.0f} MB; {load()}",
            flush=True,
        )
        return p99, take_over(found)


def take_over(found: Daemons) -> float:
    """Kill a daemon amid a cycle; return when the last of its workspaces ran again.

    That is in seconds from when it was due, or from the kill if it was due before.
    """
    victim, survivor = found.running
    while True:
        victim.send_signal(signal.SIGSTOP)
        at = time.time()  # noqa: TID251 - as the daemons' clock
        if held := found.ask(_HELD, victim.pid):
            break
        victim.send_signal(signal.SIGCONT)
        wait(0.02)
    victim.kill()
    own = found.ask(_OWN, victim.pid)
    wait(TAKEOVER_SECONDS)
    assert survivor.poll() is None, "the other daemon has ended"
    ended = at + TAKEOVER_SECONDS
    after = [(t, min(late, t - at)) for t, late in found.cycles(at, ended)]
    late = [seconds for _, seconds in after if seconds > MAX_LATE_SECONDS]
    still = [seconds for t, seconds in after if t > ended - 10]
    print(
        f"kill -9 of one with {own:,.0f} workspaces, of which it ran {held:.0f}: then"
        f" {len(late):,} cycles began late, by {max(late, default=0.0):.1f} s at most;"
        f" {TAKEOVER_SECONDS:.0f} s later by {max(still, default=0.0):.1f} s; the"
        f" other has {resident_mb(survivor.pid):.0f} MB; {load()}",
        flush=True,
    )
    return max(late, default=0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--workspaces", type=int, default=MANY, help="fewer are polled more often"
    )
    given = parser.parse_args(arguments)
    with running_server(
        fsync="on", autovacuum="on", max_wal_size="1GB", shared_buffers="128MB"
    ) as server:
        print(f"fsync on; fdatasync takes {1000 * sync_seconds():.2f} ms")
        rates = [throughput(server, number, given.seconds) for number in (1, 2, 4)]
        p99, seconds = many(server, given.workspaces, given.seconds)
    rows = (
        ("one process", rates[0], ">=", MIN_CYCLES_PER_SECOND, "cycles/s"),
        ("33 cycles/s, late p99", p99, "<", MAX_LATE_SECONDS, "s"),
        ("take-over after kill -9", seconds, "<=", MAX_TAKEOVER_SECONDS, "s"),
    )
    failed = False
    for name, value, sign, limit, unit in rows:
        passed = value >= limit if sign == ">=" else value <= limit
        failed |= not passed
        verdict = "PASS" if passed else "FAIL"
        print(f"{verdict}: {name} {value:.1f} {unit}, wanted {sign} {limit:g}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
