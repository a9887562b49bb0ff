"""Counts internal errors, which end one step of the daemon but not its loop."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum

import structlog

log = structlog.get_logger()


class Where(StrEnum):
    """Where an internal error occurred; a closed set, used as a metric label."""

    CYCLE = "cycle"
    LOG = "log"
    PAGE = "page"
    NOTIFY = "notify"
    METRICS = "metrics"


class InternalErrors:
    """The numbers of internal errors by place; can be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter(dict.fromkeys(Where, 0))

    def count(self, where: Where) -> None:
        with self._lock:
            self._counts[where] += 1

    def counts(self) -> Mapping[Where, int]:
        with self._lock:
            return dict(self._counts)

    def record(self, where: Where, error: BaseException) -> None:
        """Count and log one error; if logging raises too, count that as well."""
        self.count(where)
        try:
            log.error("internal_error.survived", where=where, exc_info=error)
        except Exception:  # noqa: BLE001 - logging itself may fail
            self.count(Where.LOG)

    @contextlib.contextmanager
    def survived(self, where: Where) -> Iterator[None]:
        """Suppress and record any error in the block, which ends the block only."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the loop must continue
            self.record(where, error)
