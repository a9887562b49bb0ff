"""JSON and headers to values and back, without any I/O.

Facts are those of ``leadlex-api.md`` (API V2): paths and bodies of its sections 2 and
3, headers of 4, the error table of 5.  What is unknown there is read defensively.
"""

import json
import re
from collections.abc import Callable, Mapping
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
from triaged.leadlex.models import LIST
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
_NOT_THE_API: Final = (
    "the answer is not in the API's form; a proxy or a firewall may have given it"
)
_NO_SUCH_PATH: Final = (
    "there is no such path at this server; the API URL probably lacks its path, such as"
    " /functions/v1/api-gateway"
)

# What a server refuses for its form, before anything acts on it.
_NEVER_PASSED_ON: Final = frozenset(
    {
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
)
_RATE_CODES: Final = frozenset(
    {"rate_limited", "rate_limit_exceeded", "too_many_requests", "quota_exceeded"}
)
_OF_KEY: Final = re.compile(
    r"key|permission|auth|token|credential|scope|forbidden|expired|revoked"
)
_TASK_CODES: Final = frozenset({"not_found", "task_not_found"})
_OF_ROUTE: Final = re.compile(r"(?i)\b(route|endpoint|path|url|function|method)\b")
# Documented is "Task has already been dismissed".
_SETTLED: Final = re.compile(
    r"(?i)\b(already|no longer|not|isn't)\b.*"
    r"\b(pending|approved|dismissed|completed|failed|processed)\b"
)
_CACHE_HEADERS: Final = ("x-cache", "x-cache-status", "cf-cache-status", "cache-status")
_HIT: Final = re.compile(r"(?i)(?<![a-z])(hit|stale)\b")
_LONGEST_WAIT: Final = timedelta(days=7)
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?(\s*,\s*[0-9]+(\.[0-9]+)?)*", re.ASCII)
_MAX_EPOCH: Final = 253_402_300_799  # the last second that a datetime holds


def dismiss_path(task_id: str) -> str:
    """Return the path that dismisses a task; the id is opaque, so all is escaped."""
    return f"{TASKS_PATH}/{quote(task_id, safe='')}/dismiss"


def approve_path(task_id: str) -> str:
    """Return the path that approves a task, for a person's answer in a review."""
    return f"{TASKS_PATH}/{quote(task_id, safe='')}/approve"


def parse_json(body: bytes) -> Json:
    """Read JSON as RFC 8259 has it: UTF-8, no NaN, and no key twice in one object.

    Raises:
        ValueError: it is not JSON, or nested or numbered beyond reason.
    """
    try:
        value: Json = json.loads(
            body.decode("utf-8-sig"),
            parse_constant=reject_constant,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        message = "a key stands twice"
        raise ValueError(message)
    return made


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
    """Check that an answer confirms the change of this very task.

    Raises:
        ValueError: it says something else, or nothing, or has an error as well.
    """
    answer = parse_json(body)
    if _member(answer, "error") or _member(answer, "errors"):
        message = "the answer has an error beside its data"
        raise ValueError(message)
    data = _member(answer, "data")
    if _member(data, "task_id") != task_id or _member(data, "status") != status:
        message = f"the answer does not say that the task is {status}"
        raise ValueError(message)


def error_from_response(
    operation: str,
    status: int,
    body: bytes,
    *,
    request_id: str | None,
    redact: Callable[[str], str] = str,
) -> LexiError:
    """Name what an answer other than 2xx means.

    Only the API's own envelope speaks for the API: a bare 401, 403 or 404 may come from
    a proxy, a firewall or a wrong base URL and says nothing about the key or a task.
    """
    code, message = map(redact, read_error(body))
    kind = _kind_of(operation, status, code, message)
    if kind is MalformedResponse and status >= HTTPStatus.BAD_REQUEST and not code:
        message = _NO_SUCH_PATH if status == HTTPStatus.NOT_FOUND else _NOT_THE_API
    return kind(
        operation, status=status, code=code, message=message, request_id=request_id
    )


def _kind_of(operation: str, status: int, code: str, message: str) -> type[LexiError]:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return NoResponse
    if status in _NEVER_PASSED_ON:
        return RequestRejected
    if status < HTTPStatus.BAD_REQUEST or not code:
        return MalformedResponse
    if code in _RATE_CODES:
        return RateLimited
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return KeyRejected if _OF_KEY.search(code) else RequestRejected
    if operation == LIST:
        return RequestRejected
    # The two codes are generic, and their other meanings leave the outcome open.
    if status == HTTPStatus.NOT_FOUND and code.endswith("not_found"):
        is_of_task = code in _TASK_CODES and not _OF_ROUTE.search(message)
        return TaskNotFound if is_of_task else MalformedResponse
    if status == HTTPStatus.BAD_REQUEST and code == "validation_error":
        return NotPending if _SETTLED.search(message) else MalformedResponse
    return RequestRejected


def read_error(body: bytes) -> tuple[str, str]:
    """Return code and message of an error body; empty where it has none."""
    try:
        error = _member(parse_json(body), "error")
        code, message = _member(error, "code"), _member(error, "message")
    except ValueError:
        return "", ""
    return _shown(code), _shown(message)


def _shown(value: Json) -> str:
    if not isinstance(value, str):
        return ""
    return replace_invalid_unicode(value[:_MESSAGE_SHOWN])


def is_from_cache(headers: Mapping[str, str]) -> bool:
    """Return whether the headers tell that a cache gave the answer."""
    if headers.get("age", "").strip("0 ,\t"):
        return True
    if re.match(r"\s*11[0-3]\b", headers.get("warning", "")):
        return True
    return any(_HIT.search(headers.get(name, "")) for name in _CACHE_HEADERS)


def read_rate_limit(
    headers: Mapping[str, str], *, received_at: datetime
) -> RateLimitHeaders:
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
    if _SECONDS.fullmatch(text.strip()):
        # Of two such headers the longer wait counts.
        seconds = max(map(float, text.split(",")))
        wait = timedelta(seconds=min(seconds, _LONGEST_WAIT.total_seconds()))
    elif moment := _http_date(text):
        wait = max(moment - date, timedelta(0))
    else:
        return None
    # A longer wait than a week is more likely a mistake.
    return received_at + min(wait, _LONGEST_WAIT)


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
