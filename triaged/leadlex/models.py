"""LeadLex responses as values: listed tasks, confirmed writes, finished calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from triaged.quota import RateLimitHeaders
from triaged.rules.task import Task

LIST: Final = "list"
DISMISS: Final = "dismiss"

PENDING: Final = "pending"
DISMISSED: Final = "dismissed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """One call and its result, for metrics and logs."""

    operation: str
    status: int | None
    seconds: float
    request_id: str | None
    rate_limit: RateLimitHeaders


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """The tasks of one status, as listed at one time.

    ``incomplete`` is None if the list is complete, and otherwise why tasks may be
    missing from it: such a list does not resolve outcomes. With ``rows_in_doubt``, the
    rows themselves may be wrong or out of date and must not be used. ``requested_at``
    is when the list was requested.
    """

    tasks: list[Task]
    rate_limit: RateLimitHeaders
    request_id: str | None
    incomplete: str | None = None
    rows_in_doubt: bool = False
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A write that the server confirmed."""

    rate_limit: RateLimitHeaders
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response: its status, its body as bytes, and the headers that are used."""

    status: int
    body: bytes
    rate_limit: RateLimitHeaders
    request_id: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cached: bool = False
