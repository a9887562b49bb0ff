"""Writes files that only their owner can read, atomically."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically, with mode 0600.

    Raises:
        OSError: it cannot be written.
    """
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
