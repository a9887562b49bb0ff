"""JSON and headers to values and back, without any I/O.

Facts are those of ``leadlex-api.md`` (API V2): paths and bodies of its sections 2 and
3, headers of 4, the error table of 5.  What is unknown there is read defensively.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RateLimited,
    RequestRejected,
    TaskNotFound,
)
from triaged.leadlex.list_decoder import ListDecoder, reject_constant
from triaged.quota import RateLimitHeaders
from triaged.rules.task import Json, Task, replace_invalid_unicode

TASKS_PATH: Final = "/v1/lexi/tasks"
STATUSES: Final = ("pending", "approved", "dismissed", "completed", "failed")

MIB: Final = 1024 * 1024
# A workspace of 100,000 long tasks fits; anything beyond is not a list answer.
MAX_LIST_BYTES: Final = 64 * MIB
# An answer about one task, or a refusal, takes a hundredth of this.
MAX_BODY_BYTES: Final = MIB

_MESSAGE_SHOWN: Final = 300
_MAX_EPOCH: Final = 253_402_300_799  # the last second that a datetime holds


def dismiss_path(task_id: str) -> str:
    """Return the path that dismisses a task; the id is opaque, so all is escaped."""
    return f"{TASKS_PATH}/{quote(task_id, safe='')}/dismiss"


def approve_path(task_id: str) -> str:
    """Return the path that approves a task, for a person's answer in a review."""
    return f"{TASKS_PATH}/{quote(task_id, safe='')}/approve"


def parse_json(body: bytes) -> Json:
    """Read JSON as RFC 8259 has it: UTF-8, and no NaN.

    Raises:
        ValueError: it is not JSON, or nested or numbered beyond reason.
    """
    try:
        value: Json = json.loads(body.decode(), parse_constant=reject_constant)
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None
    return value


def decode_list(body: bytes) -> list[Task]:
    """Read a list answer: ``{"data": {"tasks": [...]}}``.

    A broken entry becomes a malformed task; it costs itself, not the list.

    Raises:
        ValueError: the answer as a whole is not a list of tasks.
    """
    decoder = ListDecoder()
    decoder.feed(body)
    return decoder.close()


def verify_confirmation(body: bytes, *, task_id: str, status: str) -> None:
    """Check that an answer says of this very task that the wish was carried out.

    Raises:
        ValueError: it says something else, or nothing.
    """
    data = _member(parse_json(body), "data")
    if _member(data, "task_id") != task_id or _member(data, "status") != status:
        message = f"the answer does not say that the task is {status}"
        raise ValueError(message)


def error_from_response(
    operation: str, status: int, body: bytes, *, request_id: str | None
) -> LexiError:
    """Name what an answer other than 2xx means.

    A refusal counts as the API's own only in the API's envelope: a bare 404 may come
    from a proxy or a wrong base URL and says nothing about a task.
    """
    code, message = read_error(body)
    kind: type[LexiError]
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        kind = KeyRejected
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = RateLimited
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = NoResponse
    elif status < HTTPStatus.BAD_REQUEST:
        kind = MalformedResponse
    elif operation == "list":
        kind = RequestRejected
    elif status == HTTPStatus.NOT_FOUND and code.endswith("not_found"):
        kind = TaskNotFound
    elif status == HTTPStatus.BAD_REQUEST and code == "validation_error":
        kind = NotPending
    else:
        kind = RequestRejected
    return kind(
        operation, status=status, code=code, message=message, request_id=request_id
    )


def read_error(body: bytes) -> tuple[str, str]:
    """Return code and message of an error body; empty where it has none."""
    try:
        error = _member(parse_json(body), "error")
        code, message = _member(error, "code"), _member(error, "message")
    except ValueError:
        return "", ""
    return (
        replace_invalid_unicode(code[:_MESSAGE_SHOWN]) if isinstance(code, str) else "",
        replace_invalid_unicode(message[:_MESSAGE_SHOWN])
        if isinstance(message, str)
        else "",
    )


def read_word(headers: Mapping[str, str], *, received_at: datetime) -> RateLimitHeaders:
    """Read what the headers say of the quota; what is unusable is left out."""
    date = _http_date(headers.get("date", ""))
    retry = headers.get("retry-after", "")
    return RateLimitHeaders(
        limit=_count(headers.get("x-ratelimit-limit")),
        remaining=_count(headers.get("x-ratelimit-remaining")),
        reset=_epoch(headers.get("x-ratelimit-reset")),
        retry_after=_retry_after(retry, received_at, date or received_at),
        date=date,
    )


def _member(value: Json, key: str) -> Json:
    if not isinstance(value, dict):
        message = f"no object where {key!r} should be"
        raise ValueError(message)  # noqa: TRY004 - a wrong body, not a wrong argument
    return value.get(key)


def _count(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.strip().isdigit():
        return None
    return int(text) if len(text) < len(str(_MAX_EPOCH)) else None


def _epoch(text: str | None) -> datetime | None:
    seconds = _count(text)
    if seconds is None or not 0 < seconds <= _MAX_EPOCH:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _retry_after(text: str, received_at: datetime, date: datetime) -> datetime | None:
    """Read RFC 9110 10.2.3: seconds, or an HTTP date by the server's clock."""
    seconds = _count(text)
    if seconds is not None:
        wait = timedelta(seconds=seconds)
    elif moment := _http_date(text):
        wait = max(moment - date, timedelta(0))
    else:
        return None
    # Nobody means to lock us out for longer than a week; a typo may.
    return received_at + min(wait, timedelta(days=7))


def _http_date(text: str) -> datetime | None:
    try:
        moment: Any = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        result: datetime = aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return result
