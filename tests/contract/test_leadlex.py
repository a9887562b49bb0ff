"""What every LeadLex must do: the fake, the client on a function, on the sandbox."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias
from urllib.parse import unquote

import httpx
import pytest

from tests.builders import a_task
from tests.clocks import ManualClock
from tests.connections import OwnConnection
from tests.fakes import InMemoryLeadLex
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.leadlex.errors import KeyRejected, LexiError, NotPending, TaskNotFound
from triaged.leadlex.models import Confirmation, TaskList
from triaged.leadlex.reader import LexiReader
from triaged.leadlex.writer import LexiWriter
from triaged.rules.task import Json
from triaged.sandbox.settings import SandboxSettings

KEY: Final = "wbk_right"
STATUSES: Final = ("pending", "approved", "dismissed", "completed", "failed")
PATH: Final = "/functions/v1/api-gateway/v1/lexi/tasks"

Entry: TypeAlias = dict[str, Json]


class LeadLex(Protocol):
    """What the cycle and the dispatcher need of LeadLex."""

    async def list_tasks(self, status: str = "pending") -> TaskList: ...

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation: ...


@dataclass(frozen=True, slots=True)
class Implementation:
    """One implementation on a workspace, and the reasons that reached the server."""

    leadlex: LeadLex
    reasons: Callable[[], Mapping[str, str | None]]


class Factory(Protocol):
    """Opens an implementation on a workspace, with the right key or a wrong one."""

    def __call__(
        self, entries: Sequence[Entry], *, accepts_key: bool = True
    ) -> AbstractAsyncContextManager[Implementation]: ...


class HttpClient:
    """Reader and writer over one connection."""

    def __init__(self, connection: OwnConnection) -> None:
        self.list_tasks = LexiReader(connection).list_tasks
        self.dismiss = LexiWriter(connection).dismiss


@asynccontextmanager
async def in_memory(
    entries: Sequence[Entry], *, accepts_key: bool = True
) -> AsyncIterator[Implementation]:
    leadlex = InMemoryLeadLex(entries, accepts_key=accepts_key)
    yield Implementation(leadlex, lambda: leadlex.reasons)


def _respond(status: int, body: object) -> httpx.Response:
    return httpx.Response(status, json=body)


def _error(status: int, code: str, message: str = "No") -> httpx.Response:
    return _respond(status, {"error": {"code": code, "message": message}})


class PlainServer:
    """The documented API as one function."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = {str(entry["id"]): dict(entry) for entry in entries}
        self.reasons: dict[str, str | None] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.headers["authorization"] != f"Bearer {KEY}":
            return _error(401, "invalid_key")
        path = request.url.raw_path.decode("ascii").split("?")[0]
        if (request.method, path) == ("GET", PATH):
            status = request.url.params["status"]
            rows = [e for e in self.entries.values() if e["status"] == status]
            return _respond(200, {"data": {"tasks": rows}})
        assert request.method == "POST"
        segment, last = path.removeprefix(f"{PATH}/").split("/")
        assert last == "dismiss"
        return self._dismiss(unquote(segment), json.loads(request.content))

    def _dismiss(self, task_id: str, body: dict[str, str]) -> httpx.Response:
        if task_id not in self.entries:
            return _error(404, "not_found")
        if self.entries[task_id]["status"] != "pending":
            return _error(400, "validation_error", "Task has already been dismissed")
        self.entries[task_id]["status"] = "dismissed"
        self.reasons[task_id] = body["reason"]
        return _respond(200, {"data": {"task_id": task_id, "status": "dismissed"}})


def _connection(
    url: str, *, accepts_key: bool, transport: httpx.AsyncBaseTransport | None = None
) -> OwnConnection:
    key = KEY if accepts_key else "wbk_wrong"
    clock = ManualClock()
    return OwnConnection(
        base_url=url, key=lambda: key, clock=clock, transport=transport
    )


@asynccontextmanager
async def on_function(
    entries: Sequence[Entry], *, accepts_key: bool = True
) -> AsyncIterator[Implementation]:
    server = PlainServer(entries)
    url = "http://127.0.0.1/functions/v1/api-gateway"
    transport = httpx.MockTransport(server)
    async with _connection(
        url, accepts_key=accepts_key, transport=transport
    ) as connection:
        yield Implementation(HttpClient(connection), lambda: server.reasons)


def on_sandbox(sandbox: RunningSandbox) -> Factory:
    @asynccontextmanager
    async def factory(
        entries: Sequence[Entry], *, accepts_key: bool = True
    ) -> AsyncIterator[Implementation]:
        sandbox.world.reset()
        store = sandbox.world.store
        store.add(entries)
        async with _connection(sandbox.api_url, accepts_key=accepts_key) as connection:
            yield Implementation(
                HttpClient(connection),
                lambda: {e.task_id: e.reason for e in store.effects},
            )

    return factory


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(
        task_count=0, key=KEY, minute_limit=None, day_limit=None, list_order="added"
    )
    with running_sandbox(settings) as running:
        yield running


@pytest.fixture(params=["memory", "function", "sandbox"])
def factory(request: pytest.FixtureRequest) -> Factory:
    if request.param == "sandbox":
        return on_sandbox(request.getfixturevalue("sandbox"))
    return in_memory if request.param == "memory" else on_function


def an_entry(task_id: str = "task-1", **fields: Json) -> Entry:
    return dict(a_task().raw) | {"id": task_id} | fields


def one_of_each() -> list[Entry]:
    return [an_entry(f"task-{status}", status=status) for status in STATUSES]


def ids(listed: TaskList) -> list[str | None]:
    return [task.id for task in listed.tasks]


async def refusal(leadlex: LeadLex, task_id: str) -> LexiError:
    with pytest.raises(LexiError) as raised:
        await leadlex.dismiss(task_id, "testing")
    return raised.value


@pytest.mark.anyio
async def test_an_empty_workspace_lists_nothing(factory: Factory) -> None:
    """No tasks is a list without tasks, not an error."""
    async with factory([]) as opened:
        listed = await opened.leadlex.list_tasks()

    assert listed.tasks == []


@pytest.mark.anyio
async def test_pending_tasks_are_listed(factory: Factory) -> None:
    """Unless told otherwise, a list has the pending tasks and no others."""
    async with factory(one_of_each()) as opened:
        listed = await opened.leadlex.list_tasks()

    assert ids(listed) == ["task-pending"]


@pytest.mark.anyio
@pytest.mark.parametrize("status", STATUSES)
async def test_any_status_can_be_listed(factory: Factory, status: str) -> None:
    """A list of one status has exactly the tasks of that status."""
    async with factory(one_of_each()) as opened:
        listed = await opened.leadlex.list_tasks(status)

    assert ids(listed) == [f"task-{status}"]


@pytest.mark.anyio
async def test_a_task_is_listed_as_it_is(factory: Factory) -> None:
    """Every field arrives unchanged, undocumented fields too."""
    entry = an_entry(
        description="Hans Müller \U0001f600 \n", metadata={"a": [1, {"b": None}]}, new=1
    )
    async with factory([entry]) as opened:
        listed = await opened.leadlex.list_tasks()

    assert [dict(task.raw) for task in listed.tasks] == [entry]


@pytest.mark.anyio
async def test_a_dismissal_takes_the_task_out_of_pending(factory: Factory) -> None:
    """A dismissed task is listed as dismissed, with its reason, and the rest stays."""
    async with factory([an_entry("a"), an_entry("b")]) as opened:
        await opened.leadlex.dismiss("a", "testing")
        pending = ids(await opened.leadlex.list_tasks())
        dismissed = ids(await opened.leadlex.list_tasks("dismissed"))

        assert (pending, dismissed) == (["b"], ["a"])
        assert opened.reasons() == {"a": "testing"}


@pytest.mark.anyio
async def test_a_second_dismissal_is_refused(factory: Factory) -> None:
    """The second dismissal of a task changes nothing and is refused."""
    async with factory([an_entry("a")]) as opened:
        await opened.leadlex.dismiss("a", "testing")
        error = await refusal(opened.leadlex, "a")

        assert type(error) is NotPending
        assert (error.operation, error.status) == ("dismiss", 400)
        assert opened.reasons() == {"a": "testing"}


@pytest.mark.anyio
@pytest.mark.parametrize("status", STATUSES[1:])
async def test_only_pending_tasks_are_dismissed(factory: Factory, status: str) -> None:
    """A task whose status is final keeps it."""
    async with factory([an_entry("a", status=status)]) as opened:
        error = await refusal(opened.leadlex, "a")
        still = ids(await opened.leadlex.list_tasks(status))

    assert type(error) is NotPending
    assert still == ["a"]


@pytest.mark.anyio
async def test_a_hook_can_stop_a_dismissal(factory: Factory) -> None:
    """What the hook raises reaches the caller, and nothing is dismissed."""

    def stop() -> None:
        raise KeyError("paused")

    ran: list[bool] = []
    async with factory([an_entry("a"), an_entry("b")]) as opened:
        with pytest.raises(KeyError, match="paused"):
            await opened.leadlex.dismiss("a", "testing", before_send=stop)
        await opened.leadlex.dismiss(
            "b", "testing", before_send=lambda: ran.append(True)
        )

        assert opened.reasons() == {"b": "testing"}
    assert ran == [True]


@pytest.mark.anyio
async def test_an_unknown_task_is_gone(factory: Factory) -> None:
    """Dismissing an unknown id fails and changes nothing."""
    async with factory([an_entry("a")]) as opened:
        error = await refusal(opened.leadlex, "b")
        pending = ids(await opened.leadlex.list_tasks())

    assert type(error) is TaskNotFound
    assert (error.operation, error.status) == ("dismiss", 404)
    assert pending == ["a"]


@pytest.mark.anyio
async def test_a_wrong_key_does_nothing(factory: Factory) -> None:
    """Without the right key nothing is listed and nothing dismissed."""
    async with factory([an_entry("a")], accepts_key=False) as opened:
        error = await refusal(opened.leadlex, "a")
        with pytest.raises(KeyRejected) as raised:
            await opened.leadlex.list_tasks()

        assert type(error) is KeyRejected
        assert (error.operation, error.status) == ("dismiss", 401)
        assert raised.value.operation == "list"
        assert opened.reasons() == {}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "task_id",
    [
        "a/b",
        "../x",
        "a..b",
        "x/approve",
        "x/dismiss",
        "a?status=approved",
        "a#b",
        "a%2Fb",
        "%2e%2e",
        "100%",
        "a\\b",
        "a b",
        "a\0b",
        "Müller \U0001f600",
    ],
)
async def test_an_id_means_itself(factory: Factory, task_id: str) -> None:
    """Whatever characters an id has, it dismisses that task and no other."""
    async with factory([an_entry(task_id), an_entry("x"), an_entry("a")]) as opened:
        await opened.leadlex.dismiss(task_id, "testing")
        pending = ids(await opened.leadlex.list_tasks())

        assert opened.reasons() == {task_id: "testing"}
        assert pending == ["x", "a"]
