"""Tests of the one call that approves."""

from collections.abc import Callable
from typing import Final

import httpx
import pytest

from tests.clocks import ManualClock
from tests.connections import OwnConnection
from triaged.leadlex.approver import LexiApprover
from triaged.leadlex.errors import (
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    TaskNotFound,
)

pytestmark = pytest.mark.anyio

BASE: Final = "https://data.leadlex.com/functions/v1/api-gateway"


def connect(server: Callable[[httpx.Request], httpx.Response]) -> OwnConnection:
    return OwnConnection(
        base_url=BASE,
        key=lambda: "wbk_test",
        clock=ManualClock(),
        transport=httpx.MockTransport(server),
    )


async def test_an_approval_is_one_post_without_a_body() -> None:
    """What a person approved is asked for as documented, id escaped."""
    asked: list[httpx.Request] = []
    data = {"task_id": "a/b", "status": "approved", "execution_started": True}

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"data": data}, headers={"X-Request-ID": "r"})

    async with connect(server) as connection:
        done = await LexiApprover(connection).approve("a/b")
    (request,) = asked

    assert (request.method, str(request.url), request.content) == (
        "POST",
        f"{BASE}/v1/lexi/tasks/a%2Fb/approve",
        b"",
    )
    assert done.request_id == "r"


def refusal(code: str) -> dict[str, object]:
    return {"error": {"code": code, "message": "Task has already been dismissed"}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"data": {"task_id": "a", "status": "dismissed"}}, MalformedResponse),
        (200, {"data": {"task_id": "b", "status": "approved"}}, MalformedResponse),
        (200, {"data": {}}, MalformedResponse),
        (400, refusal("validation_error"), NotPending),
        (404, refusal("not_found"), TaskNotFound),
        (500, refusal("internal_error"), NoResponse),
    ],
)
async def test_an_approval_that_is_not_confirmed(
    status: int, body: object, kind: type[LexiError]
) -> None:
    """Only an answer that names this task as approved is an approval."""
    async with connect(lambda _: httpx.Response(status, json=body)) as connection:
        with pytest.raises(LexiError) as raised:
            await LexiApprover(connection).approve("a")

    assert type(raised.value) is kind
    assert raised.value.operation == "approve"
