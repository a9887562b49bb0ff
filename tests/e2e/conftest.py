"""A sandbox without limits and the program that talks to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Program
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as running:
        yield running


@pytest.fixture
def program(tmp_path: Path, sandbox: RunningSandbox) -> Program:
    return Program(tmp_path, sandbox.api_url)
