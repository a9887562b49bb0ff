"""The documented part of the API: list, dismiss, approve.

The order of the checks is key, quota, fault, then the operation itself.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triaged.sandbox import responses
from triaged.sandbox.faults import KINDS_WITH_EFFECT, Fault, FaultKind
from triaged.sandbox.limits import Allowance
from triaged.sandbox.state import CUT, RecordedCall, SandboxState
from triaged.sandbox.store import STATUSES, TaskNotPending, UnknownTaskError

BASE: Final = "/functions/v1/api-gateway"
TASKS: Final = f"{BASE}/v1/lexi/tasks"

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_WRONG_SHAPES: Final = {
    "list": {"data": {"items": []}, "meta": {"total": 0}},
    "dismiss": {"data": {"ok": True}},
    "approve": {"data": {"ok": True}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One request, read to its end."""

    operation: str
    task_id: str | None
    status: str
    body: bytes


class ApiRoutes:
    """Answers the API's requests from one world."""

    def __init__(self, world: SandboxState) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """Return what is served under ``BASE``."""
        one = f"{TASKS}/{{task_id:path}}"
        return [
            Route(TASKS, self.list_tasks, methods=["GET"]),
            Route(f"{one}/dismiss", self.dismiss, methods=["POST"]),
            Route(f"{one}/approve", self.approve, methods=["POST"]),
            Route(f"{BASE}/{{rest:path}}", self.other, methods=list(_METHODS)),
        ]

    async def list_tasks(self, request: Request) -> Response:
        """List the tasks of one status, pending unless told otherwise."""
        return await self._answer(request, "list", self._list)

    async def dismiss(self, request: Request) -> Response:
        """Dismiss a task for good."""
        return await self._answer(request, "dismiss", self._dismiss)

    async def approve(self, request: Request) -> Response:
        """Approve a task."""
        return await self._answer(request, "approve", self._approve)

    async def other(self, request: Request) -> Response:
        """Refuse what this double does not know; the call counts all the same."""
        return await self._answer(request, "other", _not_found)

    async def _answer(
        self, request: Request, operation: str, act: Callable[[_Asked], Response]
    ) -> Response:
        asked = _Asked(
            operation=operation,
            task_id=request.path_params.get("task_id"),
            status=request.query_params.get("status", "pending"),
            body=await request.body(),
        )
        if not self._accepts(request.headers.get("authorization", "")):
            return self._sent(asked, _key_refused())
        allowance = self._world.limits.take(self._world.seconds())
        if allowance.refused is not None:
            return self._sent(asked, self._over_limit(allowance))
        await self._world.pause(self._world.settings.latency)
        fault = self._world.faults.draw(operation)
        if fault is None:
            return self._sent(asked, _with(act(asked), allowance))
        response = await self._with_fault(fault, asked, act, allowance)
        return self._sent(asked, response, fault)

    def _accepts(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        wanted = self._world.settings.key
        known = key.startswith("wbk_") if wanted is None else key == wanted
        return scheme.lower() == "bearer" and known

    def _sent(
        self, asked: _Asked, response: Response, fault: Fault | None = None
    ) -> Response:
        request_id = self._world.request_id()
        response.headers["X-Request-ID"] = request_id
        is_cut = isinstance(response, responses.AbortConnection)
        self._world.record(
            RecordedCall(
                at=self._world.clock.now(),
                operation=asked.operation,
                status=CUT if is_cut else str(response.status_code),
                request_id=request_id,
                task_id=asked.task_id,
                fault=str(fault.kind) if fault else None,
            )
        )
        return response

    def _over_limit(self, allowance: Allowance) -> Response:
        response = _with(responses.rate_limited(), allowance)
        if self._world.settings.retry_after:
            response.headers["Retry-After"] = str(allowance.retry_after)
        return response

    async def _with_fault(
        self,
        fault: Fault,
        asked: _Asked,
        act: Callable[[_Asked], Response],
        allowance: Allowance,
    ) -> Response:
        if fault.kind is FaultKind.SLOW:
            await self._world.pause(fault.seconds)
        acted = act(asked) if fault.kind in KINDS_WITH_EFFECT else None
        if fault.kind is FaultKind.SLOW_AFTER:
            await self._world.pause(fault.seconds)
        response = _broken(fault.kind, asked, acted)
        for name, value in _headers(fault.kind, allowance).items():
            response.headers[name] = value
        return response

    def _list(self, asked: _Asked) -> Response:
        if asked.status not in STATUSES:
            return _invalid("status", f"must be one of {', '.join(STATUSES)}")
        row_cap = self._world.settings.row_cap
        return responses.json_bytes(
            self._world.store.list_body(asked.status, row_cap=row_cap)
        )

    def _dismiss(self, asked: _Asked) -> Response:
        try:
            reason = _read_reason(asked.body)
        except ValueError as error:
            return _invalid("reason", str(error))
        return self._settle(asked, "dismissed", reason)

    def _approve(self, asked: _Asked) -> Response:
        return self._settle(asked, "approved", None)

    def _settle(self, asked: _Asked, status: str, reason: str | None) -> Response:
        task_id = asked.task_id or ""
        try:
            self._world.store.settle(
                task_id, status, reason=reason, now=self._world.clock.now()
            )
        except UnknownTaskError:
            return _not_found(asked)
        except TaskNotPending as settled:
            return _not_pending(settled.status)
        answer: dict[str, object] = {"task_id": task_id, "status": status}
        if status == "approved":
            answer["execution_started"] = True
        return responses.json_answer({"data": answer})


def _broken(kind: FaultKind, asked: _Asked, acted: Response | None) -> Response:
    """Return what the client gets to see instead of, or made of, the answer."""
    if acted is not None:
        return _broken_after(kind, asked, acted)
    return _BEFORE[kind]()


def _broken_after(kind: FaultKind, asked: _Asked, acted: Response) -> Response:
    match kind:
        case FaultKind.ERROR_AFTER:
            return _server_error()
        case FaultKind.CUT_AFTER:
            return responses.AbortConnection()
        case FaultKind.TRUNCATED:
            return responses.TruncatedResponse(acted)
        case FaultKind.WRONG_SHAPE:
            return responses.json_answer(_WRONG_SHAPES.get(asked.operation, {}))
        case _:  # only late
            return acted


def _headers(kind: FaultKind, allowance: Allowance) -> dict[str, str]:
    if kind is FaultKind.MINUTE_LIMIT:
        return responses.minute_spent_headers(allowance)
    if kind is FaultKind.DAY_LIMIT:
        return responses.day_spent_headers(allowance)
    return responses.quota_headers(allowance)


def _with(response: Response, allowance: Allowance) -> Response:
    response.headers.update(responses.quota_headers(allowance))
    return response


def _read_reason(body: bytes) -> str | None:
    if not body.strip():
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    reason = value.get("reason") if isinstance(value, dict) else 0
    if reason is None or isinstance(reason, str):
        return reason
    raise ValueError("must be a string, in an object")


def _invalid(field: str, message: str) -> Response:
    return responses.refusal(
        HTTPStatus.BAD_REQUEST,
        "validation_error",
        "Validation failed",
        fields={field: message},
    )


def _not_pending(status: str) -> Response:
    message = f"Task has already been {status}"
    return responses.refusal(HTTPStatus.BAD_REQUEST, "validation_error", message)


def _not_found(asked: _Asked) -> Response:
    what = "Task" if asked.task_id is not None else "Resource"
    return responses.refusal(HTTPStatus.NOT_FOUND, "not_found", f"{what} not found")


def _key_refused() -> Response:
    message = "Invalid or expired API key"
    return responses.refusal(HTTPStatus.UNAUTHORIZED, "invalid_key", message)


def _forbidden() -> Response:
    message = "API key lacks the 'lexi' permission"
    return responses.refusal(HTTPStatus.FORBIDDEN, "insufficient_permissions", message)


def _server_error() -> Response:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return responses.refusal(status, "internal_error", "Something went wrong")


def _unavailable() -> Response:
    return responses.platform_refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "BOOT_ERROR",
        "Function failed to start (please check logs)",
    )


_BEFORE: Final[dict[FaultKind, Callable[[], Response]]] = {
    FaultKind.MINUTE_LIMIT: responses.rate_limited,
    FaultKind.DAY_LIMIT: responses.rate_limited,
    FaultKind.ERROR_500: _server_error,
    FaultKind.ERROR_502: lambda: responses.html(HTTPStatus.BAD_GATEWAY, "Bad Gateway"),
    FaultKind.ERROR_503: _unavailable,
    FaultKind.CUT_BEFORE: responses.AbortConnection,
    FaultKind.HTML: lambda: responses.html(HTTPStatus.OK, "Scheduled maintenance"),
    FaultKind.REDIRECT: lambda: responses.redirect(HTTPStatus.TEMPORARY_REDIRECT),
    FaultKind.HUGE: responses.EndlessResponse,
    FaultKind.KEY_REFUSED: _key_refused,
    FaultKind.FORBIDDEN: _forbidden,
    FaultKind.NOT_FOUND_HTML: lambda: responses.html(HTTPStatus.NOT_FOUND, "Not Found"),
    FaultKind.NOT_PENDING: lambda: _not_pending("dismissed"),
}
