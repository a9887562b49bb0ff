"""The entry point of the program; handles signals from the first instruction on.

Nothing slow may be imported before the handlers are set: until the daemon installs its
own, a signal must neither kill it uncleanly nor, for process 1, be ignored.
"""

import signal
import sys

_INCOMPLETE = 4


def main() -> None:
    """Run ``triaged``."""
    if sys.argv[1:2] == ["run"]:
        _handle_early_signals(_INCOMPLETE if "--once" in sys.argv else 0)
    from triaged.cli import main as run  # noqa: PLC0415 - takes long to import

    run()


def _handle_early_signals(exit_code: int) -> None:
    """Exit with a code on SIGTERM and SIGINT; ignore SIGHUP until rules are loaded."""

    def end(*_: object) -> None:
        # Ignore further signals, so that the exit is not interrupted.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        sys.exit(exit_code)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


if __name__ == "__main__":
    main()
