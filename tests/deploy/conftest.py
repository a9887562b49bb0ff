"""What the tests of deploy/ share; the live ones run with ``pytest -m deploy``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import containers
from tests.deploy.external_tools import PARTS, need_tool, run
from tests.deploy.stack import Stack, running_stack
from triaged import __version__


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment that can be moved, with the product in it."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run("cp", "-a", need_tool("machine"), venv)
    run(
        PARTS / "venv/bin/uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--refresh-package=triaged",  # or uv takes the wheel that it built last time
        "--python",
        venv / "bin/python",
        ".",
    )
    return venv


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run a daemon, a sandbox, Prometheus and Alertmanager once for all tests."""
    with running_stack(tmp_path_factory.mktemp("stack")) as made:
        yield made


@pytest.fixture(scope="session")
def built_image() -> None:
    """Build the image once, as a release."""
    containers.build(__version__, containers.pinned_base())
