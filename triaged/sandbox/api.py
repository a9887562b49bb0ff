"""The documented part of the API: list, dismiss, approve.

Checks are made in this order: key, quota, fault, then the operation itself.
"""

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triaged.sandbox import fault_responses, responses
from triaged.sandbox.fault_responses import ApiRequest
from triaged.sandbox.faults import KINDS_WITH_EFFECT, LIST_KINDS, Fault, FaultKind
from triaged.sandbox.limits import LimitResult
from triaged.sandbox.state import DROPPED, RecordedCall, SandboxState
from triaged.sandbox.store import STATUSES, TaskNotFound, TaskNotPending

BASE: Final = "/functions/v1/api-gateway"
TASKS: Final = f"{BASE}/v1/lexi/tasks"

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

Act: TypeAlias = Callable[[ApiRequest], Response]


class ApiRoutes:
    """Handles API requests on the state of one sandbox."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        one = f"{TASKS}/{{task_id:path}}"
        return [
            self._route(TASKS, "list", self._list, "GET"),
            self._route(f"{one}/dismiss", "dismiss", self._dismiss, "POST"),
            self._route(f"{one}/approve", "approve", self._approve, "POST"),
            # Calls of any other path count towards the quota too.
            self._route(f"{BASE}/{{rest:path}}", "other", _not_found, *_METHODS),
        ]

    def _route(self, path: str, operation: str, act: Act, *methods: str) -> Route:
        return Route(path, partial(self._answer, operation, act), methods=methods)

    async def _answer(self, operation: str, act: Act, request: Request) -> Response:
        asked = ApiRequest(
            received_at=self._state.clock.now(),
            operation=operation,
            task_id=request.path_params.get("task_id"),
            status=request.query_params.get("status", "pending"),
            url=str(request.url),
            page=request.query_params.get("page", "1"),
            body=await request.body(),
        )
        self._state.catch_up()
        if not self._accepts(request.headers.get("authorization", "")):
            return self._finish(asked, responses.key_rejected())
        limits = self._state.limits.consume(self._state.seconds())
        if limits.exceeded is not None:
            return self._finish(asked, self._over_limit(limits))
        await self._state.delay(self._state.settings.latency)
        fault = self._state.faults.next_fault(operation)
        if fault is None:
            return self._finish(asked, _with_quota_headers(act(asked), limits))
        response = await self._with_fault(fault, asked, act, limits)
        return self._finish(asked, response, fault)

    def _accepts(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        expected = self._state.settings.key
        known = key.startswith("wbk_") if expected is None else key == expected
        return scheme.lower() == "bearer" and known

    def _finish(
        self, asked: ApiRequest, response: Response, fault: Fault | None = None
    ) -> Response:
        request_id = self._state.request_id()
        response.headers["X-Request-ID"] = request_id
        is_dropped = isinstance(response, responses.AbortConnection)
        self._state.record(
            RecordedCall(
                received_at=asked.received_at,
                at=self._state.clock.now(),
                operation=asked.operation,
                status=DROPPED if is_dropped else str(response.status_code),
                request_id=request_id,
                task_id=asked.task_id,
                fault=str(fault.kind) if fault else None,
            )
        )
        return response

    def _over_limit(self, limits: LimitResult) -> Response:
        response = _with_quota_headers(responses.rate_limited(), limits)
        if self._state.settings.retry_after:
            response.headers["Retry-After"] = str(limits.retry_after)
        return response

    async def _with_fault(
        self, fault: Fault, asked: ApiRequest, act: Act, limits: LimitResult
    ) -> Response:
        if fault.kind is FaultKind.SLOW:
            await self._state.delay(fault.amount)
        if fault.kind in LIST_KINDS:
            response = fault_responses.list_response(fault, asked, self._state.store)
        elif fault.kind in KINDS_WITH_EFFECT:
            response = fault_responses.after_effect(fault, asked, act(asked))
        else:
            response = fault_responses.before_effect(fault)
        if fault.kind is FaultKind.DELAY_AFTER_EFFECT:
            await self._state.delay(fault.amount)
        response.headers.update(fault_responses.quota_headers(fault.kind, limits))
        return response

    def _list(self, asked: ApiRequest) -> Response:
        if asked.status not in STATUSES:
            known = ", ".join(STATUSES)
            return responses.invalid("status", f"must be one of {known}")
        row_cap = self._state.settings.row_cap
        body = self._state.store.list_response(asked.status, row_cap=row_cap)
        return responses.json_bytes(body)

    def _dismiss(self, asked: ApiRequest) -> Response:
        try:
            reason = _read_reason(asked.body)
        except ValueError as error:
            return responses.invalid("reason", str(error))
        return self._settle(asked, "dismissed", reason)

    def _approve(self, asked: ApiRequest) -> Response:
        return self._settle(asked, "approved", None)

    def _settle(self, asked: ApiRequest, status: str, reason: str | None) -> Response:
        task_id = asked.task_id or ""
        try:
            self._state.store.settle(
                task_id, status, reason=reason, now=self._state.clock.now()
            )
        except TaskNotFound:
            return _not_found(asked)
        except TaskNotPending as error:
            return responses.not_pending(error.status)
        answer: dict[str, object] = {"task_id": task_id, "status": status}
        if status == "approved":
            answer["execution_started"] = True
        return responses.json_response({"data": answer})


def _with_quota_headers(response: Response, limits: LimitResult) -> Response:
    response.headers.update(responses.quota_headers(limits))
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


def _not_found(asked: ApiRequest) -> Response:
    what = "Task" if asked.task_id is not None else "Resource"
    return responses.api_error(HTTPStatus.NOT_FOUND, "not_found", f"{what} not found")
