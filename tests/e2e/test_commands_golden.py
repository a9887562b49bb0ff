"""What every command prints, as a person or a script reads it.

``TRIAGED_UPDATE_GOLDEN=1`` writes the files in ``tests/golden/commands`` anew; read
the difference before you keep it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.commands import (
    BEGIN,
    CASES,
    FLEETS,
    GOLDEN,
    INPUTS,
    KEYS,
    NOW,
    Case,
    fill,
    live,
)
from tests.e2e.harness import Program, a_listed, add
from tests.e2e.inprocess import CommandLine, FixedClock, Said, settings_for
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import Clock
from triaged.sandbox.settings import SandboxSettings

# All that varies from run to run; everything else is fixed by the inputs.
VARYING: Final = {
    r"127\.0\.0\.1:\d+": "127.0.0.1:PORT",
    r"=/\S+/triaged-sandbox-\w+": "=STATE_DIR",
    r'"cycle": "[0-9a-f]{12}"': '"cycle": "CYCLE"',
    r",[0-9a-f]{12},req_": ",CYCLE,req_",
    r'"id": "[0-9a-f]{12}"': '"id": "CYCLE"',
    r'("finished_at": "[0-9T:-]+)\.[0-9]+': r"\1",
}
LOGGED: Final = {
    r"20\d\d-\d\d-\d\dT[0-9:.]+Z": "TIME",
    r"(?m)^\d\d:\d\d:\d\d ": "CLOCK ",
    r"\b[0-9a-f]{12}\b": "CYCLE",
    r'(seconds"?[:=] ?)[0-9.]+': r"\g<1>0",
}


@pytest.fixture(scope="module")
def clock() -> FixedClock:
    return FixedClock(BEGIN)


@pytest.fixture(scope="module")
def golden_sandbox(clock: FixedClock) -> Iterator[RunningSandbox]:
    """Return one sandbox for all cases: a ledger belongs to one API URL."""
    with _sandbox(clock) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def history(
    tmp_path_factory: pytest.TempPathFactory,
    clock: FixedClock,
    golden_sandbox: RunningSandbox,
) -> Path:
    """Return a directory with the inputs, and a ledger that has seen three days."""
    directory = tmp_path_factory.mktemp("past")
    for name in INPUTS:
        shutil.copy(GOLDEN / name, directory / name)
    for name in FLEETS:
        shutil.copytree(GOLDEN / name, directory / name)
    with pytest.MonkeyPatch.context() as patch:
        settings = settings_for(golden_sandbox.api_url)
        live(CommandLine(directory, patch, clock, settings), golden_sandbox)
    return directory


@pytest.fixture
def command(
    history: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FixedClock,
    golden_sandbox: RunningSandbox,
) -> CommandLine:
    """Return a command line in a workspace that has a past."""
    shutil.copytree(history, tmp_path, dirs_exist_ok=True)
    clock.at = NOW
    golden_sandbox.world.reset()
    fill(golden_sandbox)
    settings = settings_for(golden_sandbox.api_url) | KEYS
    return CommandLine(tmp_path, monkeypatch, clock, settings)


def _sandbox(clock: Clock) -> AbstractContextManager[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    return running_sandbox(settings, clock)


def normal_log(text: str) -> str:
    """Replace a log's times and ids, and sort its keys: no input fixes them."""
    for pattern, name in LOGGED.items():
        text = re.sub(pattern, name, text)
    return "".join(f"{_sorted_keys(line)}\n" for line in text.splitlines())


def _sorted_keys(line: str) -> str:
    return json.dumps(json.loads(line), sort_keys=True) if line[:1] == "{" else line


def normal(text: str) -> str:
    """Replace what varies by what it is."""
    for pattern, name in VARYING.items():
        text = re.sub(pattern, name, text)
    return text


def shown(said: Said, case: Case) -> str:
    """Return a golden file's text; JSON, CSV and HTML files hold nothing else."""
    if not case.file.endswith(".txt"):
        return normal(said.out)
    errors = f"\non stderr:\n{said.err}" if said.err else ""
    return normal(f"exit code {said.code}\n{said.out}{errors}")


def check_golden(file: str, text: str) -> None:
    """Compare with the file, or write it anew where that is wished."""
    path = GOLDEN / file
    if os.environ.get("TRIAGED_UPDATE_GOLDEN") == "1":
        path.write_text(text, newline="")

    assert path.read_bytes().decode() == text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_a_command_prints_what_was_read_before(
    command: CommandLine, case: Case
) -> None:
    """Each form of each command is what it was when somebody last read it."""
    for before in case.after:
        command.run(*before.split())
    said = command.run(*case.arguments.split())

    check_golden(case.file, shown(said, case))
    assert said.code == case.code
    if case.file.endswith(".json"):
        json.loads(said.out)


def test_a_plan_file_holds_what_will_be_dismissed(command: CommandLine) -> None:
    """A plan file can be read by a person before it is applied, hostile text too."""
    command.run("plan", "--out", "plan.json")
    text = (command.directory / "plan.json").read_text()

    check_golden("plan-out.json", normal(text))
    assert json.loads(text)["decisions"]
    assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("run-once.jsonl", "run --once"),
        ("run-dry.jsonl", "run --once --dry-run"),
        ("run-once.console.txt", "run --once --log-format console"),
    ],
)
def test_a_cycle_logs_what_was_read_before(
    program: Program, sandbox: RunningSandbox, file: str, arguments: str
) -> None:
    """A cycle's log has the events, in the order and the form that people know."""
    add(sandbox, [a_listed("t1"), a_listed("t2", "an ordinary task")])
    done = program.run(*arguments.split())

    assert done.returncode == 0
    check_golden(file, normal_log(done.stdout + done.stderr))


def test_the_sandbox_says_how_to_use_it(program: Program) -> None:
    """What it prints can be pasted into a shell."""
    command = [sys.executable, "-m", "triaged", "sandbox", "--port", "0"]
    with subprocess.Popen(
        command, env=program.environ(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        process.terminate()

    assert process.returncode == 0
    check_golden("sandbox.txt", normal("".join(lines)))


def test_the_demo_ends_with_a_summary_that_adds_up(program: Program) -> None:
    """Its words are fixed; its numbers are those of the ledger and of the sandbox."""
    done = program.run("demo", "--seconds", "5")
    frames, summary = done.stdout.split("\nWhat happened\n")
    table, sums = summary.split("\n\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.startswith("triaged demo · ") for line in frames.splitlines())
    check_golden("demo.txt", re.sub(r"\d+", "N", sums))
    rows = [line.split() for line in table.splitlines()[2:]]
    dismissed = sum(int(number) for _, _, number in rows)
    assert f" = {dismissed} dismissed + " in sums
    assert f"{dismissed} confirmed dismissals; the simulator saw {dismissed}." in sums


def test_ctrl_c_ends_the_demo_with_the_summary_so_far(program: Program) -> None:
    """A person who has seen enough gets the figures, and no failure."""
    command = [sys.executable, "-m", "triaged", "demo", "--seconds", "600"]
    with subprocess.Popen(
        command,
        env=program.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()

    assert (process.returncode, errors) == (0, "")
    assert "\nStopped; what happened so far\n" in rest
    assert "Both agree." in rest


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize(
    "arguments",
    [
        "plan --now",
        "plan --all --format json --now",
        "plan --tasks tasks.json --now",
        "plan --out plan.json --now",
        "explain t07 --now",
        "explain --task task.json --now",
        "history --since",
        "history --observed --since",
    ],
)
def test_any_moment_will_do(command: CommandLine, arguments: str, moment: str) -> None:
    """The first and the last moment that can be written overflow nothing."""
    said = command.run(*arguments.split(), moment)

    assert said.code in {0, 4}, said.err
    assert said.out or "history" in arguments


def test_a_byte_order_mark_is_no_mistake(command: CommandLine) -> None:
    """Files that an editor saved with one are read, for plan and for explain."""
    for name in ("tasks.json", "task.json"):
        path = command.directory / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert command.run("plan", "--tasks", "tasks.json").code in {0, 4}
    assert command.run("explain", "--task", "task.json").code == 0


def test_a_plan_file_is_private(command: CommandLine) -> None:
    """Only its owner reads what is in the workspace, also where a file was before."""
    path = command.directory / "plan.json"
    path.write_text("{}")
    path.chmod(0o644)
    command.run("plan", "--out", "plan.json")

    assert path.stat().st_mode & 0o777 == 0o600
