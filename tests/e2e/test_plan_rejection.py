"""Plans that must not be applied, and what is said of each."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.commands import GOLDEN, INPUTS, NOW
from tests.e2e.inprocess import CommandLine, FixedClock, settings_for
from triaged.cli.plan_file import write_plan
from triaged.rulesfile.loader import load

# Nothing listens there: a plan that is refused must not cost a call.
NOWHERE: Final = "http://127.0.0.1:9/functions/v1/api-gateway"

ENTRY: Final = {
    "decision": "dismiss",
    "task_id": "t1",
    "content_sha256": "0" * 64,
    "rule": "clutter",
    "reason": "testing",
}

# A good plan with one thing changed, and why it is refused; these end with 1.
PLANS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "another workspace": (
        {"workspace": "other"},
        "it is of workspace 'other' at http",
    ),
    "another service": (
        {"api_url": "https://other.example"},
        "it is of workspace 'default' at https://other.example, not of 'default' at",
    ),
    "other rules": (
        {"rules_sha256": "0" * 64},
        "the rules have changed since; make a new plan",
    ),
    "yesterday's": (
        {"made_at": (NOW - timedelta(days=1)).isoformat()},
        "it was made at 2026-02-28 09:00:00Z; a plan is good for a day",
    ),
    "tomorrow's": (
        {"made_at": (NOW + timedelta(seconds=1)).isoformat()},
        "it was made at 2026-03-01 09:00:01Z; a plan is good for a day",
    ),
    "another version's": ({"version": 2}, "written by another version of triaged"),
    "another file": ({"kind": "list"}, "it is not a file that plan --out wrote"),
    "half a plan": ({"decisions": None}, "it is not whole"),
    "a leave": (
        {"decisions": [{"decision": "leave"}]},
        "it has an entry that is no dismissal",
    ),
    "one task twice": (
        {"decisions": [ENTRY, ENTRY]},
        "it has a task twice",
    ),
    "an edited entry": (
        {"decisions": [{"decision": "dismiss", "task_id": "t1"}]},
        "it is not whole: content_sha256 is missing",
    ),
}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name in INPUTS:
        shutil.copy(GOLDEN / name, tmp_path / name)
    clock = FixedClock(NOW)
    return CommandLine(tmp_path, monkeypatch, clock, settings_for(NOWHERE))


def a_plan(**changes: Any) -> str:
    text = write_plan(
        [],
        workspace="default",
        api_url=NOWHERE,
        made_at=NOW,
        rules_sha256=load(GOLDEN / "rules.yaml").ruleset.sha256,
    )
    return json.dumps({**json.loads(text), **changes})


def test_a_plan_that_fits_is_not_refused(command: CommandLine) -> None:
    """The plan that the others are made from gets as far as the API."""
    (command.directory / "plan.json").write_text(a_plan(decisions=[ENTRY]))

    assert command.run("apply", "plan.json", "--yes").code == 69


def test_a_plan_without_dismissals_costs_no_call(command: CommandLine) -> None:
    """There is nothing to compare with a list, and the message tells why."""
    (command.directory / "plan.json").write_text(a_plan())
    done = command.run("apply", "plan.json")

    assert (done.code, done.out) == (
        0,
        "Nothing to dismiss: plan.json contains no dismissals.\n",
    )


@pytest.mark.parametrize(
    ("rules", "code", "said"),
    [
        ("rules.bad.yaml", 78, "rules.bad.yaml:4:5: rules[0]: unknown key 'mach'"),
        ("rules.failing.yaml", 3, "'a search for tests stays': expected leave"),
        ("rules.good.yaml", 1, "the rules have changed since; make a new plan"),
    ],
)
def test_a_plan_is_nothing_without_its_rules(
    command: CommandLine, rules: str, code: int, said: str
) -> None:
    """Rules that are wrong, or other ones, keep a plan from being applied."""
    (command.directory / "plan.json").write_text(a_plan())
    done = command.run("apply", "plan.json", "--yes", "--rules", rules)

    assert done.code == code
    assert said in done.err


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_does_not_fit_is_refused(command: CommandLine, name: str) -> None:
    """A plan of elsewhere, of another day or of other hands is refused, and why."""
    changes, said = PLANS[name]
    (command.directory / "plan.json").write_text(a_plan(**changes))
    done = command.run("apply", "plan.json", "--yes")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("triaged: the plan is refused: ")
    assert said in done.err


@pytest.mark.parametrize("text", ["", "{", "version: 1", "[" * 100_000, '"\udcff"'])
def test_what_is_no_json_is_no_plan(command: CommandLine, text: str) -> None:
    """Any file can be given for a plan; none of them can hurt."""
    (command.directory / "plan.json").write_text(text, errors="surrogateescape")
    done = command.run("apply", "plan.json", "--yes")

    assert done.code == 1
    assert "the plan is refused: it is not" in done.err
