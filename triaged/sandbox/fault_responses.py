"""Builds the responses to calls that a fault affects."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Final

from starlette.datastructures import URL
from starlette.responses import Response

from triaged.rules.task import Json
from triaged.sandbox import responses
from triaged.sandbox.faults import Fault, FaultKind
from triaged.sandbox.limits import LimitResult
from triaged.sandbox.store import STATUSES, Store

_DEFAULT_DAY_LIMIT: Final = 1_000
_BAD_SCHEMA: Final = {
    "list": {"data": {"items": []}, "meta": {"total": 0}},
    "dismiss": {"data": {"ok": True}},
    "approve": {"data": {"ok": True}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request, read completely."""

    received_at: datetime
    operation: str
    task_id: str | None
    status: str
    url: str
    page: str
    body: bytes


def before_effect(fault: Fault) -> Response:
    """Return the response to a call that has no effect."""
    response = _BEFORE_EFFECT[fault.kind]()
    if fault.kind is FaultKind.RETRY_AFTER:
        response.headers["Retry-After"] = f"{fault.amount:.0f}"
    return response


def after_effect(fault: Fault, asked: ApiRequest, response: Response) -> Response:
    """Return the response to a call that took effect, derived from the normal one."""
    match fault.kind:
        case FaultKind.ERROR_AFTER_EFFECT:
            return _server_error()
        case FaultKind.DROP_AFTER_EFFECT:
            return responses.AbortConnection()
        case FaultKind.TRUNCATED:
            return responses.TruncatedResponse(response)
        case FaultKind.BAD_SCHEMA:
            return responses.json_response(_BAD_SCHEMA.get(asked.operation, {}))
        case FaultKind.PARTIAL_ERROR:
            error = {"code": "partial_failure", "message": "Some data is missing"}
            body = json.loads(bytes(response.body)) | {"error": error}
            return responses.json_response(body, response.status_code)
        case FaultKind.AGE:
            response.headers["Age"] = f"{fault.amount:.0f}"
            return response
        case _:  # only late
            return response


def list_response(fault: Fault, asked: ApiRequest, store: Store) -> Response:
    """Return a list that differs from the requested one."""
    if fault.kind is FaultKind.NULL_TASKS:
        return responses.json_response({"data": {"tasks": None}})
    if fault.kind is FaultKind.NO_FILTER:
        tasks = [task for status in STATUSES for task in store.tasks(status)]
        return responses.json_response({"data": {"tasks": tasks}})
    return _page(store.tasks(asked.status), asked, size=max(1, int(fault.amount)))


def _page(tasks: list[Json], asked: ApiRequest, *, size: int) -> Response:
    number = int(asked.page) if asked.page.isdecimal() else 1
    first = (max(1, number) - 1) * size
    response = responses.json_response(
        {
            "data": {"tasks": tasks[first : first + size]},
            "meta": {"total": len(tasks), "page": number, "per_page": size},
        }
    )
    if first + size < len(tasks):
        url = URL(asked.url).include_query_params(page=number + 1)
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


def quota_headers(kind: FaultKind, limits: LimitResult) -> dict[str, str]:
    """Return the rate-limit headers for a fault."""
    if kind is FaultKind.DAY_LIMIT:
        # Used up, whatever is really left.
        limit = _DEFAULT_DAY_LIMIT if limits.limit is None else limits.limit
        limits = replace(limits, limit=limit, remaining=0)
    elif kind is FaultKind.MINUTE_LIMIT and limits.remaining is not None:
        limits = replace(limits, remaining=max(1, limits.remaining))
    return responses.quota_headers(limits)


def _server_error() -> Response:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return responses.api_error(status, "internal_error", "Something went wrong")


def _unavailable() -> Response:
    return responses.platform_error(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "BOOT_ERROR",
        "Function failed to start (please check logs)",
    )


_BEFORE_EFFECT: Final[dict[FaultKind, Callable[[], Response]]] = {
    FaultKind.MINUTE_LIMIT: responses.rate_limited,
    FaultKind.DAY_LIMIT: responses.rate_limited,
    FaultKind.ERROR_500: _server_error,
    FaultKind.ERROR_502: lambda: responses.html(HTTPStatus.BAD_GATEWAY, "Bad Gateway"),
    FaultKind.ERROR_503: _unavailable,
    FaultKind.RETRY_AFTER: _unavailable,
    FaultKind.DROP_BEFORE_EFFECT: responses.AbortConnection,
    FaultKind.HTML: lambda: responses.html(HTTPStatus.OK, "Scheduled maintenance"),
    FaultKind.REDIRECT: responses.redirect,
    FaultKind.HUGE: responses.EndlessResponse,
    FaultKind.KEY_REJECTED: responses.key_rejected,
    FaultKind.FORBIDDEN: lambda: responses.api_error(
        HTTPStatus.FORBIDDEN,
        "insufficient_permissions",
        "API key lacks the 'lexi' permission",
    ),
    FaultKind.HTML_404: lambda: responses.html(HTTPStatus.NOT_FOUND, "Not Found"),
    FaultKind.NOT_PENDING: lambda: responses.not_pending("dismissed"),
    FaultKind.REJECTED: lambda: responses.api_error(
        HTTPStatus.UNPROCESSABLE_ENTITY, "unprocessable", "Request rejected"
    ),
}
