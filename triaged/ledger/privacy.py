"""Takes the rights of others away from a state directory and its files.

Who may write there could remove a veto or replace the ledger, and who may read there
sees the texts of tasks. A group that may only read is taken as meant.
"""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

_WRITE_FOR_GROUP: Final = stat.S_IWGRP
_NAMES: Final = ("ledger.sqlite3*", "*.lock")


def make_private(directory: Path) -> None:
    """Restrict to their owner the directory and files that belong to this user.

    What belongs to another user is left: a volume of a container is often open to all
    and belongs to root.
    """
    # First the directory: in a private one nobody can exchange the files meanwhile.
    _restrict(directory, 0o700)
    for name in _NAMES:
        for path in directory.glob(name):
            _restrict(path, 0o600)


def _restrict(path: Path, mode: int) -> None:
    # A file of our own can vanish, and a file system may know no rights.
    with contextlib.suppress(OSError):
        status = path.lstat()
        is_kind = stat.S_ISDIR if mode & stat.S_IXUSR else stat.S_ISREG
        is_loose = status.st_mode & (stat.S_IRWXO | _WRITE_FOR_GROUP)
        if is_kind(status.st_mode) and status.st_uid == os.geteuid() and is_loose:
            path.chmod(mode)
