"""One state directory: an older ledger in it, and several programs on it at once."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import Program
from tests.fixtures.ledgers import contents, schema, write_old
from tests.reliability import disk
from tests.reliability.crash import SETTINGS, read_copy
from tests.reliability.kill_schedules import ROOT, kill_run
from tests.reliability.report import FULL, Report
from triaged.ledger.location import FILE
from triaged.ledger.schema import VERSION

pytestmark = pytest.mark.reliability

SEED: Final = 20_260_303


def test_killed_while_an_old_ledger_is_brought_up_to_date(
    tmp_path: Path, report: Report
) -> None:
    """Killed at any line of the way to a new version, no row is lost."""
    guarantee = (
        "A ledger of version 1, killed at any line of its migration: no row lost"
    )
    with report.check("Disk and ledger", guarantee) as check:
        spots = _history(tmp_path / "survey", "survey:" + str(tmp_path / "lines"))
        assert spots.returncode == 0, spots.stderr
        lines = _reached(tmp_path / "lines", ("ledger/database.py", "ledger/schema.py"))
        undisturbed = _fresh(tmp_path / "state")
        write_old(undisturbed, 1)
        assert _history(tmp_path, "ledger/database.py:1:1").returncode == 0
        whole = contents(undisturbed / FILE)
        halves = 0
        for spot in lines if FULL else lines[:: max(len(lines) // 4, 1)]:
            state = _fresh(tmp_path / "state")
            write_old(state, 1)
            _history(tmp_path, f"{spot}:1")
            halves += schema_version(state) == 1
            again = _history(tmp_path, "ledger/database.py:1:1")
            check.runs += 1

            assert again.returncode == 0, (spot, again.stderr)
            after = contents(state / FILE)
            assert after == whole, spot
            assert schema_version(state) == VERSION
        check.result = f"{halves} were still of version 1 after the kill; 0 rows lost"


def schema_version(state: Path) -> int:
    return schema(state / FILE)[0]


def _fresh(directory: Path) -> Path:
    disk.put({}, directory)
    return directory


def _history(directory: Path, spot: str) -> subprocess.CompletedProcess[str]:
    """Run ``history`` on a version 1 ledger, to die at a spot."""
    directory.mkdir(exist_ok=True)
    if not (directory / "state").exists():
        (directory / "state").mkdir()
        write_old(directory / "state", 1)
    program = Program(directory, "http://127.0.0.1:9", dict(SETTINGS))
    return subprocess.run(
        [sys.executable, "-m", "tests.reliability.kill_at_line", spot, "history"],
        cwd=ROOT,
        env=program.environ(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _reached(target: Path, names: Sequence[str]) -> list[str]:

    return [s for s in json.loads(target.read_text()) if s.startswith(tuple(names))]


def test_many_on_one_directory(tmp_path: Path, report: Report) -> None:
    """Started at the same moment, one works, and the others say who it is."""
    guarantee = "Four started on one state directory at once: never two at work"
    with (
        report.check("Disk and ledger", guarantee) as check,
        kill_run(tmp_path, SEED) as world,
    ):
        told = 0
        for _ in range(12 if FULL else 2):
            world.restock()
            command = [sys.executable, "-m", "triaged", "run", "--once"]
            four = [
                subprocess.Popen(
                    command,
                    env=world.program.environ(),
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for _ in range(4)
            ]
            ends = [process.communicate(timeout=90)[1] for process in four]
            codes = [process.returncode for process in four]
            pids = {process.pid for process in four}
            check.runs += 1

            for code, text in zip(codes, ends, strict=True):
                if "is held by process" in text:
                    told += 1
                    assert code == 1
                    assert any(f"process {pid} on" in text for pid in pids), text
            assert told
            assert world.broken() == []
        world.finish()
        entries = read_copy(world.program.directory / "state").all()
        check.result = (
            f"{told} were told who works, the others came after it had ended;"
            f" {world.done()} dismissed, {len(entries)} intents, 0 twice"
        )
