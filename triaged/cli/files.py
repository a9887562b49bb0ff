"""Reads the files that commands are given, and writes those that they make."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import click

from triaged.errors import os_reason


def read_given(file: Path, *, param: str, most: int = -1) -> bytes:
    """Read a file, or only so many bytes of it, that a parameter names."""
    try:
        with file.open("rb") as stream:
            return stream.read(most)
    except OSError as error:
        why = f"{file}: {os_reason(error)}"
        raise click.BadParameter(why, param_hint=param) from error


def refuse_no_directory(out: Path) -> None:
    """Reject an ``--out`` that cannot be written, before a call is spent."""
    if not out.parent.is_dir():
        why = f"there is no directory {out.parent} to write {out.name} to"
        raise click.BadParameter(why, param_hint="--out")


def write_out(out: Path, text: str) -> None:
    """Write the file that ``--out`` names, for its owner only."""
    try:
        write_private(out, text.encode())
    except OSError as error:
        why = f"{out} cannot be written: {os_reason(error)}"
        raise click.BadParameter(why, param_hint="--out") from error


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically, with mode 0600; raise ``OSError`` if that fails."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        # A pipe or a terminal cannot be replaced.
        path.write_bytes(data)
        return
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - opens a descriptor
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise
