"""How long commands that only read or write the ledger take to start.

``python -m tests.bench.startup`` prints a table and exits with 1 where a command takes
longer than 1.3 times ``python -c "import click, sqlite3"`` plus 60 ms.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.builders import a_task
from triaged.ledger import Ledger

ROUNDS: Final = 15
FACTOR: Final = 1.3
EXTRA_SECONDS: Final = 0.060
BASE: Final = ("-c", "import click, sqlite3")
COMMANDS: Final = ("history", "pause", "status")
# What none of them may load.
HEAVY: Final = ("httpx", "re2", "yaml", "prometheus_client", "asyncio", "rich.console")


def main() -> int:
    """Measure, print and compare."""
    with tempfile.TemporaryDirectory() as directory:
        environ = {**os.environ, "TRIAGED_STATE_DIR": directory}
        _fill(Path(directory))
        base = _seconds(BASE, environ)
        allowed = FACTOR * base + EXTRA_SECONDS
        print(f"base      {1000 * base:6.0f} ms   allowed {1000 * allowed:.0f} ms")
        late = False
        for command in COMMANDS:
            took = _seconds(("-m", "triaged", command), environ)
            heavy = ", ".join(_heavy(command, environ)) or "none"
            late |= took > allowed
            print(f"{command:<9} {1000 * took:6.0f} ms   heavy modules: {heavy}")
    return int(late)


def _fill(directory: Path) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with Ledger.open(directory) as ledger:
        ledger.bind("https://leadlex.example", at=now)
        ledger.vetoes.add(a_task().id or "", at=now)


def _seconds(arguments: Sequence[str], environ: dict[str, str]) -> float:
    """Return the fastest of several runs: the others waited for the machine."""
    return min(_once(arguments, environ) for _ in range(ROUNDS))


def _once(arguments: Sequence[str], environ: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], capture_output=True, check=False, env=environ
    )
    return time.perf_counter() - started


def _heavy(command: str, environ: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "triaged", command],
        capture_output=True,
        check=False,
        env=environ,
        text=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return [name for name in HEAVY if name in loaded]


if __name__ == "__main__":
    sys.exit(main())
