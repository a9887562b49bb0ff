"""Real parts of the machine: where one is missing a test skips, and in CI it fails."""

import os
import shutil
from typing import Final

import pytest

REQUIRED: Final = os.environ.get("TRIAGED_REQUIRE_REAL_PARTS") == "1"


def need(*programs: str, root: bool = False) -> None:
    """Skip unless these programs are here; fail instead where CI requires them."""
    missing = [name for name in programs if shutil.which(name) is None]
    why = f"not on this machine: {', '.join(missing)}" if missing else ""
    if root and os.geteuid() != 0:
        why = "needs root"
    if why and REQUIRED:
        pytest.fail(why)
    if why:
        pytest.skip(why)
