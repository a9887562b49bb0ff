"""Counts what the daemon survives: an error of its own costs one step, not the loop."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum

import structlog

log = structlog.get_logger()


class Where(StrEnum):
    """Where an internal error was survived; a closed set, used as a metric label."""

    CYCLE = "cycle"
    LOG = "log"
    PAGE = "page"
    NOTIFY = "notify"
    METRICS = "metrics"


class InternalErrors:
    """How many errors were survived, and where; the log's thread counts here too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter(dict.fromkeys(Where, 0))

    def count(self, where: Where) -> None:
        """Count one error."""
        with self._lock:
            self._counts[where] += 1

    def counts(self) -> Mapping[Where, int]:
        """Return the totals since the start."""
        with self._lock:
            return dict(self._counts)

    def record(self, where: Where, error: BaseException) -> None:
        """Count and log one error; a log that raises as well is counted too."""
        self.count(where)
        try:
            log.error("internal_error.survived", where=where, exc_info=error)
        except Exception:  # noqa: BLE001 - the log is where the last error was
            self.count(Where.LOG)

    @contextlib.contextmanager
    def survived(self, where: Where) -> Iterator[None]:
        """Let an error in the block cost only what is left of the block."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop goes on
            self.record(where, error)
