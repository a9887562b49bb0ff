"""No traceback from any state of the standard streams, nor from any environment.

Each case is the real program; nothing listens where the API should be.
"""

import fcntl
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import Program, a_listed, add
from tests.sandbox_server import RunningSandbox

ROOT: Final = Path(__file__).parents[2]
MIXED: Final = ROOT / "tests/golden/mixed"
PLAN: Final = (
    *("plan", "--all", "--tasks", str(MIXED / "tasks.json")),
    *("--rules", str(MIXED / "rules.yaml"), "--now", "2026-03-01T00:00:00Z"),
)
# How a shell leaves the streams, and which exit codes may follow.
STREAMS: Final = {
    "open": ("", {0}),
    "stdout closed": (">&-", {0}),
    "stderr closed": ("2>&-", {0}),
    "all closed": ("<&- >&- 2>&-", {0}),
    "stdout full": (">/dev/full", {1}),
    "stderr full": ("2>/dev/full", {0}),
    "both full": (">/dev/full 2>/dev/full", {1}),
    "full and closed": (">/dev/full 2>&-", {1}),
}
ENVIRONMENTS: Final[dict[str, dict[str, str]]] = {
    "utf-8": {},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "utf-16": {"PYTHONIOENCODING": "utf-16"},
    "C": {"LC_ALL": "C"},
    "C without coercion": {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    },
    "unknown locale": {"LC_ALL": "xx_XX.KOI-99", "TERM": "no-such-terminal"},
    "no home": {"HOME": "/nonexistent", "TMPDIR": "/nonexistent", "COLUMNS": "x"},
}


def run(
    arguments: tuple[str, ...], redirection: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the program from a shell that redirects its streams."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRIAGED_")}
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *command(*arguments)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**kept, **environment},
        timeout=180,
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "triaged", *arguments]


@pytest.mark.parametrize("streams", STREAMS)
def test_streams_in_any_state(streams: str) -> None:
    """A closed stream is as /dev/null; a failed write is 1, told where it can be."""
    redirection, codes = STREAMS[streams]
    done = run(PLAN, redirection)

    assert done.returncode in codes
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    if streams == "stdout full":
        assert b"triaged: standard output cannot be written: No space" in done.stderr


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_output_in_any_environment(environment: str) -> None:
    """What a stream cannot show is replaced, and the command does its work."""
    done = run(PLAN, **ENVIRONMENTS[environment])

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"t01" in done.stdout.replace(b"\0", b"")


def test_symbols_of_ours_become_ascii() -> None:
    """Where there is no ellipsis there are three dots; a letter is escaped."""
    done = run(PLAN, **ENVIRONMENTS["ascii"])

    assert done.stdout.isascii()
    assert rb"Z\xfcrich" in done.stdout
    assert b"---" in done.stdout


def test_json_stays_json_where_it_cannot_be_shown() -> None:
    """An escape in JSON is one that JSON knows."""
    done = run((*PLAN, "--format", "json"), **ENVIRONMENTS["ascii"])

    assert done.stdout.isascii()
    assert rb"\x" not in done.stdout


def test_a_reader_that_has_seen_enough() -> None:
    """``| head`` ends the command quietly; it is no crash."""
    done = run(("schema",), "2>err.$$ | head -c 9; echo; cat err.$$; rm -f err.$$")

    assert b"Traceback" not in done.stdout + done.stderr
    assert b"BrokenPipe" not in done.stdout + done.stderr


def test_a_pipe_that_does_not_block(tmp_path: Path) -> None:
    """A full non-blocking pipe is waited for, and everything arrives."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    with subprocess.Popen(
        command("schema"), stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            text = stream.read()
        assert process.stderr is not None
        errors = process.stderr.read()

    assert (process.returncode, errors) == (0, b"")
    assert text == run(("schema",)).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (b"veto", b"x\xff"),
        (b"plan", b"--tasks", b"\xff.json"),
        (b"pause", b"--note", b"\xff"),
        (b"\xff",),
    ],
)
def test_an_argument_that_is_no_text_is_refused(arguments: tuple[bytes, ...]) -> None:
    """Bytes that are not UTF-8 are a usage error that shows them."""
    done = subprocess.run(
        [*map(os.fsencode, command()), *arguments],
        capture_output=True,
        check=False,
        cwd=ROOT,
    )

    assert done.returncode == 2
    assert rb"not valid UTF-8" in done.stderr
    assert rb"\xff" in done.stderr


def test_a_setting_that_is_no_text_is_refused() -> None:
    """So are such bytes in a variable, which is named."""
    done = subprocess.run(
        command("budget"),
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environb, b"TRIAGED_WORKSPACE": b"x\xff"},
    )

    assert done.returncode == 78
    assert b"TRIAGED_WORKSPACE: is not valid UTF-8" in done.stderr


def test_output_is_tried_before_anything_is_spent(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Where the list could not be shown, no call is made and nothing dismissed."""
    add(sandbox, [a_listed("t1")])
    asking = ("dismiss t1 --reason testing --yes", "plan", "backtest", "suggest")
    for arguments in asking:
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                command(*arguments.split()),
                check=False,
                cwd=ROOT,
                env=dict(program.environ()),
                stdout=full,
                stderr=subprocess.PIPE,
            )

        assert done.returncode == 1, arguments
        assert b"standard output cannot be written" in done.stderr
    assert sum(sandbox.world.call_counts.values()) == 0
    assert sandbox.world.store.effects == []


def test_a_warning_that_cannot_be_shown_stops_no_emergency_stop(
    program: Program, sandbox: RunningSandbox
) -> None:
    """With a misspelt variable and a full stderr, ``pause`` pauses all the same."""
    add(sandbox, [a_listed("t1")])
    assert program.run("run", "--once").returncode == 0
    program.settings["TRIAGED_INTERVALL"] = "5m"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("pause"),
            check=False,
            cwd=ROOT,
            env=dict(program.environ()),
            stdout=subprocess.PIPE,
            stderr=full,
        )

    assert done.returncode == 0
    assert b"paused" in done.stdout.lower()
    assert program.json("status")["paused"] is not None


def test_a_dismissal_under_latin_1_is_carried_out(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Our own ellipsis never stands between a call that was paid and its effect."""
    program.settings["PYTHONIOENCODING"] = "latin-1"
    add(sandbox, [a_listed("t1", "[TEST] 東京 " + "x" * 100)])
    done = program.run("dismiss", "t1", "--reason", "testing", "--yes")

    assert done.returncode == 0, done.stderr
    assert [e.task_id for e in sandbox.world.store.effects] == ["t1"]


def test_help_survives_optimisation() -> None:
    """``python -OO`` drops docstrings, not the help."""
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "triaged", "plan", "--help"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )

    assert "Show what a cycle would do now and why" in done.stdout


def test_few_descriptors_are_enough(program: Program, sandbox: RunningSandbox) -> None:
    """``ulimit -n 256`` does not stop a cycle over many tasks."""
    add(sandbox, [a_listed(f"t{number}") for number in range(20)])
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 256; exec "$@"', "sh", *command("run", "--once")],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=dict(program.environ()),
    )

    assert done.returncode == 0, done.stderr
    assert len(sandbox.world.store.effects) == 20


# Every stream state with every environment, the commands in turn.
ANYWHERE: Final = tuple(
    (streams, environment, arguments)
    for (streams, environment), arguments in zip(
        itertools.product(("all closed", "both full"), ENVIRONMENTS),
        itertools.cycle((("--help",), ("nonsense",), ("history",), ("check", "no"))),
        strict=False,
    )
)


@pytest.mark.parametrize(("streams", "environment", "arguments"), ANYWHERE)
def test_no_traceback_anywhere(
    streams: str, environment: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """Whatever the streams and the environment, a command ends with a code of ours."""
    redirection, _ = STREAMS[streams]
    done = run(
        arguments,
        redirection,
        **{**ENVIRONMENTS[environment], "TRIAGED_STATE_DIR": str(tmp_path / "none")},
    )

    assert done.returncode in {0, 1, 2, 78}
    assert b"Traceback" not in done.stderr + done.stdout
