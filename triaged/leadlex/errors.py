"""What can go wrong with a call to LeadLex, one class for each consequence.

LexiError          what was asked of LeadLex did not come about
├─ Unreachable     nothing was sent: may be tried again
├─ NoResponse      sent, no usable answer: a write is now unknown
├─ MalformedResponse  an answer outside the protocol: a write is now unknown
├─ RateLimited     429: no calls before the quota allows them
├─ KeyRejected     401, 403: the key or its permissions
├─ TaskNotFound    404: an outcome of a dismissal
├─ NotPending      400 validation_error: an outcome of a dismissal
└─ RequestRejected any other refusal
"""

from http import HTTPStatus
from typing import Any

from triaged.errors import TriagedError
from triaged.leadlex.models import ApiResponse
from triaged.quota import RateLimitHeaders


class LexiError(TriagedError):
    """What was asked of LeadLex did not come about.

    ``operation`` is ``list``, ``dismiss`` or ``approve``; ``status`` is the HTTP
    status where there was one; ``message`` is the server's text, untrusted;
    ``rate_limit`` is what the answer's headers said of the quota.
    """

    summary = "LeadLex did not do it"

    def __init__(
        self,
        operation: str,
        *,
        status: int | None = None,
        code: str = "",
        message: str = "",
        request_id: str | None = None,
        rate_limit: RateLimitHeaders | None = None,
    ) -> None:
        super().__init__(operation, status, code, message, request_id)
        self.operation = operation
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.rate_limit = rate_limit or RateLimitHeaders()

    def __str__(self) -> str:
        """Return what was asked, what came back and under which request id."""
        status = f" (HTTP {self.status})" if self.status is not None else ""
        detail = ": ".join(part for part in (self.code, self.message) if part)
        tail = f" [request {self.request_id}]" if self.request_id else ""
        said = f": {detail}" if detail else ""
        return f"{self.operation}: {self.summary}{status}{said}{tail}"


class Unreachable(LexiError):
    """Nothing was sent: no connection came about."""

    summary = "LeadLex cannot be reached"


class NoResponse(LexiError):
    """Sent, but no usable answer came: a time-out, a cut connection, a 5xx."""

    summary = "LeadLex gave no usable answer"


class MalformedResponse(LexiError):
    """An answer came that is not what the protocol says."""

    summary = "LeadLex answered something that the protocol does not know"


class RateLimited(LexiError):
    """The server refused because of its rate limit (429)."""

    summary = "LeadLex refused: rate limit"


class KeyRejected(LexiError):
    """The server does not accept the key, or not for this operation (401, 403)."""

    summary = "LeadLex refused the API key"

    def __str__(self) -> str:
        """Add which permissions to grant; two vocabularies are documented."""
        hint = (
            "; the key needs the 'Lexi' permission (newer keys: read:ai to list,"
            " write:ai to dismiss)"
            if self.status == HTTPStatus.FORBIDDEN
            else "; it is wrong, expired or revoked"
        )
        return super().__str__() + hint


class TaskNotFound(LexiError):
    """There is no such task (any more)."""

    summary = "LeadLex does not know the task"


class NotPending(LexiError):
    """The task is no longer pending."""

    summary = "the task is not pending any more"


class RequestRejected(LexiError):
    """The server refused for a reason of its own."""

    summary = "LeadLex refused the request"


def malformed_response(
    operation: str, answer: ApiResponse, error: ValueError
) -> LexiError:
    """Make the error for an answer that is outside the protocol."""
    return MalformedResponse(operation, message=str(error)[:200], **facts(answer))


def facts(head: ApiResponse | None) -> dict[str, Any]:
    """Return what an answer says, as arguments of an error about it."""
    if head is None:
        return {}
    return {
        "status": head.status,
        "request_id": head.request_id,
        "rate_limit": head.rate_limit,
    }
