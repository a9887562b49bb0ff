"""What LeadLex answers, as values: tasks listed, writes confirmed, calls made."""

from dataclasses import dataclass
from typing import Final

from triaged.quota import ServerWord
from triaged.rules.task import Task

LIST: Final = "list"


DISMISS: Final = "dismiss"


PENDING: Final = "pending"


DISMISSED: Final = "dismissed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """One call and what came of it, for whoever counts or logs calls."""

    operation: str
    status: int | None
    seconds: float
    request_id: str | None
    rate_limit: ServerWord


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """The tasks of one status, as listed at one moment."""

    tasks: list[Task]
    rate_limit: ServerWord
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A write that the server says it carried out."""

    rate_limit: ServerWord
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A whole answer, not yet looked into."""

    status: int
    body: bytes
    rate_limit: ServerWord
    request_id: str | None
