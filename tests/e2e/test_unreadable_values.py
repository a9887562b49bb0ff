"""A value that cannot be represented costs its own task, in every command."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import Program

RULES: Final = """version: 1
safety: {min_age: 0s}
rules:
  - name: without-limit
    match: {metadata: {limit: {missing: true}}}
    dismiss: testing
  - name: small
    match: {not: {metadata: {limit: {over: 5}}}}
    dismiss: testing
"""
VALUES: Final = {
    "more digits than Python converts": "9" * 4_301,
    "a negative one of these": "-" + "9" * 4_301,
    "more than a float holds": "1e999",
    "no number": "NaN",
    "infinity": "-Infinity",
    "two values": '1,"limit":2',
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_it_costs_its_own_task(program: Program, tmp_path: Path, value: str) -> None:
    """The others are decided; it is left, counts as there, and can be explained."""
    program.rules.write_text(RULES)
    listed = (
        '{"id":"odd","type":"prospect_search","status":"pending","description":"x",'
        f'"created_at":"2026-01-01T00:00:00Z","metadata":{{"limit":{value}}}}}'
    )
    plain = listed.replace('"odd"', '"plain"').replace(f'"limit":{value}', "")
    tasks = tmp_path / "tasks.json"
    tasks.write_text(f'{{"data":{{"tasks":[{listed},{plain}]}}}}')
    task = tmp_path / "task.json"
    task.write_text(listed)

    plan = program.run("plan", "--tasks", str(tasks), "--format", "json")
    explained = program.run("explain", "--task", str(task))

    decisions = json.loads(plan.stdout)["decisions"]
    assert plan.returncode == 0
    assert [(each["task_id"], each["decision"]) for each in decisions] == [
        ("odd", "leave"),
        ("plain", "dismiss"),
    ]
    assert explained.returncode == 0
    assert "Traceback" not in plan.stderr + explained.stderr
