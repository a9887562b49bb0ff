"""What people read of a plan; ``TRIAGED_UPDATE_GOLDEN=1`` writes it anew."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from triaged.cli import COMMAND_MODULES, app

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/rules.yaml"))
NOW = "2026-03-01T00:00:00Z"


def plan(case: str, form: str) -> tuple[int, str]:
    folder = GOLDEN / case
    given = [
        "--tasks",
        str(folder / "tasks.json"),
        "--rules",
        str(folder / "rules.yaml"),
    ]
    done = CliRunner().invoke(app, ["plan", *given, "--now", NOW, "--format", form])
    return done.exit_code, done.stdout


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("case", CASES)
def test_a_plan_reads_as_before(case: str, form: str) -> None:
    """Table and JSON of a plan are what they were when somebody last read them."""
    code, shown = plan(case, form)
    path = GOLDEN / case / f"plan.{'txt' if form == 'table' else 'json'}"
    text = f"exit code {code}\n{shown}" if form == "table" else shown
    if os.environ.get("TRIAGED_UPDATE_GOLDEN") == "1":
        path.write_text(text)

    assert path.read_text() == text


@pytest.mark.parametrize("case", CASES)
def test_a_plan_has_one_row_a_task_in_the_order_listed(case: str) -> None:
    """The JSON plan accounts for every entry of the list, malformed ones too."""
    listed = json.loads((GOLDEN / case / "tasks.json").read_text())["data"]["tasks"]
    decisions = json.loads(plan(case, "json")[1])["decisions"]
    ids = [t.get("id") or None if isinstance(t, dict) else None for t in listed]

    assert [decision["task_id"] for decision in decisions] == ids


@pytest.mark.parametrize("command", COMMAND_MODULES)
def test_every_command_explains_itself(command: str) -> None:
    """--help works for each command and names its settings' variables."""
    done = CliRunner().invoke(app, [command, "--help"])

    assert done.exit_code == 0
    assert f"Usage: app {command}" in done.stdout or command in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--now", "yesterday"],
        ["plan", "--tasks", "/nowhere", "--rules", str(GOLDEN / "mixed/rules.yaml")],
        ["plan", "--format", "yaml"],
        ["explain"],
        ["explain", "t1", "--task", "x.json"],
        ["history", "--since", "long ago"],
        ["history", "--outcome", "fine"],
        ["sandbox", "--fault", "dismiss:nonsense"],
        ["sandbox", "--minute-window", "soon"],
        ["nonsense"],
    ],
)
def test_wrong_use_is_said_and_ends_with_2(arguments: list[str]) -> None:
    """A wrong use says what is wrong, and changes nothing."""
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 2
    assert "Error" in done.output
