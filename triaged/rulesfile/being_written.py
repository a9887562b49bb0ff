"""Waits while rules files are being written: half of one may load, without protect."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from triaged.errors import ConfigError, Problem
from triaged.rulesfile.sources import fingerprint, list_names, read_source

# A file that was changed less than this many seconds ago may not be complete.
RECENT_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.25
# The number of looks at a file that keeps changing.
LOOKS: Final = 20


def wait_until_written(
    paths: Sequence[Path],
    *,
    now: datetime,
    pause: Callable[[float], None] = time.sleep,  # noqa: TID251 - no Clock is here yet
) -> None:
    """Return once files that changed a moment ago look the same twice in a row.

    Raises:
        ConfigError: they keep changing.
    """
    if not any(_is_recent(path, now) for path in _files(paths)):
        return
    seen = _look(paths)
    for _ in range(LOOKS):
        pause(LOOK_SECONDS)
        before, seen = seen, _look(paths)
        if seen == before:
            return
    why = "is being written; try again when it is complete"
    raise ConfigError([Problem(str(path), 0, 0, "", why) for path in paths])


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the rules files, and the lists that they name."""
    for path in paths:
        # A pipe can be read only once.
        if not path.is_file():
            continue
        yield path
        try:
            names = list_names(read_source(path).data)
        except (OSError, ValueError):
            continue
        yield from (path.parent / name for name in names)


def _is_recent(path: Path, now: datetime) -> bool:
    try:
        changed_at = path.stat().st_mtime
    except (OSError, ValueError):
        return False
    return abs(now.timestamp() - changed_at) < RECENT_SECONDS


def _look(paths: Sequence[Path]) -> tuple[str, tuple[int, ...]]:
    states: list[int] = []
    for path in _files(paths):
        try:
            status = path.stat()
        except (OSError, ValueError):
            continue
        states += (status.st_size, status.st_mtime_ns)
    return fingerprint(*paths), tuple(states)
