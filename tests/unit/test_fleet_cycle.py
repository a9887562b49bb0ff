"""A workspace of a fleet at work: a cycle by composed rules, explained afterwards."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.builders import T0
from tests.clocks import AutoAdvanceClock
from tests.e2e.harness import a_listed, add
from tests.sandbox_server import running_sandbox
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import settings_of
from triaged.ledger import Ledger
from triaged.rulesfile.loader import load_rules
from triaged.sandbox.settings import DEFAULT_KEY, SandboxSettings
from triaged.settings import read_settings
from triaged.triage.stored_explanation import stored_explanation
from triaged.workspace import open_workspace

FLEET: Final = """version: 1
defaults: {rules: [base.yaml, acme.yaml]}
workspaces:
  - {name: acme, api_url: URL, key: {env: ACME_KEY}, api_plan: pro}
"""
BASE: Final = r"""version: 1
rules:
  - {name: clutter, match: {description: '^\[TEST\]'}, dismiss: testing}
"""
ACME: Final = """version: 1
protect: [{description: {words: {file: clients.txt}}}]
rules:
  - {name: calls, match: {description: {words: cold call}}, dismiss: not_relevant}
"""


@pytest.mark.anyio
async def test_a_cycle_by_composed_rules_is_explained_afterwards(
    tmp_path: Path,
) -> None:
    """Both files decide; later their stored text explains, whatever the files say."""
    for name, text in (("base", BASE), ("acme", ACME)):
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "clients.txt").write_text("globex\n")
    clock = AutoAdvanceClock()
    sandbox_settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(sandbox_settings, clock) as sandbox:
        (tmp_path / "fleet.yaml").write_text(FLEET.replace("URL", sandbox.api_url))
        texts = {"a": "[TEST] x", "b": "a cold call", "c": "[TEST] for Globex"}
        add(sandbox, [a_listed(task_id, text) for task_id, text in texts.items()])
        base = read_settings({"TRIAGED_STATE_DIR": str(tmp_path / "state")}, {})
        (fleet_workspace,) = load_fleet(tmp_path, {"ACME_KEY": DEFAULT_KEY}).workspaces
        settings = settings_of(fleet_workspace, base)
        rules, _ = load_rules(*settings.rules, now=T0)
        async with open_workspace(settings, clock) as workspace:
            cycle = workspace.cycle(dry_run=False)
            report = await cycle.run(lambda: rules, stop=asyncio.Event())
    for name in ("base.yaml", "acme.yaml", "clients.txt"):
        (tmp_path / name).unlink()
    with Ledger.open(settings.state_dir, workspace="acme") as ledger:
        stored = stored_explanation(ledger, "c")

    assert {a.request.task.id: a.request.rule for a in report.attempts} == {
        "a": "clutter",
        "b": "calls",
    }
    assert stored is not None
    assert stored["decision"]["cause"] == "protected"
    assert [rule["rule"] for rule in stored["rules"]] == ["clutter", "calls"]
