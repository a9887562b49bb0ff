"""What this process and a ledger use: memory, descriptors, threads, rows, bytes."""

import gc
import os
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from triaged.ledger.location import FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the process and the ledger used at one moment."""

    day: float
    rss_kib: int
    blocks: int
    descriptors: int
    threads: int
    ledger_kib: int
    wal_kib: int
    rows: Counter[str]

    @property
    def pruned_rows(self) -> int:
        """Count the rows that come with the work; rules come with their editors."""
        return self.rows.total() - self.rows["ruleset"]


def measure_usage(state: Path, *, day: float) -> Sample:
    """Measure this process, and the ledger of a state directory."""
    gc.collect()
    ledger = state / FILE
    rows: Counter[str] = Counter()
    with closing(sqlite3.connect(ledger)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        for (table,) in tables:
            query = f"SELECT COUNT(*) FROM {table}"  # noqa: S608 - the schema's names
            rows[table] = connection.execute(query).fetchone()[0]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        day=day,
        rss_kib=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        blocks=sys.getallocatedblocks(),
        descriptors=_open_descriptors(ledger),
        threads=threading.active_count(),
        ledger_kib=ledger.stat().st_size // 1024,
        wal_kib=ledger.with_name(f"{FILE}-wal").stat().st_size // 1024,
        rows=rows,
    )


def _open_descriptors(ledger: Path) -> int:
    """Count what is open, less the database file itself.

    SQLite keeps that open while anybody else in the process has it locked, as our own
    look at it has; a connection that leaks shows by its log beside the file.
    """
    count = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            count += path.readlink() != ledger
    return count


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the rise of a straight line laid through points (least squares)."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
