"""Every command block that can run does, and prints what the page shows."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import (
    PAGES,
    ROOT,
    Block,
    Result,
    blocks,
    commands,
    normal,
    run_in_shell,
    with_outputs,
)
from tests.e2e.inprocess import CommandLine, FixedClock
from tests.sandbox_server import running_sandbox
from triaged.leadlex.models import PENDING
from triaged.sandbox.settings import DEFAULT_KEY, SandboxSettings

# These begin with nothing; the others with rules that have observed one cycle.
FROM_NOTHING = ("README.md", "first-hour.md")
INIT_RULES = ROOT / "triaged/cli/init.rules.yaml"


def _runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.is_run]


def _run(text: str, command: CommandLine) -> Result:
    """Run a block; what needs no shell runs in this process, which is quicker."""
    given = commands(text)
    if given is None:
        return run_in_shell(text, command.directory, command.settings)
    output, code = "", 0
    for arguments in given:
        said = command.run(*arguments)
        output, code = output + said.out + said.err, said.code
        if code:
            break
    return Result(code, output)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if _runnable(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_commands_of_a_page_work(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block ends with the exit code and the output that the page announces."""
    clock = FixedClock()
    settings = SandboxSettings(task_count=20, settled_ratio=1.0)
    with running_sandbox(settings, clock) as sandbox:
        environ = {
            "HOME": str(tmp_path),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TRIAGED_API_URL": sandbox.api_url,
            "TRIAGED_API_KEY": DEFAULT_KEY,
            "TRIAGED_STATE_DIR": "state",
            "TZ": "UTC",
        }
        command = CommandLine(tmp_path, monkeypatch, clock, environ)
        if page.name not in FROM_NOTHING:
            shutil.copy(INIT_RULES, tmp_path / "rules.yaml")
            assert command.run("run", "--once").code == 0
        task_id = sandbox.world.store.ids(PENDING)[0]
        found = _runnable(page)
        results = []
        for block in found:
            results.append(_run(block.text.replace("TASK_ID", task_id), command))
            assert results[-1].code == block.exit_code, (block.text, results[-1].output)

    if os.environ.get("TRIAGED_UPDATE_GOLDEN") == "1":
        shown = {
            block.span: normal(result.output)
            for block, result in zip(found, results, strict=True)
            if block.expected is not None
        }
        page.write_text(with_outputs(page, shown))
    for block, result in zip(_runnable(page), results, strict=True):
        if block.expected is not None:
            assert normal(block.expected) == normal(result.output)
