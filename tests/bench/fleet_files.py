"""How long the files of a large fleet take to load, and to look at again.

``python -m tests.bench.fleet_files [WORKSPACES]``; times are the best of three.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from triaged.fleet.files import read_fleet_files
from triaged.fleet.loader import load_fleet

RULES: Final = """version: 1
rules: [{name: people, match: {type: campaign_start}, leave: true}]
"""


def write_fleet(directory: Path, number: int) -> None:
    """Write a fleet whose workspaces share their rules and have a key file each."""
    (directory / "base.yaml").write_text(RULES)
    keys = directory / "keys"
    keys.mkdir()
    entries = []
    for index in range(number):
        name = f"w{index:05}"
        (keys / name).write_text(f"wbk_{index}\n")
        (keys / name).chmod(0o600)
        entries.append(f"  - {{name: {name}, key: {{file: keys/{name}}}}}\n")
    head = "version: 1\ndefaults: {rules: [base.yaml]}\nworkspaces:\n"
    (directory / "fleet.yaml").write_text(head + "".join(entries))


def best_of_three(action: Callable[[], object]) -> float:
    """Return the shortest of three times, in seconds."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main(number: int) -> None:
    """Print how long a fleet of this number of workspaces takes."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_fleet(directory, number)
        assert len(load_fleet(directory, {}).workspaces) == number
        load = best_of_three(lambda: load_fleet(directory, {}))
        look = best_of_three(lambda: read_fleet_files(directory).fingerprint)
    print(f"{number:,} workspaces in one file")
    print(f"  load_fleet, keys read and compared: {load:.2f} s")
    print(f"  one look at unchanged files:        {look * 1000:.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
