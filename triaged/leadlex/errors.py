"""Errors of LeadLex calls, one class for each consequence."""

from http import HTTPStatus
from typing import Any

from triaged.errors import TriagedError
from triaged.leadlex.models import ApiResponse
from triaged.quota import RateLimitHeaders


class LexiError(TriagedError):
    """A call to LeadLex failed.

    ``operation`` is ``list``, ``dismiss`` or ``approve``; ``status`` is the HTTP status
    or None; ``message`` is text from the server, untrusted; ``rate_limit`` holds the
    rate-limit headers of the response.
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
        status = f" (HTTP {self.status})" if self.status is not None else ""
        detail = ": ".join(part for part in (self.code, self.message) if part)
        tail = f" [request {self.request_id}]" if self.request_id else ""
        said = f": {detail}" if detail else ""
        return f"{self.operation}: {self.summary}{status}{said}{tail}"


class Unreachable(LexiError):
    """Nothing was sent, because there was no connection: may be retried."""

    summary = "LeadLex cannot be reached"


class NoResponse(LexiError):
    """Sent; a timeout, a reset or a 5xx: the outcome of a write is unknown."""

    summary = "LeadLex gave no usable answer"


class MalformedResponse(LexiError):
    """The response is not of the protocol: the outcome of a write is unknown."""

    summary = "LeadLex answered something that the protocol does not know"


class RateLimited(LexiError):
    """429: no calls before the quota allows them."""

    summary = "LeadLex refused: rate limit"


class KeyRejected(LexiError):
    """The server does not accept the key, or not for this operation (401, 403)."""

    summary = "LeadLex refused the API key"

    def __str__(self) -> str:
        """Add which permissions to grant; the API documents two sets of names."""
        hint = (
            "; the key needs the 'Lexi' permission (newer keys: read:ai to list,"
            " write:ai to dismiss)"
            if self.status == HTTPStatus.FORBIDDEN
            else "; it is wrong, expired or revoked"
        )
        return super().__str__() + hint


class TaskNotFound(LexiError):
    """The task does not exist, or no longer (404): an outcome of a dismissal."""

    summary = "LeadLex does not know the task"


class NotPending(LexiError):
    """The task is no longer pending (400): an outcome of a dismissal."""

    summary = "the task is not pending any more"


class RequestRejected(LexiError):
    """The server rejected the request for any other reason."""

    summary = "LeadLex refused the request"


def malformed_response(
    operation: str, answer: ApiResponse, error: ValueError
) -> LexiError:
    """Build the error for a response that does not conform to the protocol."""
    return MalformedResponse(operation, message=str(error)[:200], **facts(answer))


def facts(head: ApiResponse | None) -> dict[str, Any]:
    """Return the facts of a response, as keyword arguments of a ``LexiError``."""
    if head is None:
        return {}
    return {
        "status": head.status,
        "request_id": head.request_id,
        "rate_limit": head.rate_limit,
    }
