"""The command line in this process, at a moment that the test says: quick and fixed."""

import io
import json
import os
import pwd
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# Logs go to the stderr of the first import, which must not be one of ours.
import triaged.cli.log_setup  # noqa: F401
from tests.builders import T0
from tests.e2e.harness import KEY
from triaged.cli import main
from triaged.clock import SystemClock


class FixedClock(SystemClock):
    """The wall clock stands where it was put; waiting goes on as ever."""

    def __init__(self, now: datetime = T0) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class CommandLine:
    """Runs commands in a directory of their own, with settings of their own."""

    directory: Path
    patch: pytest.MonkeyPatch
    clock: FixedClock
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patch.chdir(self.directory)
        # Every clock that a command makes for itself shows the test's time.
        self.patch.setattr(SystemClock, "now", lambda _: self.clock.at)
        self.patch.setattr(
            SystemClock, "monotonic", lambda _: self.clock.at.timestamp()
        )

    def run(self, *arguments: str, stdin: str = "") -> Said:
        """Run a command to its end, as the installed program would."""
        out, err = _stream(), _stream()
        with self.patch.context() as patch:
            patch.setattr(sys, "argv", ["triaged", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            # Pauses and vetoes name who made them.
            patch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="ann"))
            patch.delenv("SUDO_USER", raising=False)
            _set_environment(patch, self.settings)
            with redirect_stdout(out), redirect_stderr(err):
                code = _code()
        return Said(code, _text(out), _text(err))


def settings_for(api_url: str) -> dict[str, str]:
    """Return the settings of a program that nothing holds back."""
    return {
        "TRIAGED_API_URL": api_url,
        "TRIAGED_API_KEY": KEY,
        "TRIAGED_STATE_DIR": "state",
        "TRIAGED_RATE_LIMIT": "10000/1m",
        "TRIAGED_DAILY_LIMIT": "100000",
    }


def _set_environment(patch: pytest.MonkeyPatch, settings: Mapping[str, str]) -> None:
    for name in list(os.environ):
        if name.startswith(("TRIAGED_", "XDG_", "CREDENTIALS_", "STATE_")):
            patch.delenv(name)
    for name, value in settings.items():
        patch.setenv(name, value)


def _code() -> int:
    try:
        main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(bool(error.code))
    return 0


def _stream() -> io.TextIOWrapper:
    # As strict as a real one: what cannot be encoded fails.
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
