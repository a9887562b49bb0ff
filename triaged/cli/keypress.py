"""Single keys from a terminal, as they are pressed."""

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Final

# Ctrl-C, Ctrl-D, and what a terminal that is gone reads as.
_QUIT_KEYS: Final = frozenset({"\x03", "\x04", ""})


@contextlib.contextmanager
def cbreak_mode() -> Iterator[None]:
    """Read keys as they are pressed, also those that are typed ahead."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    mode = termios.tcgetattr(descriptor)
    # Ctrl-C comes as a key: a dismissal under way is not cut in two.
    mode[3] &= ~termios.ISIG
    termios.tcsetattr(descriptor, termios.TCSANOW, mode)
    try:
        yield
    finally:
        # A terminal that is gone needs no repair.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_key(known: str) -> str | None:
    """Wait for one of these keys; None when the person leaves instead."""
    while True:
        try:
            pressed = os.read(sys.stdin.fileno(), 1).decode("ascii", "replace").lower()
        except OSError:
            return None
        if pressed in _QUIT_KEYS:
            return None
        if pressed in known:
            return pressed
