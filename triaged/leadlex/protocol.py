"""Converts between JSON and values, without any I/O.

It follows ``leadlex-api.md`` (API V2): paths and bodies of sections 2 and 3, the error
table of section 5; ``headers`` follows section 4. Anything undocumented is parsed
defensively.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
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
    malformed_response,
)
from triaged.leadlex.list_decoder import ListDecoder, reject_constant
from triaged.leadlex.models import LIST, ApiResponse, Confirmation
from triaged.rules.task import Json, Task, replace_invalid_unicode

TASKS_PATH: Final = "/v1/lexi/tasks"
STATUSES: Final = ("pending", "approved", "dismissed", "completed", "failed")

MIB: Final = 1024 * 1024
# A workspace of 100,000 tasks fits; anything larger is not a plausible response.
MAX_LIST_BYTES: Final = 64 * MIB
# A response about one task, or an error, takes a hundredth of this.
MAX_BODY_BYTES: Final = MIB

_MESSAGE_SHOWN: Final = 300
_NOT_THE_API: Final = (
    "the answer is not in the API's form; a proxy or a firewall may have given it"
)
_NO_SUCH_PATH: Final = (
    "there is no such path at this server; the API URL probably lacks its path, such as"
    " /functions/v1/api-gateway"
)

# Statuses of requests that a server rejects for their form, before any effect.
_NEVER_PASSED_ON: Final = frozenset(
    {
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
)
# Words of codes by which LeadLex speaks of the key, and of something else.
_OF_KEY: Final = frozenset(
    {"key", "keys", "apikey", "permission", "permissions", "token", "jwt", "scope"}
    | {"scopes", "credential", "credentials", "auth", "unauthorized", "forbidden"}
    | {"unauthenticated", "authentication", "authorization", "expired", "revoked"}
)
_NOT_OF_KEY: Final = frozenset(
    {"rate", "limit", "bucket", "plan", "subscription", "trial", "billing", "payment"}
    | {"ip", "country", "region", "geo", "network", "host", "origin", "cors", "csrf"}
    | {"session", "maintenance", "waf", "firewall", "bot"}
)
_OF_RATE: Final = re.compile(
    r"rate_?limit|too_many|throttl|quota|limit_(?:exceeded|reached)|bucket"
)
_DENIED_IF_FALSE: Final = ("success", "ok", "dismissed", "applied")
_DENIED_IF_TRUE: Final = ("dry_run", "dryRun", "simulated", "queued", "scheduled")
_TASK_CODES: Final = frozenset({"not_found", "task_not_found"})
# What a 404 may be about instead of the task.
_OF_ROUTE: Final = re.compile(r"(?i)\b(route|endpoint|path|url|function|method)\b")
_OF_OTHERS: Final = re.compile(
    r"(?i)\b(workspace|tenant|organi[sz]ation|account|project|user|resource|page|host"
    r"|version|api|service|database|table)\b"
)
_OF_TASK: Final = re.compile(r"(?i)\btask\b")
# The documented message is "Task has already been dismissed".
_SETTLED: Final = re.compile(
    r"(?i)\balready\s+(?:been\s+|was\s+|is\s+)?['\"]?"
    r"(?:approved|dismissed|completed|failed|processed|handled|closed)\b"
    r"|\b(?:not|no longer|isn't)\s+(?:in\s+|currently\s+|a\s+)*['\"]?pending\b"
)
# A message on the request itself, such as "status must be already approved".
_OF_REQUEST: Final = re.compile(r"(?i)\b(?:field|parameter|must|should|body)\b")


def path_of(task_id: str, operation: str) -> str:
    """Return the path that dismisses or approves a task; the opaque id is escaped."""
    return f"{TASKS_PATH}/{quote(task_id, safe='')}/{operation}"


def parse_json(body: bytes) -> Json:
    """Parse strict RFC 8259 JSON: UTF-8, no NaN, no duplicate keys in an object.

    A ``ValueError`` is also raised for nesting and numbers that exceed the limits.
    """
    try:
        value: Json = json.loads(
            body.decode("utf-8-sig"),
            parse_constant=reject_constant,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def decode_list(body: bytes) -> list[Task]:
    """Parse ``{"data": {"tasks": [...]}}``; ``ValueError`` if it is none as a whole.

    An invalid entry becomes a malformed task and does not affect the others.
    """
    decoder = ListDecoder()
    decoder.feed(body)
    return decoder.close()


def decode_task(body: bytes) -> Task | None:
    """Parse one task, as an entry of a list is parsed; None if it is not one.

    A value that cannot be represented is unreadable, and the others are what they are.
    """
    decoder = ListDecoder()
    try:
        decoder.feed(b'{"data":{"tasks":[')
        decoder.feed(body.removeprefix(BOM_UTF8))
        decoder.feed(b"]}}")
        tasks = decoder.close()
    except ValueError:
        return None
    is_one = len(tasks) == 1 and not decoder.broken and not decoder.members
    return tasks[0] if is_one and tasks[0].raw and "data" not in tasks[0].raw else None


def read_confirmation(
    operation: str, answer: ApiResponse, *, task_id: str, status: str
) -> Confirmation:
    """Return what LeadLex itself confirms, and confirms now, of the change of a task.

    ``MalformedResponse`` means that it stays open whether the change is made.
    """
    try:
        _verify_done(answer)
        verify_confirmation(answer.body, task_id=task_id, status=status)
    except ValueError as error:
        raise malformed_response(operation, answer, error) from error
    return Confirmation(rate_limit=answer.rate_limit, request_id=answer.request_id)


def _verify_done(answer: ApiResponse) -> None:
    if answer.is_cached:
        raise ValueError("a cache gave an earlier answer")
    # 202 is only accepted, 203 was changed on the way, 206 is a part.
    if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        raise ValueError(f"the answer has status {answer.status}")


def verify_confirmation(body: bytes, *, task_id: str, status: str) -> None:
    """Raise ``ValueError`` unless a body confirms this change, and no error."""
    answer = parse_json(body)
    data = _member(answer, "data")
    for part in (answer, data):
        if _member(part, "error") or _member(part, "errors"):
            raise ValueError("the answer has an error beside its data")
        denials = [name for name in _DENIED_IF_FALSE if _member(part, name) is False]
        denials += [name for name in _DENIED_IF_TRUE if _member(part, name)]
        if denials:
            raise ValueError(f"the answer says that nothing was done ({denials[0]})")
    if _member(data, "task_id") != task_id or _member(data, "status") != status:
        raise ValueError(f"the answer does not say that the task is {status}")


def error_from_response(
    operation: str,
    status: int,
    body: bytes,
    *,
    request_id: str | None,
    redact: Callable[[str], str] = str,
) -> LexiError:
    """Return the error that a response other than 2xx means.

    Only a body in the error format of the API is attributed to the API: a bare 401, 403
    or 404 may come from a proxy, a firewall or a wrong base URL, and proves nothing
    about the key or a task.
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
    if _OF_RATE.search(code):
        return RateLimited
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        words = set(re.split(r"[^a-z]+", code.lower()))
        is_of_key = words & _OF_KEY and not words & _NOT_OF_KEY
        return KeyRejected if is_of_key else RequestRejected
    if operation == LIST:
        return RequestRejected
    # Both codes are generic, and their other meanings leave the outcome unknown.
    if status == HTTPStatus.NOT_FOUND and code.endswith("not_found"):
        names_other = _OF_ROUTE.search(message) or (
            _OF_OTHERS.search(message) and not _OF_TASK.search(message)
        )
        is_of_task = code in _TASK_CODES and not names_other
        return TaskNotFound if is_of_task else MalformedResponse
    if status == HTTPStatus.BAD_REQUEST and code == "validation_error":
        is_settled = _SETTLED.search(message) and not _OF_REQUEST.search(message)
        return NotPending if is_settled else MalformedResponse
    return RequestRejected


def read_error(body: bytes) -> tuple[str, str]:
    """Return code and message of an error body; each is empty if absent."""
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


def _member(value: Json, key: str) -> Json:
    if not isinstance(value, dict):
        raise ValueError(f"no object where {key!r} should be")  # noqa: TRY004 - the body is wrong, not the argument
    return value.get(key)
