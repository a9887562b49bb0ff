"""Every command block that can run does, and prints what the page shows."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import (
    PAGES,
    ROOT,
    Block,
    blocks,
    normal,
    run_blocks,
    with_outputs,
)
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.leadlex.models import PENDING
from triaged.sandbox.settings import DEFAULT_KEY, SandboxSettings

# These begin with nothing; the others with rules that have observed one cycle.
FROM_NOTHING = ("README.md", "first-hour.md")
INIT_RULES = ROOT / "triaged/cli/init.rules.yaml"


def _runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.is_run]


def _environment(home: Path, sandbox: RunningSandbox) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TRIAGED_API_URL": sandbox.api_url,
        "TRIAGED_API_KEY": DEFAULT_KEY,
        "TRIAGED_STATE_DIR": str(home / "state"),
        "TZ": "UTC",
    }


@pytest.mark.parametrize(
    "page", [p for p in PAGES if _runnable(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    """Each block ends with the exit code and the output that the page announces."""
    directory = tmp_path / "page"
    directory.mkdir()
    found = _runnable(page)
    before = []
    if page.name not in FROM_NOTHING:
        shutil.copy(INIT_RULES, directory / "rules.yaml")
        before = ["triaged run --once"]
    with running_sandbox(SandboxSettings(task_count=20, settled_ratio=1.0)) as sandbox:
        task_id = sandbox.world.store.ids(PENDING)[0]
        texts = [
            re.sub(r"\bTASK_ID\b", task_id, block.text).replace(".venv/bin/", "")
            for block in found
        ]
        results = run_blocks(
            [*before, *texts], directory, _environment(tmp_path, sandbox)
        )[len(before) :]

    for block, (code, output) in zip(found, results, strict=True):
        assert code == block.exit_code, f"{block.text}\n{output}"
    shown = {
        block.span: normal(output)
        for block, (_, output) in zip(found, results, strict=True)
        if block.expected is not None
    }
    if os.environ.get("TRIAGED_UPDATE_GOLDEN") == "1":
        page.write_text(with_outputs(page, shown))
    for block, (_, output) in zip(_runnable(page), results, strict=True):
        if block.expected is not None:
            assert normal(block.expected) == normal(output), block.text
