"""Reads single key presses from a terminal."""

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Final

# Ctrl-C, Ctrl-D, and end of file from a closed terminal.
_QUIT_KEYS: Final = frozenset({"\x03", "\x04", ""})


@contextlib.contextmanager
def cbreak_mode() -> Iterator[None]:
    """Deliver keys as they are pressed, without losing typed-ahead input."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    mode = termios.tcgetattr(descriptor)
    # Ctrl-C is read as a key, so that it does not interrupt a dismissal.
    mode[3] &= ~termios.ISIG
    termios.tcsetattr(descriptor, termios.TCSANOW, mode)
    try:
        yield
    finally:
        # A closed terminal needs no restoring.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_key(known: str) -> str | None:
    """Wait for one of these keys and return it; None if the user quits."""
    while True:
        try:
            pressed = os.read(sys.stdin.fileno(), 1).decode("ascii", "replace").lower()
        except OSError:
            return None
        if pressed in _QUIT_KEYS:
            return None
        if pressed in known:
            return pressed
