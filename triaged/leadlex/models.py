"""What LeadLex answers, as values: tasks listed, writes confirmed, calls made."""

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
    """The tasks of one status, as listed at one moment.

    ``incomplete`` is None when the list is known to be whole, and otherwise says in
    words why tasks may be missing from it: such a list resolves nothing.  With
    ``rows_in_doubt`` its rows may be wrong or out of date as well: none is acted on.
    ``requested_at`` is when it was asked for.
    """

    tasks: list[Task]
    rate_limit: RateLimitHeaders
    request_id: str | None
    incomplete: str | None = None
    rows_in_doubt: bool = False
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A write that the server says it carried out."""

    rate_limit: RateLimitHeaders
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An answer: its status, its body as bytes and what its headers said."""

    status: int
    body: bytes
    rate_limit: RateLimitHeaders
    request_id: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cached: bool = False
