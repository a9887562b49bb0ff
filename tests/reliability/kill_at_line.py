"""Runs triaged and kills it at one line; the product has no hook for this.

``python -m tests.reliability.kill_at_line triage/cycle.py:120:3 run --once`` dies by
SIGKILL just before line 120 of ``triaged/triage/cycle.py`` runs for the third time.
With ``survey:PATH`` instead it writes which lines were reached, and how often.
"""

import importlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import triaged

ROOT: Final = Path(triaged.__file__).parent

# The modules that a cycle runs through.  Pure ones have no crash points of their own.
_PURE: Final = frozenset({"guard.py", "agreement.py", "backtest.py", "reconcile.py"})
_MODULES: Final = (
    "triage/*.py",
    "ledger/*.py",
    "leadlex/connection.py",
    "leadlex/writer.py",
)
STEPS: Final = tuple(
    path.relative_to(ROOT).as_posix()
    for pattern in _MODULES
    for path in sorted(ROOT.glob(pattern))
    if path.name not in _PURE
)


class _Steps:
    """Reports every line of these modules that is about to run."""

    def __init__(self, reached: Callable[[str, int], None]) -> None:
        self._names = {str(ROOT / name): name for name in STEPS}
        self._reached = reached

    def called(self, frame: FrameType, event: str, _: Any) -> Any:
        known = event == "call" and frame.f_code.co_filename in self._names
        return self._line if known else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            name = self._names[frame.f_code.co_filename]
            self._reached(name, frame.f_lineno)
        return self._line


def _survey(counted: Counter[str]) -> None:
    def reached(name: str, line: int) -> None:
        counted[f"{name}:{line}"] += 1

    sys.settrace(_Steps(reached).called)


def _die(name: str, line: int, times: int) -> None:
    left = times

    def reached(where: str, number: int) -> None:
        nonlocal left
        if number == line and where == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.settrace(_Steps(reached).called)


def main() -> None:
    """Trace from here on, and become triaged."""
    # What an import runs is no step.
    for name in STEPS:
        dotted = name.removesuffix(".py").replace("/", ".")
        importlib.import_module(f"triaged.{dotted}")
    spot = sys.argv[1]
    sys.argv = ["triaged", *sys.argv[2:]]
    counted = Counter[str]()
    if spot.startswith("survey:"):
        _survey(counted)
    else:
        name, line, times = spot.split(":")
        _die(name, int(line), int(times))
    try:
        importlib.import_module("triaged.cli").main()
    finally:
        sys.settrace(None)
        if spot.startswith("survey:"):
            Path(spot.removeprefix("survey:")).write_text(json.dumps(counted))


if __name__ == "__main__":
    main()
