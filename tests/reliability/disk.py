"""Disks that are full or cannot be written, and ledgers damaged in many ways."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.e2e.harness import Program
from triaged.errors import LedgerError
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome
from triaged.ledger.location import FILE

WAL: Final = f"{FILE}-wal"
DAMAGED: Final = "the file is damaged: move it away, with its -wal"

# A limit on the size of files acts like a full disk, and needs no rights.
_LIMITED: Final = """
import resource, runpy, sys
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
runpy.run_module("triaged", run_name="__main__", alter_sys=True)
"""


class NoMount(Exception):
    """Mounting needs rights that are not there."""


def mount(options: str, directory: Path) -> None:
    """Mount memory, or change how it is mounted.

    Raises:
        NoMount: that needs rights which are not there.
    """
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoMount(str(error)) from error
    if done.returncode:
        raise NoMount(done.stderr.strip())


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Callable[[str], None]]:
    """Mount a disk of ``size`` bytes; what is yielded changes how it is mounted.

    Raises:
        NoMount: that needs rights which are not there.
    """
    directory.mkdir(exist_ok=True)
    mount(f"size={size}", directory)
    try:
        yield lambda options: mount(f"remount,{options}", directory)
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)  # noqa: S607


def run_limited(
    program: Program, size: int, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that cannot make a file larger than the limit."""
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(size), *arguments],
        env=program.environ(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def refusal(directory: Path) -> LedgerError | None:
    """Open a ledger, and return why that was refused."""
    try:
        Ledger.open(directory, create=False).close()
    except LedgerError as error:
        return error
    return None


def everything(directory: Path) -> dict[str, Any]:
    """Read through the product all that a ledger holds."""
    with Ledger.open(directory, create=False) as ledger:
        entries = ledger.dismissals.query(DismissalFilter())
        return {
            "entries": {entry.id: entry for entry in entries},
            "open": ledger.dismissals.unresolved(),
            "closed": ledger.dismissals.final_outcomes([e.task_id for e in entries]),
            "judged": [ledger.decisions.latest(e.task_id) for e in entries],
            "rules": [ledger.rulesets.source(e.rules_sha256) for e in entries],
            "holds": ledger.holds.all(),
            "vetoed": ledger.vetoes.task_ids(),
            "quota": ledger.state.load_quota(unless_version=-1),
            "totals": [ledger.counters.values(n) for n in ("dismissals", "attempts")],
        }


def is_older(found: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Say whether a ledger is as it was before its last writes."""
    known: dict[str, DismissalRecord] = whole["entries"]
    return all(
        entry_id in known
        and (entry == known[entry_id] or entry.outcome in {None, Outcome.UNKNOWN})
        for entry_id, entry in found["entries"].items()
    )


def snapshot(directory: Path) -> dict[str, bytes]:
    """Return the files of a ledger, without what SQLite can rebuild."""
    found = {path.name: path.read_bytes() for path in directory.glob(f"{FILE}*")}
    return {n: c for n, c in found.items() if c and not n.endswith("-shm")}


def put(files: dict[str, bytes], directory: Path) -> None:
    """Make a state directory with these files and nothing else."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)


# Ways to damage the bytes of a file.


def cut(content: bytes, random: Random) -> bytes:
    """Lose the end, at any byte or at a page."""
    size = random.randrange(len(content))
    return content[: size - size % 4096 if random.random() < 1 / 2 else size]


def flip(content: bytes, random: Random) -> bytes:
    """Change a few bytes anywhere."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 8)):
        changed[random.randrange(len(changed))] ^= random.randrange(1, 256)
    return bytes(changed)


def flip_head(content: bytes, random: Random) -> bytes:
    """Change a byte of the header."""
    changed = bytearray(content)
    changed[random.randrange(100)] ^= random.randrange(1, 256)
    return bytes(changed)


def blank(content: bytes, random: Random) -> bytes:
    """Lose a page: nothing but zeros, or another page's content."""
    pages = len(content) // 4096
    at, other = random.randrange(pages), random.randrange(pages)
    page = bytes(4096)
    if random.random() < 1 / 2:
        page = content[other * 4096 : (other + 1) * 4096]
    return content[: at * 4096] + page + content[(at + 1) * 4096 :]


WAYS: Final = (cut, flip, flip_head, blank)
