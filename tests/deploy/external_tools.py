"""The programs that deploy/ is tested with, and what happens where one is missing."""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
HERE: Final = Path(__file__).parent
PARTS: Final = Path(os.environ.get("TRIAGED_PARTS") or ROOT / "build/parts").resolve()

# Set where everything must be there: a missing part is a failure, not a skip.
REQUIRED: Final = os.environ.get("TRIAGED_REQUIRE_REAL_PARTS") == "1"

Completed = subprocess.CompletedProcess[str]


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where all parts are required."""
    why = f"{what} is missing; tests/deploy/install_parts.sh installs it"
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


def need_program(name: str) -> str:
    """Return where a program of the machine is."""
    return shutil.which(name) or missing(name)


def need_tool(path: str) -> Path:
    """Return where something is that install_parts.sh put into its own directory."""
    part = PARTS / path
    return part if part.exists() else missing(path)


def need_root() -> None:
    """Skip unless namespaces can be made."""
    if os.geteuid() != 0:
        missing("root")


def run(
    *command: str | Path,
    ok: Sequence[int] = (0,),
    seconds: float = 60,
    cwd: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Completed:
    """Run a command to its end; any other exit status fails with what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        input=stdin,
    )
    assert done.returncode in ok, (command, done.returncode, done.stdout, done.stderr)
    return done


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def load_yaml(path: Path) -> Any:
    """Read a file of one YAML document."""
    return yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
