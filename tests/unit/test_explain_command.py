"""How ``explain`` tells what a rule that only observes did."""

import json
from pathlib import Path

from click.testing import CliRunner

from triaged.cli import app

RULES = """\
version: 1
rules:
  - name: watched
    mode: observe
    match: {description: lorem}
    dismiss: testing
  - name: enforced
    match: {type: contact_update}
    dismiss: not_relevant
"""


def explained(directory: Path, kind: str, form: str) -> str:
    rules, task = directory / "rules.yaml", directory / "task.json"
    rules.write_text(RULES)
    fields = {"id": "t1", "type": kind, "status": "pending", "description": "lorem"}
    task.write_text(json.dumps({**fields, "created_at": "2026-01-01T00:00:00Z"}))
    given = ["--task", str(task), "--rules", str(rules), "--format", form]
    done = CliRunner().invoke(app, ["explain", *given])

    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_rule_that_observes_never_dismissed_the_task(tmp_path: Path) -> None:
    """Only the enforced rule acts, although both match."""
    shown = json.loads(explained(tmp_path, "contact_update", "json"))

    assert [(rule["applied"], rule["effect"]) for rule in shown["rules"]] == [
        (False, "matched, which is only recorded"),
        (False, "would dismiss the task now"),
    ]


def test_a_task_that_is_only_observed_is_not_called_unmatched(tmp_path: Path) -> None:
    """A rule matched; that none is enforced is why the task is left."""
    shown = explained(tmp_path, "prospect_search", "table")

    assert "t1: leave: no enforced rule matched (observing: watched)" in shown
