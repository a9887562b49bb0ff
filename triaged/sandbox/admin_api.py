"""What people and tests turn: faults, tasks, state; no key, and no quota.

Nothing here exists in LeadLex.
"""

import json
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
    TaskNotPending,
    UnknownTaskError,
    render_moment,
)


class AdminRoutes:
    """Answers the requests that turn one world."""

    def __init__(self, world: SandboxState) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """Return what is served beside the API."""
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
        """Show the state to a person."""
        return page.render(self._world)

    async def state(self, _: Request) -> Response:
        """Tell the state to a program."""
        return responses.json_answer(self._world.state())

    async def add_faults(self, request: Request) -> Response:
        """Add to the script: ``{"faults": ["dismiss:cut-after:3"]}``."""
        try:
            wished = _texts(await _json(request), "faults")
            faults = [parse_fault(text) for text in wished]
        except ValueError as error:
            return _wrong(str(error))
        for fault in faults:
            self._world.faults.add(fault)
        return await self.state(request)

    async def clear_faults(self, request: Request) -> Response:
        """Forget the script."""
        self._world.faults.clear()
        return await self.state(request)

    async def add_tasks(self, request: Request) -> Response:
        """Add ``{"tasks": [...]}``, completed unless ``"raw": true``; tell the ids."""
        try:
            body = await _json(request)
            tasks = _member(body, "tasks")
        except ValueError as error:
            return _wrong(str(error))
        if not isinstance(tasks, list):
            return _wrong("expected a list at tasks")
        if not (isinstance(body, dict) and body.get("raw")):
            tasks = [self._completed(task) for task in tasks]
        self._world.store.add(tasks)
        ids = [task.get("id") for task in tasks if isinstance(task, dict)]
        return responses.json_answer({"ids": ids}, HTTPStatus.CREATED)

    def _completed(self, task: Json) -> Json:
        given: Mapping[str, Json] = task if isinstance(task, dict) else {}
        ordinary: dict[str, Json] = {
            "id": self._world.new_id(),
            "type": "prospect_search",
            "status": "pending",
            "description": "Find 20 CEOs at law firms in New York",
            "created_at": render_moment(self._world.clock.now()),
            "metadata": {},
        }
        return ordinary | dict(given)

    async def settle(self, request: Request) -> Response:
        """Settle a task as a person in the dashboard: ``{"status": "approved"}``."""
        try:
            status = _member(await _json(request), "status")
        except ValueError as error:
            return _wrong(str(error))
        if not isinstance(status, str) or status not in STATUSES[1:]:
            return _wrong(f"expected at status one of {', '.join(STATUSES[1:])}")
        task_id = request.path_params["task_id"]
        try:
            self._world.store.settle(
                task_id, status, now=self._world.clock.now(), by=PERSON
            )
        except UnknownTaskError:
            return _wrong("there is no such task", HTTPStatus.NOT_FOUND)
        except TaskNotPending as settled:
            return _wrong(f"the task is {settled.status}", HTTPStatus.CONFLICT)
        return responses.json_answer({"task_id": task_id, "status": status})

    async def remove(self, request: Request) -> Response:
        """Make a task vanish."""
        try:
            self._world.store.remove(request.path_params["task_id"])
        except UnknownTaskError:
            return _wrong("there is no such task", HTTPStatus.NOT_FOUND)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def reset(self, request: Request) -> Response:
        """Begin again."""
        self._world.reset()
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


def _texts(value: Json, name: str) -> list[str]:
    found = _member(value, name)
    if not isinstance(found, list):
        raise ValueError(f"expected a list at {name}")  # noqa: TRY004 - a wrong body
    texts = [each for each in found if isinstance(each, str)]
    if len(texts) < len(found):
        raise ValueError(f"expected texts at {name}")
    return texts


def _wrong(message: str, status: int = HTTPStatus.BAD_REQUEST) -> Response:
    return responses.json_answer({"message": message}, status)
