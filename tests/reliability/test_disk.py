"""Disks that fail and ledgers that are damaged: told, never made up for in silence."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.reliability import disk
from tests.reliability.kill_schedules import KillRun, kill_run
from tests.reliability.report import FULL, Report
from triaged.errors import LedgerError
from triaged.ledger.location import FILE

pytestmark = pytest.mark.reliability

SEED: Final = 20_260_302


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KillRun]:
    with kill_run(tmp_path, SEED) as world:
        yield world


@pytest.fixture
def crashed(world: KillRun) -> dict[str, bytes]:
    """Return the files of a ledger at work, not all of its log written back."""
    world.restock()
    world.kill_in_the_air()
    world.program.run("run", "--once")
    world.restock()
    world.kill_at("dismiss", "after", 12)
    files = disk.snapshot(world.program.directory / "state")
    assert files.keys() == {FILE, disk.WAL}
    return files


def test_a_full_disk(world: KillRun, report: Report) -> None:
    """However little fits, the program says so, and loses and repeats nothing."""
    guarantee = (
        "A disk that fills up at any point: exit 1 and why, nothing lost or repeated"
    )
    with report.check("Disk and ledger", guarantee) as check:
        codes = Counter[int]()
        for _ in range(60 if FULL else 4):
            world.restock()
            size = world.random.randrange(0, 400_000)
            done = disk.run_limited(world.program, size, "run", "--once")
            codes[done.returncode] += 1
            check.runs += 1
            assert done.returncode != 1 or _is_told(done.stderr), (size, done.stderr)
            assert world.broken() == [], size
        assert codes[1]
        world.finish()
        check.result = (
            f"{codes[1]} ended so, the others fitted; {world.done()} dismissed"
        )


def _is_told(text: str) -> bool:
    """Say whether the last line tells people which file, what is wrong, what to do."""
    last = text.strip().rpartition("\n")[2]
    told = last.startswith("triaged: ") and "/state/" in last
    return told and ("dismissed until" in last or "TRIAGED_STATE_DIR" in last)


def test_a_disk_of_a_few_pages(world: KillRun, report: Report) -> None:
    """A real file system without room, and then with room again."""
    guarantee = "A full file system: exit 1 and why; with room again it goes on"
    state = world.program.directory / "state"
    with report.check("Disk and ledger", guarantee) as check, ExitStack() as stack:
        try:
            change = stack.enter_context(disk.small_disk(state, 96 * 1024))
        except disk.NoMount as error:
            check.result = f"not tried here: {error}"
            pytest.skip(f"cannot mount: {error}")
        ended = 0
        for size in range(96, 900, 16 if FULL else 260):
            change(f"size={size}k")
            world.restock()
            done = world.program.run("run", "--once")
            ended += done.returncode == 1
            check.runs += 1
            assert done.returncode != 1 or _is_told(done.stderr), (size, done.stderr)
            change("size=8m")
            assert world.broken() == [], size
        assert ended
        world.finish()
        check.result = f"{ended} ended so; {world.done()} dismissed, 0 lost, 0 twice"


def test_a_directory_that_cannot_be_written(world: KillRun, report: Report) -> None:
    """Where nothing can be remembered nothing is asked for; the way out is named."""
    guarantee = "A read-only state directory: exit 1 and the way out, no dismissal"
    state = world.program.directory / "state"
    with report.check("Disk and ledger", guarantee) as check, ExitStack() as stack:
        try:
            change = stack.enter_context(disk.small_disk(state, 8 * 1024 * 1024))
        except disk.NoMount as error:
            check.result = f"not tried here: {error}"
            pytest.skip(f"cannot mount: {error}")
        for is_new in (True, False):
            if not is_new:
                change("rw")
                world.restock()
                world.program.run("run", "--once")
            change("ro")
            world.restock()
            before, asked = (
                disk.snapshot(state),
                world.sandbox.world.call_counts.total(),
            )
            done = world.program.run("run", "--once")
            check.runs += 1

            assert done.returncode == 1
            assert "Read-only file system" in done.stderr
            assert "give a writable TRIAGED_STATE_DIR" in done.stderr
            assert disk.snapshot(state) == before
            assert world.sandbox.world.call_counts.total() == asked
        check.result = "refused, with and without a ledger; no call was made"


def test_damage(
    crashed: dict[str, bytes], tmp_path: Path, world: KillRun, report: Report
) -> None:
    """A damaged ledger is refused and left as it is, or opened; never recreated."""
    guarantee = (
        "A ledger cut off or changed anywhere: never recreated; refused and untouched"
        ", or read as far as it goes"
    )
    with report.check("Disk and ledger", guarantee) as check:
        place = tmp_path / "damaged"
        disk.put(crashed, place)
        whole = disk.everything(place)
        closed = disk.snapshot(place)
        assert closed.keys() == {FILE}
        assert len(whole["entries"]) > 20
        seen: Counter[str] = Counter()
        for name, files in ((FILE, closed), (FILE, crashed), (disk.WAL, crashed)):
            for way in disk.WAYS:
                for _ in range(250 if FULL else 25):
                    damaged = files | {name: way(files[name], world.random)}
                    disk.put(damaged, place)
                    seen[_judge(place, damaged, whole, name)] += 1
                    check.runs += 1
        check.result = ", ".join(f"{number} {what}" for what, number in seen.items())


def _judge(
    place: Path, damaged: dict[str, bytes], whole: dict[str, object], name: str
) -> str:
    """Open a damaged ledger, and say what came of it."""
    kept = {each: content for each, content in damaged.items() if content}
    refused = disk.refusal(place)
    if refused is not None:
        assert refused.hint, refused
        assert disk.snapshot(place) == kept, refused
        return "refused and untouched"
    disk.put(damaged, place)
    try:
        found = disk.everything(place)
    except LedgerError:
        return "opened, refused at a row"
    if found == whole:
        return "right"
    if name == disk.WAL:
        assert disk.is_older(found, whole)
        return "right as of before the last writes"
    # SQLite keeps no checksums: what still is a text is another text.
    assert found["entries"], "recreated"
    return "with another text in a row (SQLite keeps no checksums)"


def _lists(world: KillRun) -> int:
    """Count the lists, with which each run begins; a dead one's calls may be late."""
    counted = world.sandbox.world.call_counts
    return sum(
        times for (operation, _), times in counted.items() if operation == "list"
    )


def test_a_damaged_ledger_ends_the_program(
    crashed: dict[str, bytes], world: KillRun, report: Report
) -> None:
    """The real program refuses, says the way out, asks nothing and touches nothing."""
    guarantee = (
        "`run` on a damaged ledger: exit 1, the way out, no call, file untouched"
    )
    state = world.program.directory / "state"
    middle = len(crashed[FILE]) // 2
    torn = {
        "cut": {FILE: crashed[FILE][:middle]},
        "emptied": {FILE: b""},
        "zeroed": {FILE: bytes(len(crashed[FILE]))},
        "another's": {FILE: b"shopping list " * 999},
        "cut, with its log": crashed | {FILE: crashed[FILE][:50]},
        "gone, its log not": {disk.WAL: crashed[disk.WAL]},
    }
    with report.check("Disk and ledger", guarantee) as check:
        for what, files in torn.items():
            disk.put(files, state)
            asked = _lists(world)
            done = world.program.run("run", "--once")
            check.runs += 1

            assert done.returncode == 1, (what, done.stderr)
            assert "start with an empty" in done.stderr, (what, done.stderr)
            assert _lists(world) == asked, what
            left = {p.name: p.read_bytes() for p in state.glob(f"{FILE}*")}
            assert files.items() <= left.items(), what
        check.result = "all refused: " + ", ".join(torn)
