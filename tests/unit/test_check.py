"""``triaged check``: what it prints of overlaps and of conditions that nobody tests."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from triaged.cli import app

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


def test_an_overlap_is_noted_and_no_problem(rules: Path) -> None:
    """The order settles it, so that even --strict lets it pass."""
    code, text = check("--strict", rules)

    assert code == 0
    (note,) = text.splitlines()[1:]
    assert note == (
        f"{rules}:4: note: clutter means this as well, but people before it decides:"
        " {type: campaign_start, description: '[TEST]', age: 2d}"
    )


def test_an_overlap_that_a_test_shows_is_not_noted(rules: Path) -> None:
    """Whoever wrote that test knows who decides; the JSON still has it."""
    rules.write_text(
        f"{RULES}  - name: people decide\n"
        "    task: {type: campaign_start, description: '[TEST]', age: 2d}\n"
        "    expect: {decision: leave, rule: people}\n"
    )
    _, text = check(rules)
    _, found = as_json(rules)

    assert "note:" not in text
    assert [overlap["tested"] for overlap in found["overlaps"]] == [True]


def test_an_overlap_is_in_the_json_but_not_among_the_problems(rules: Path) -> None:
    """It has a key of its own, with the task as JSON."""
    code, found = as_json("--strict", rules)

    assert code == 0
    assert found["problems"] == []
    assert found["tests"] == {"passed": 2, "failed": 0, "failures": []}
    assert found["overlaps"] == [
        {
            "file": str(rules),
            "line": 4,
            "rule": "clutter",
            "earlier": "people",
            "tested": False,
            "task": {"type": "campaign_start", "description": "[TEST]", "age": "2d"},
        }
    ]
    assert found["overlaps_cut"] is False


def test_many_overlaps_are_counted_and_not_all_printed(tmp_path: Path) -> None:
    """The table stays readable, and says how many there are besides."""
    path = tmp_path / "rules.yaml"
    more = "".join(
        f"  - {{name: r{n}, match: {{description: 'w{n} '}}, {what}}}\n"
        for n in range(40)
        for what in [("leave: true", "mode: observe, dismiss: testing")[n % 2]]
    )
    path.write_text(f"version: 1\nrules:\n{more}")

    _, text = check(path)
    _, found = as_json(path)

    assert text.count("means this as well") == 20
    assert "note: 80 more overlaps; --format json lists them" in text
    assert "not all were searched" in text
    assert len(found["overlaps"]) == 100
    assert found["overlaps_cut"] is True


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
            "description": "Find 20 lawyers in Munich",
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
