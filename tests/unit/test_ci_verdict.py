"""What the audit makes of pip-audit's answers: it must not take silence for safety."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

VERDICT: Final = Path(__file__).parents[2] / ".ci/verdict.py"
CLEAN: Final = {"name": "anyio", "version": "4.16.0", "vulns": []}
BAD: Final = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-1"}]}
UNKNOWN: Final = {"name": "click", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("canary", "ours", "code", "said"),
    [
        ([BAD], [CLEAN], 0, "nothing known of any of 1 requirements"),
        ([BAD], [CLEAN, BAD], 1, "jinja2 2.10: PYSEC-1"),
        ([CLEAN], [CLEAN], 2, "finds nothing in a version that is known"),
        ([UNKNOWN], [CLEAN], 2, "finds nothing in a version that is known"),
        ([BAD], [CLEAN, UNKNOWN], 2, "it knows nothing of click"),
        ([BAD], None, 2, "it knows nothing of any requirement"),
        (None, None, 2, "finds nothing in a version that is known"),
    ],
)
def test_verdict(tmp_path: Path, canary: Any, ours: Any, code: int, said: str) -> None:
    """Only a source that knows the known and all of ours is believed."""
    for name, found in (("canary", canary), ("ours", ours)):
        if found is not None:
            (tmp_path / name).write_text(json.dumps({"dependencies": found}))

    ended = subprocess.run(
        [sys.executable, VERDICT, tmp_path / "canary", tmp_path / "ours"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == code
    assert said in ended.stdout
