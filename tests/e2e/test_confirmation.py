"""The one question before what cannot be undone, on a terminal and without one."""

import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.harness import Program, a_listed, add
from tests.e2e.terminal import CTRL_C, CTRL_D, Terminal
from tests.sandbox_server import RunningSandbox
from triaged.cli.plan_file import write_plan
from triaged.rules.task import Decision, parse_task
from triaged.rulesfile.loader import load

DISMISS = "dismiss t1 --reason testing"
APPLY = "apply plan.json"


@pytest.fixture
def program(
    program: Program, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> Program:
    """Return a program with one task to dismiss, by hand or by a plan."""
    task = a_listed("t1")
    add(sandbox, [task])
    plan = write_plan(
        [Decision(parse_task(task), None, rule="clutter", reason="testing")],
        workspace="default",
        api_url=sandbox.api_url,
        made_at=datetime.now(UTC),  # noqa: TID251 - the program has no other clock
        rules_sha256=load(program.rules).ruleset.sha256,
    )
    (program.directory / "plan.json").write_text(plan)
    monkeypatch.chdir(program.directory)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return program


@pytest.mark.parametrize(
    ("command", "typed", "dismissed"),
    [
        (DISMISS, "y\n", 1),
        (DISMISS, "\n", 0),
        (DISMISS, CTRL_C, 0),
        (DISMISS, CTRL_D, 0),
        (DISMISS, "maybe\ny\n", 1),
        (APPLY, "yes\n", 1),
        (APPLY, "n\n", 0),
        (APPLY, "maybe\n" + CTRL_C, 0),
    ],
)
def test_only_a_yes_is_a_yes(
    program: Program,
    sandbox: RunningSandbox,
    command: str,
    typed: str,
    dismissed: int,
) -> None:
    """Yes dismisses; no, nothing, Ctrl-C and Ctrl-D do not; other words ask again."""
    screen = Terminal(program, *command.split())
    screen.expect("Dismiss 1 task")
    screen.expect("[y/N]: ")
    for number, part in enumerate(typed.splitlines(keepends=True)):
        if number:
            screen.expect("Error: invalid input")
            screen.expect("[y/N]: ")
        screen.press(part)

    assert screen.end() == 0
    assert len(sandbox.world.store.effects) == dismissed
    assert ("1 confirmed." in screen.shown) == bool(dismissed)
    assert ("Nothing was dismissed." in screen.shown) == (not dismissed)


@pytest.mark.parametrize("command", [DISMISS, APPLY])
def test_where_nobody_can_answer_nothing_is_dismissed(
    program: Program, sandbox: RunningSandbox, command: str
) -> None:
    """Without a terminal and without an answer the message names --yes."""
    done = program.run(*command.split(), stdin="")

    assert done.returncode == 2
    assert "no answer, so nothing was dismissed; scripts use --yes" in done.stderr
    assert sandbox.world.store.effects == []


def test_an_answer_can_be_piped_in(program: Program, sandbox: RunningSandbox) -> None:
    """Where an answer comes from is nobody's business."""
    assert program.run(*DISMISS.split(), stdin="n\n").returncode == 0
    assert sandbox.world.store.effects == []
    assert program.run(*DISMISS.split(), stdin="y\n").returncode == 0
    assert len(sandbox.world.store.effects) == 1


@pytest.mark.parametrize("command", [DISMISS, APPLY])
def test_the_list_comes_before_the_question(program: Program, command: str) -> None:
    """Also where both are written to one pipe, which buffers the list."""
    done = subprocess.run(
        [sys.executable, "-m", "triaged", *command.split()],
        env=program.environ(),
        input="n\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )

    assert done.stdout.index("dismiss: testing") < done.stdout.index("[y/N]")


def test_a_closed_window_dismisses_nothing(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Whoever hangs up has not said yes."""
    screen = Terminal(program, *DISMISS.split())
    screen.expect("[y/N]: ")
    screen.close()

    assert sandbox.world.store.effects == []


@pytest.mark.parametrize("command", [DISMISS, APPLY])
def test_yes_asks_nothing(
    program: Program, sandbox: RunningSandbox, command: str
) -> None:
    """With --yes there is no question, not even on a terminal."""
    screen = Terminal(program, *command.split(), "--yes")

    assert screen.end() == 0
    assert "[y/N]" not in screen.shown
    assert len(sandbox.world.store.effects) == 1


@pytest.mark.parametrize("command", [DISMISS, APPLY])
def test_nothing_to_dismiss_asks_nothing(
    program: Program, sandbox: RunningSandbox, command: str
) -> None:
    """Where all stays there is nothing to agree to."""
    add(sandbox, [a_listed("t1", "[TEST] for the board")])
    screen = Terminal(program, *command.split())

    assert screen.end() == 0
    assert "Nothing to dismiss." in screen.shown
    assert sandbox.world.store.effects == []


@pytest.mark.parametrize(("command", "code"), [(DISMISS, 0), (APPLY, 4)])
def test_what_was_vetoed_while_the_question_stood_stays(
    program: Program, sandbox: RunningSandbox, command: str, code: int
) -> None:
    """A yes is to what holds when it is carried out, not when it was asked."""
    screen = Terminal(program, *command.split())
    screen.expect("[y/N]: ")
    program.run("veto", "t1")
    screen.press("y\n")

    assert screen.end() == code
    assert sandbox.world.store.effects == []
    assert "t1 was left meanwhile: " in screen.shown


@pytest.mark.parametrize("command", [DISMISS, APPLY])
def test_the_cap_of_the_day_holds_beside_a_daemon(
    program: Program, sandbox: RunningSandbox, command: str
) -> None:
    """What a daemon dismisses while the question stands counts as well."""
    rules = program.rules.read_text()
    capped = rules.replace("min_age: 1m", "min_age: 1m, max_dismissals_per_day: 1")
    program.rules.write_text(capped)
    if command == APPLY:
        plan = program.directory / "plan.json"
        before = load_sha256(rules)
        plan.write_text(plan.read_text().replace(before, load_sha256(capped)))
    older = a_listed("t0", created_at="2025-12-31T00:00:00Z")
    screen = Terminal(program, *command.split())
    screen.expect("[y/N]: ")
    add(sandbox, [older])
    program.run("run", "--once")
    screen.press("y\n")
    screen.end()

    assert [effect.task_id for effect in sandbox.world.store.effects] == ["t0"]
    assert "t1 was left meanwhile: " in screen.shown


def load_sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()
