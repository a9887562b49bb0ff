"""Answers of any size: what they cost in memory, and that they cost that cycle only."""

from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.e2e.harness import Program, a_listed
from tests.reliability.hostile import (
    HEAD,
    MIB,
    TAIL,
    Pieces,
    filled,
    measure,
    one_after_the_other,
    packed,
    serving,
    tasks,
)
from tests.reliability.report import FULL, Report
from triaged.leadlex import list_decoder, protocol
from triaged.sandbox.store import encode

pytestmark = pytest.mark.reliability

CHAPTER: Final = "Hostile input"

# What the process weighs with an empty list, and what no answer may add to it.
EMPTY_MIB: Final = 75
REFUSED_MIB: Final = 350
LONG_MIB: Final = 500

TEXT: Final = (
    "Find 20 General Counsel at life-science firms in Bavaria, and add them; " * 4
)
ENTRY: Final = HEAD + b'{"id":"a","status":"pending",'
TEXTED: Final = ENTRY + b'"description":"'
SIZE: Final = 200 * MIB


class Answer(NamedTuple):
    """An answer, how it is sent, and what the refusal must say; empty if it is read."""

    pieces: Pieces
    said: str
    gzip: bool = False
    length: int | None = None


LIMIT: Final = f"longer than {protocol.MAX_LIST_BYTES // MIB} MiB"
LONG_ENTRY: Final = f"more than {list_decoder.MAX_ENTRY_CHARS:,} characters"
MUCH_MEMORY: Final = f"more than {list_decoder.MAX_HELD_BYTES // MIB} MiB of memory"
MANY_TASKS: Final = f"more than {list_decoder.MAX_TASKS:,} tasks"

SHORT: Final[dict[str, Answer]] = {
    "200 MiB of tasks of 2 KiB": Answer(tasks(SIZE // 2_250, "x" * 2_048), LIMIT),
    "one text of 200 MiB": Answer(filled(TEXTED, b"x", SIZE, b'"}]}}'), LONG_ENTRY),
    "200 MiB of lists in one task": Answer(
        filled(ENTRY + b'"metadata":[', b"[],", SIZE, b"1]}]}}"), LONG_ENTRY
    ),
    "200 MiB of nesting": Answer(filled(HEAD, b"[", SIZE), LONG_ENTRY),
    "200 MiB of tasks of small objects": Answer(
        filled(
            HEAD, b'{"metadata":{"a":[' + b"{}," * 99_999 + b"{}]}},", SIZE, b"{}]}}"
        ),
        MUCH_MEMORY,
    ),
    # The worst that is read: 10 MiB that take 249 of the 256 MiB allowed.
    "10 MiB of small objects, all read": Answer(
        filled(
            HEAD,
            b'{"metadata":{"a":[' + b"{}," * 330_000 + b"{}]}},",
            10 * MIB,
            b"{}]}}",
        ),
        "",
    ),
    "1 GiB in 1 MiB of gzip": Answer(
        packed(filled(HEAD, b" ", 1024 * MIB, TAIL)), LIMIT, gzip=True
    ),
    "200 MiB of empty tasks": Answer(filled(HEAD, b"{},", SIZE, b"{}]}}"), MANY_TASKS),
}
MORE: Final[dict[str, Answer]] = {
    "200 MiB of blanks": Answer(filled(HEAD, b" ", SIZE, TAIL), LIMIT),
    "200 MiB with a stated length": Answer(
        filled(HEAD, b"\t", SIZE, TAIL), LIMIT, length=SIZE
    ),
    "one text of 4 bytes a character": Answer(
        filled(TEXTED + "\U0001f600".encode(), b"x", SIZE), LONG_ENTRY
    ),
    "200 MiB of numbers": Answer(filled(HEAD, b"1,", SIZE, b"1]}}"), MANY_TASKS),
    "200 MiB of small objects": Answer(
        filled(ENTRY + b'"metadata":[', b'{"a":1},', SIZE, b"1]}]}}"), LONG_ENTRY
    ),
    "200 MiB of another member": Answer(
        filled(b'{"meta":"', b"x", SIZE, b'","data":{"tasks":[]}}'), LONG_ENTRY
    ),
    "a text of 1 GiB in gzip": Answer(
        packed(filled(TEXTED, b"x", 1024 * MIB, b'"}]}}')), LONG_ENTRY, gzip=True
    ),
    "a page of 200 MiB": Answer(filled(b"<html>", b"<p>", SIZE), "should be"),
    "the worst that is read, 63 MiB at 4 bytes a character": Answer(
        filled(
            HEAD,
            b'{"description":"' + "\U0001f600".encode() + b"x" * 3_000 + b'"},',
            63 * MIB,
            b"{}]}}",
        ),
        "",
    ),
}
ANSWERS: Final = SHORT | (MORE if FULL else {})


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_beyond_all_measure(
    name: str, report: Report, tmp_path: Path
) -> None:
    """It is left at a limit that the error tells, before it has been held."""
    answer = ANSWERS[name]
    commands = [("run", "--once"), ("plan",)] if FULL else [("run", "--once")]
    with report.check(CHAPTER, f"{name}: bounded in memory") as check:
        for command in commands:
            with serving(answer.pieces, length=answer.length, gzip=answer.gzip) as told:
                done = measure(told.url, tmp_path, *command)
            happened = (
                f"`{' '.join(command)}`: {done.peak_mib:.0f} MiB,"
                f" {done.seconds:.0f} s, left after {told.sent / MIB:.0f} MiB"
            )
            check.result = "; ".join(filter(None, (check.result, happened)))
            check.runs += 1

            assert (done.code, told.asked) == ((1, 1) if answer.said else (0, 1))
            assert answer.said in done.said
            assert told.whole is not bool(answer.said)
            assert done.peak_mib < EMPTY_MIB + (
                REFUSED_MIB if answer.said else LONG_MIB
            )
        check.result = check.result.removeprefix("held; ")


@pytest.mark.parametrize("count", [100_000] if FULL else [20_000])
@pytest.mark.parametrize("first", ["", "\U0001f600"])
def test_a_long_list(count: int, first: str, report: Report, tmp_path: Path) -> None:
    """A list that is only long is read, decided on and remembered."""
    wide = ", four bytes a character" if first else ""
    with (
        report.check(CHAPTER, f"{count:,} tasks{wide}: read") as check,
        serving(tasks(count, first + TEXT), length=None, gzip=False) as told,
    ):
        done = measure(told.url, tmp_path, "run", "--once")
        size = told.sent / MIB
        check.runs = count
        check.result = (
            f"{size:.0f} MiB sent, {done.peak_mib:.0f} MiB at the peak,"
            f" {done.seconds:.0f} s"
        )

        assert done.code == 0
        assert f'"pending": {count}' in done.said
        # Text of four bytes a character, the tasks around it, and once more in passing.
        assert done.peak_mib < EMPTY_MIB + size * (12 if first else 6)


def test_it_costs_that_cycle_only(report: Report, tmp_path: Path) -> None:
    """The daemon refuses the answer, drops it, and does its work in the next cycle."""
    good = encode({"data": {"tasks": [a_listed("t1", "keep me")]}})
    bad = filled(TEXTED, b"x", SIZE, b'"}]}}')
    guarantee = "after an answer of 200 MiB the daemon goes on with the next"
    with (
        report.check(CHAPTER, guarantee) as check,
        serving(
            one_after_the_other(bad, lambda: iter([good])), length=None, gzip=False
        ) as told,
    ):
        program = Program(tmp_path, told.url)
        with program.daemon() as daemon:
            failed = daemon.wait_for("cycle.finished")
            went_on = daemon.wait_for("cycle.finished", times=2)
            held = _resident_mib(daemon.process.pid)

            assert (failed["result"], went_on["result"]) == ("failed", "ok")
            assert LONG_ENTRY in failed["error"]
            assert went_on["pending"] == 1
            assert daemon.end() == 0
        check.runs = 2
        check.result = f"failed, then ok; {held:.0f} MiB resident afterwards"
        assert held < EMPTY_MIB + 50


def _resident_mib(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4_096 / MIB
