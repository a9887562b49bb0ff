"""Handles standard streams that are closed, full, non-blocking or not Unicode.

A closed stream behaves like ``/dev/null``. Characters that a stream cannot encode are
replaced. A failed write to standard output raises ``OutputError``; one to standard
error loses the line.
"""

import codecs
import contextlib
import io
import os
import select
import sys
from typing import Final, TextIO

from triaged.errors import TriagedError, os_reason

STDOUT: Final = 1
STDERR: Final = 2
_REPLACE: Final = "triaged.replace"
# ASCII replacements of the program's own symbols.
_ASCII: Final = str.maketrans(
    {
        "…": "...",
        "—": "-",
        "─": "-",
        "·": "*",
        "✓": "+",
        "✗": "x",
        "≥": ">=",
        "≤": "<=",
    }
)


class OutputError(TriagedError):
    """Standard output cannot be written, so the output of the command is lost."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"standard output cannot be written: {problem}")


def prepare_streams() -> None:
    """Make the standard streams fit to write to; called once, before anything opens."""
    codecs.register_error(_REPLACE, _replace)
    _occupy_closed_descriptors()
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stdout = _prepared(sys.stdout, STDOUT)
    sys.stderr = _prepared(sys.stderr, STDERR)


def flush_output() -> None:
    """Flush the buffers while a failure can still be reported, by ``OutputError``."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(_problem(error)) from error
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def discard_output() -> None:
    """Discard the buffers, because Python would try to flush them again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OutputError, OSError):
            os.dup2(null, stream.fileno())
    os.close(null)


def require_output() -> None:
    """Raise ``OutputError`` if a result cannot be printed, before a call is spent."""
    flush_output()
    try:
        descriptor = sys.stdout.fileno()
        # /dev/full rejects even an empty write; a pipe without a reader must be polled.
        os.write(descriptor, b"")
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise OutputError("its reader is gone")
    except io.UnsupportedOperation:
        return
    except BlockingIOError:
        return
    except OSError as error:
        raise OutputError(_problem(error)) from error


def shows_unicode(stream: TextIO) -> bool:
    """Return whether a stream can encode every character."""
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def _occupy_closed_descriptors() -> None:
    """Open ``/dev/null`` on descriptors 0 to 2 where they are closed.

    Otherwise the next opened file, such as the ledger, would become "stdout".
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003
    os.close(descriptor)


def _prepared(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is not None:
        try:
            real = stream.fileno() == descriptor
        except (OSError, ValueError):
            real = False
        if not real:
            # A stream that was replaced by the caller (such as a test) is left alone.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=_REPLACE)
            return stream
        if isinstance(stream.buffer, io.BufferedWriter) and isinstance(
            stream.buffer.raw, _Descriptor
        ):
            return stream
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(descriptor)),  # type: ignore[type-var]
        encoding=_encoding(stream),
        errors=_REPLACE,
        line_buffering=descriptor == STDERR or os.isatty(descriptor),
        write_through=isinstance(stream, io.TextIOWrapper) and stream.write_through,
    )


def _encoding(stream: TextIO | None) -> str:
    return (stream.encoding if stream is not None else None) or "utf-8"


def _problem(error: OSError) -> str:
    if isinstance(error, BrokenPipeError):
        return "its reader is gone"
    return os_reason(error)


class _Descriptor(io.FileIO):
    """The descriptor of a standard stream; waits when a write would block."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Write some of the data; raise ``OutputError`` if standard output fails.

        What standard error does not take is lost. If it raised, each warning could
        stop a command, and the first one that is forgotten stops an emergency stop.
        """
        while True:
            try:
                written = super().write(data)
            except OSError as error:
                if self.fileno() == STDOUT:
                    raise OutputError(_problem(error)) from error
                return len(data)
            # None: a non-blocking pipe is full.
            if written is not None:
                return written
            select.select([], [self], [])
