"""``triaged check``: what it prints of conditions that no test is about."""

import itertools
import json
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from triaged.cli import app
from triaged.clock import SystemClock
from triaged.rulesfile.lint.mutation import MAX_SECONDS

ROOT: Final = Path(__file__).parents[2]
RULES: Final = """\
version: 1
rules:
  - {name: people, match: {type: campaign_start}, leave: true}
  - name: clutter
    match: {description: '^\\[TEST\\]', age: {over: 1d}}
    dismiss: testing
tests:
  - name: an old test goes
    task: {type: contact_update, description: '[TEST] x', age: 2d}
    expect: {decision: dismiss, rule: clutter}
  - name: a young test stays
    task: {type: contact_update, description: '[TEST] x', age: 1h}
    expect: {decision: leave}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def check(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return done.exit_code, done.stdout


def as_json(*arguments: str | Path) -> tuple[int, Any]:
    code, text = check(*arguments, "--format", "json")
    return code, json.loads(text)


def test_a_survivor_is_printed_as_the_test_to_add(rules: Path) -> None:
    """Appended to the file as printed, it leaves nothing to say."""
    code, text = check("--mutate", "--strict", rules)
    entry = "\n".join(line for line in text.splitlines() if line.startswith("  "))

    assert code == 78
    assert "no test notices without description /^\\[TEST\\]/; add this to" in text
    rules.write_text(f"{RULES}{entry}\n")
    code, text = check("--mutate", "--strict", rules)
    assert code == 0
    assert "3 of 3 tests passed" in text


def test_the_test_to_add_is_in_the_json(rules: Path) -> None:
    """It stands in the problem, as what a test has."""
    _, found = as_json("--mutate", rules)

    (problem,) = found["problems"]
    assert problem["severity"] == "warning"
    assert problem["test"] == {
        "name": "clutter: not without description /^\\[TEST\\]/",
        "task": {
            "type": "contact_update",
            "description": "x[TEST] x",
            "age": "2d",
        },
        "expect": {"decision": "leave", "cause": "no_rule"},
    }


def test_where_no_test_is_found_it_says_what_to_look_for(rules: Path) -> None:
    """A condition that cannot be seen to matter is still named."""
    never = "not: {type: campaign_start}, description"
    rules.write_text(RULES.replace("match: {description", f"match: {{{never}"))

    _, found = as_json("--mutate", rules)

    problem = next(p for p in found["problems"] if "campaign_start" in p["message"])
    assert "add a test of a task that lacks only this" in problem["message"]
    assert "test" not in problem


def test_protection_is_tried_too(rules: Path) -> None:
    """A protect entry that could go with all tests passing is named."""
    rules.write_text(
        RULES.replace("rules:\n", "protect:\n  - description: '(?i)board'\nrules:\n", 1)
    )

    code, text = check("--mutate", "--strict", rules)

    assert code == 78
    assert "protect[0]: no test notices without description /(?i)board/" in text
    assert "expect: {decision: leave, cause: protected}" in text


def test_many_alternatives_take_no_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is up, the table and JSON state what was tried and left out."""
    seconds = itertools.count()
    monkeypatch.setattr(SystemClock, "monotonic", lambda _: float(next(seconds)))
    path = tmp_path / "rules.yaml"
    words = ", ".join(f"'word {n}'" for n in range(40))
    path.write_text(
        RULES.replace("age: {over: 1d}", f"not: {{description: [{words}]}}").replace(
            "age: 1h", "age: 1h, status: completed"
        )
    )

    _, found = as_json("--mutate", path)
    _, text = check("--mutate", "--verbose", path)

    assert sum(found["mutants"].values()) == 41
    assert found["mutants"]["tried"] == MAX_SECONDS - 1
    assert f"{path}: note: --mutate tried {found['mutants']['tried']} of 41" in text
    assert "not tried" in text.splitlines()[-1]


def test_without_mutate_nothing_is_said_of_it(rules: Path) -> None:
    """Loosening is asked for."""
    assert "no test notices" not in check(rules)[1]


def test_a_file_whose_tests_fail_is_not_loosened(rules: Path) -> None:
    """First its tests must pass; then they can be told apart from those of mutants."""
    rules.write_text(RULES.replace("age: 1h", "age: 3d"))

    code, text = check("--mutate", rules)

    assert code == 3
    assert "no test notices" not in text


def test_the_example_has_a_test_for_each_condition() -> None:
    """What newcomers copy is what we ask of them: check it as hard as can be."""
    code, text = check("--mutate", "--strict", ROOT / "rules.example.yaml")

    assert code == 0
    assert "warning" not in text
