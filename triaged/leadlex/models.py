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
class Exchange:
    """One call and what came of it, for whoever counts or logs calls."""

    operation: str
    status: int | None
    seconds: float
    request_id: str | None
    word: ServerWord


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The tasks of one status, as listed at one moment."""

    tasks: list[Task]
    word: ServerWord
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A write that the server says it carried out."""

    word: ServerWord
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, not yet looked into."""

    status: int
    body: bytes
    word: ServerWord
    request_id: str | None
