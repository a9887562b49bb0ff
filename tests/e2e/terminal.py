"""A program on a pseudo-terminal, as a person sits before it."""

import codecs
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any, Final

from tests.e2e.harness import PATIENCE, Program

CTRL_C = "\x03"
CTRL_D = "\x04"
_ASLEEP_LOOKS: Final = 3

# Ctrl-C is a signal only to those whose own terminal it comes from.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """A program on a pseudo-terminal, and what it has shown so far."""

    def __init__(self, program: Program, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", _TAKE_TERMINAL, "-m", "triaged", *arguments],
            env=program.environ(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.shown = ""
        self._read_so_far = 0

    def expect(self, text: str) -> None:
        """Read until the terminal shows a text beyond what was expected before."""
        until = time.monotonic() + PATIENCE
        while (at := self.shown.find(text, self._read_so_far)) < 0:
            assert time.monotonic() < until, (text, self.shown)
            self._read()
        self._read_so_far = at + len(text)

    def press(self, keys: str) -> None:
        """Type, once the program waits for it."""
        if CTRL_C in keys:
            # A signal just before it begins to read would be seen only after.
            self._wait_until_it_sleeps()
        os.write(self._master, keys.encode())

    def _wait_until_it_sleeps(self) -> None:
        until, asleep = time.monotonic() + PATIENCE, 0
        while asleep < _ASLEEP_LOOKS:
            assert time.monotonic() < until, self.shown
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
            asleep = asleep + 1 if stat.rpartition(")")[2].split()[0] == "S" else 0
            select.select([], [], [], 0.02)

    def is_running(self) -> bool:
        """Return whether the program has not ended yet."""
        return self._process.poll() is None

    def read_more(self) -> str:
        """Return the lines that are whole by now, beyond what was expected before."""
        self._read()
        end = self.shown.rfind("\n") + 1
        more = self.shown[self._read_so_far : end]
        self._read_so_far = max(end, self._read_so_far)
        return more

    def modes(self) -> list[Any]:
        """Return how the terminal treats keys at this moment."""
        return termios.tcgetattr(self._master)[:4]

    def close(self) -> None:
        """Hang up, as a closed window does."""
        os.close(self._master)
        self._process.wait(PATIENCE)

    def end(self) -> int:
        """Read the rest and return the exit code."""
        code = self._process.wait(PATIENCE)
        while self._read():
            pass
        os.close(self._master)
        return code

    def _read(self) -> bytes:
        ready, _, _ = select.select([self._master], [], [], 0.2)
        try:
            read = os.read(self._master, 4096) if ready else b""
        except OSError:
            return b""
        self.shown += self._decoder.decode(read)
        return read
