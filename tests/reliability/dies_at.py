"""Runs triaged and dies by SIGKILL at one line of it; the product has no hook for it.

``python -m tests.reliability.dies_at cycle.py:120:3 run --once`` dies just before line
120 of ``triaged/triage/cycle.py`` runs for the third time.  With ``survey:PATH``
instead it writes which lines were reached, and how often.
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

# What a cycle consists of; what only computes has no crash points of its own.
STEPS: Final = (
    "cycle.py",
    "flights.py",
    "gate.py",
    "meter.py",
    "orders.py",
    "settle.py",
    "leadlex/client.py",
    "leadlex/writer.py",
    "ledger/dismissals.py",
    "ledger/judgements.py",
    "ledger/lock.py",
    "ledger/marks.py",
    "ledger/store.py",
)


class _Steps:
    """Sees every line of the steps, and hands it on."""

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
