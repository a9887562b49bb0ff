"""The entry point of the program; handles signals from the first instruction on.

Nothing slow may be imported before the handlers are set: until the daemon installs its
own, a signal must neither kill it uncleanly nor, for process 1, be ignored.
"""

import os
import signal
import sys

_INCOMPLETE = 4


def main() -> None:
    """Run ``triaged``."""
    is_run = sys.argv[1:2] == ["run"]
    is_interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_run:
        _handle_early_signals(_INCOMPLETE if "--once" in sys.argv else 0)
    elif is_interruptible:
        # Ctrl-C during the imports ends the program, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from triaged.cli import main as run  # noqa: PLC0415 - takes long to import

    if not is_run and is_interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        if is_run:
            # The exit code is settled; Python would put back handlers that kill.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _handle_early_signals(exit_code: int) -> None:
    """Exit with a code on SIGTERM and SIGINT; ignore SIGHUP until rules are loaded.

    The exit is immediate: an exception may be raised in a place where Python prints and
    ignores it, such as a callback of an import, and the daemon would go on. What is
    open is left as after ``kill -9``, which loses nothing.
    """

    def end(*_: object) -> None:
        os._exit(exit_code)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


if __name__ == "__main__":
    main()
