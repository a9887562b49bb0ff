"""What processes and a PostgreSQL server use, read from outside while they work."""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.postgres import PostgresServer

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used between two times of the wall clock; CPU in % of one core."""

    begun: float
    ended: float
    server_cpu: float
    commits: float
    worker_cpu: float
    worker_mb: float

    @property
    def seconds(self) -> float:
        """How long it was watched."""
        return self.ended - self.begun


def watch(
    server: PostgresServer, url: str, workers: Sequence[int], seconds: float
) -> Usage:
    """Let server and workers go on for a while; CPU and memory are means a worker."""
    with psycopg.connect(url, autocommit=True) as connection:
        begun, before = time.time(), _totals(server, connection, workers)  # noqa: TID251 - as the workers' clock
        wait(seconds)
        ended, after = time.time(), _totals(server, connection, workers)  # noqa: TID251 - as the workers' clock
    spent = ended - begun
    used, commits, worked = (
        (b - a) / spent for a, b in zip(before, after, strict=True)
    )
    return Usage(
        begun=begun,
        ended=ended,
        server_cpu=100 * used,
        commits=commits,
        worker_cpu=100 * worked / len(workers),
        worker_mb=statistics.mean(map(resident_mb, workers)),
    )


def wait(seconds: float) -> None:
    """Let other processes work."""
    time.sleep(seconds)  # noqa: TID251 - real time is measured


def resident_mb(process: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cut(values: Sequence[float]) -> tuple[float, float]:
    """Return median and 99th percentile; zeros if there are too few values."""
    if len(values) < 2:
        return 0.0, 0.0
    return statistics.median(values), statistics.quantiles(values, n=100)[98]


def load() -> str:
    """Describe how busy the machine is."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def _totals(
    server: PostgresServer,
    connection: psycopg.Connection[Any],
    workers: Sequence[int],
) -> tuple[float, float, float]:
    assert server.process is not None
    row = connection.execute(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    worked = sum(_cpu(worker) for worker in workers)
    return _tree_cpu(server.process.pid), float(row[0]), worked


def _tree_cpu(postmaster: int) -> float:
    """Return the CPU seconds of a server: those of children that ended count too."""
    used = _cpu(postmaster, ended=True)
    for found in Path("/proc").glob("[0-9]*"):
        try:
            if int(_stat(int(found.name))[1]) == postmaster:
                used += _cpu(int(found.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return used


def _cpu(process: int, *, ended: bool = False) -> float:
    fields = _stat(process)[11 : 15 if ended else 13]
    return sum(map(int, fields)) / _TICKS


def _stat(process: int) -> list[str]:
    """Return the fields of a process after its name, which may hold blanks."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
