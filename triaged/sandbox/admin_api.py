"""The control API of a sandbox: faults, tasks and state, without key and quota.

LeadLex has nothing like it.  ``triaged sandbox --help`` lists its requests.
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triaged.rules.task import Json
from triaged.sandbox import page, responses
from triaged.sandbox.faults import parse_fault
from triaged.sandbox.state import SandboxState
from triaged.sandbox.store import (
    PERSON,
    STATUSES,
    TaskNotFound,
    TaskNotPending,
    format_timestamp,
)


class AdminRoutes:
    """Answers requests to the control API of one sandbox."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        one = "/sandbox/tasks/{task_id:path}"
        return [
            Route("/", self.page, methods=["GET"]),
            Route("/sandbox/state", self.state, methods=["GET"]),
            Route("/sandbox/faults", self.add_faults, methods=["POST"]),
            Route("/sandbox/faults", self.clear_faults, methods=["DELETE"]),
            Route("/sandbox/tasks", self.add_tasks, methods=["POST"]),
            Route(f"{one}/settle", self.settle, methods=["POST"]),
            Route(one, self.remove, methods=["DELETE"]),
            Route("/sandbox/reset", self.reset, methods=["POST"]),
        ]

    async def page(self, _: Request) -> Response:
        self._state.catch_up()
        return page.render(self._state)

    async def state(self, _: Request) -> Response:
        return responses.json_response(self._state.snapshot())

    async def add_faults(self, request: Request) -> Response:
        """Add faults to the script; an invalid one rejects all of them."""
        try:
            texts = _strings(await _json(request), "faults")
            faults = [parse_fault(text) for text in texts]
        except ValueError as error:
            return _bad_request(str(error))
        for fault in faults:
            self._state.faults.add(fault)
        return await self.state(request)

    async def clear_faults(self, request: Request) -> Response:
        self._state.faults.clear()
        return await self.state(request)

    async def add_tasks(self, request: Request) -> Response:
        """Add tasks, and return their ids.

        Absent fields get ordinary values, and an id that a task has or had is refused;
        with ``"raw": true`` tasks are added as they are.
        """
        try:
            body = await _json(request)
            tasks = _member(body, "tasks")
        except ValueError as error:
            return _bad_request(str(error))
        if not isinstance(tasks, list):
            return _bad_request("expected a list at tasks")
        if not (isinstance(body, dict) and body.get("raw")):
            tasks = [self._with_defaults(task) for task in tasks]
            if used := self._reused_id(tasks):
                message = f"a task has or had the id {used!r}"
                return _bad_request(message, HTTPStatus.CONFLICT)
        self._state.store.add(tasks)
        ids = [task.get("id") for task in tasks if isinstance(task, dict)]
        return responses.json_response({"ids": ids}, HTTPStatus.CREATED)

    def _reused_id(self, tasks: list[Json]) -> str | None:
        ids = [str(task["id"]) for task in tasks if isinstance(task, dict)]
        counted = Counter(ids)
        store = self._state.store
        return next((i for i in ids if store.has_used(i) or counted[i] > 1), None)

    def _with_defaults(self, task: Json) -> Json:
        given: Mapping[str, Json] = task if isinstance(task, dict) else {}
        ordinary: dict[str, Json] = {
            "id": str(uuid.uuid4()),  # never reused, even after a reset
            "type": "prospect_search",
            "status": "pending",
            "description": "Find 20 CEOs at law firms in New York",
            "created_at": format_timestamp(self._state.clock.now()),
            "metadata": {},
        }
        return ordinary | dict(given)

    async def settle(self, request: Request) -> Response:
        try:
            status = _member(await _json(request), "status")
        except ValueError as error:
            return _bad_request(str(error))
        if not isinstance(status, str) or status not in STATUSES[1:]:
            return _bad_request(f"expected at status one of {', '.join(STATUSES[1:])}")
        task_id = request.path_params["task_id"]
        try:
            self._state.store.settle(
                task_id, status, now=self._state.clock.now(), by=PERSON
            )
        except TaskNotFound:
            return _bad_request("there is no such task", HTTPStatus.NOT_FOUND)
        except TaskNotPending as error:
            return _bad_request(f"the task is {error.status}", HTTPStatus.CONFLICT)
        return responses.json_response({"task_id": task_id, "status": status})

    async def remove(self, request: Request) -> Response:
        try:
            self._state.store.remove(request.path_params["task_id"])
        except TaskNotFound:
            return _bad_request("there is no such task", HTTPStatus.NOT_FOUND)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def reset(self, request: Request) -> Response:
        self._state.reset()
        return await self.state(request)


async def _json(request: Request) -> Json:
    try:
        value: Json = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    return value


def _member(value: Json, name: str) -> Json:
    if not isinstance(value, dict) or name not in value:
        raise ValueError(f"expected an object with {name!r}")
    return value[name]


def _strings(value: Json, name: str) -> list[str]:
    found = _member(value, name)
    if not isinstance(found, list):
        raise ValueError(f"expected a list at {name}")  # noqa: TRY004 - a wrong body
    texts = [each for each in found if isinstance(each, str)]
    if len(texts) < len(found):
        raise ValueError(f"expected strings at {name}")
    return texts


def _bad_request(message: str, status: int = HTTPStatus.BAD_REQUEST) -> Response:
    return responses.json_response({"message": message}, status)
