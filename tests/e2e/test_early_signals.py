"""Signals from the first instruction to the last, where exceptions are ignored too."""

import subprocess
import sys
from typing import Final

import pytest

# Python prints what a callback raises and goes on, as in the locks of its imports.
IN_A_CALLBACK: Final = """
import os, signal, sys, weakref
from triaged import __main__ as program

class Lock:
    pass

sys.argv = ["triaged", "run", *sys.argv[2:]]
program._handle_early_signals(int(sys.argv[-1]))
lock = Lock()
dying = weakref.ref(lock, lambda _: os.kill(os.getpid(), signal.SIGTERM))
del lock
print("goes on")
"""
# Raises SIGINT while the program is imported.
WHILE_IMPORTING: Final = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "triaged.cli":
            os.kill(os.getpid(), signal.SIGINT)

from triaged import __main__ as program
sys.meta_path.insert(0, Interrupt())
sys.argv = ["triaged", "plan"]
program.main()
"""

# Raises SIGTERM when the interpreter has put its own handlers away.
WHILE_ENDING: Final = """
import os, signal, sys
from triaged import __main__ as program

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
        kill(pid, number)

late = Late()
sys.argv = ["triaged", "run", "--help"]
program.main()
"""


@pytest.mark.parametrize("code", [0, 4])
def test_a_signal_where_an_exception_would_be_ignored(code: int) -> None:
    """A daemon that is told to end during an import ends, rather than dismiss."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CALLBACK, "run", str(code)],
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_ctrl_c_during_the_imports() -> None:
    """It ends a command as any other program, not with a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", WHILE_IMPORTING], capture_output=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (-2, b"", b"")


def test_a_signal_at_the_very_end() -> None:
    """What is done is done: the exit code stays."""
    done = subprocess.run(
        [sys.executable, "-c", WHILE_ENDING], capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")
