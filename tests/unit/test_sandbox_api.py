"""The API over real HTTP: answers, envelopes, headers, key, quota."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.builders import T0
from tests.clocks import AutoAdvanceClock
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.store import encode

KEY = {"Authorization": "Bearer wbk_test"}
TASKS = "/v1/lexi/tasks"
# T0 is a midnight; the quota's day ends a day later.
RESET = str(int(T0.timestamp()) + 86_400)
SETTINGS = SandboxSettings(
    task_count=8, settled_ratio=1.0, minute_limit=10, day_limit=100
)


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with running_sandbox(SETTINGS, AutoAdvanceClock()) as running:
        yield running


@pytest.fixture
def sandbox(shared: RunningSandbox) -> RunningSandbox:
    shared.world.reset()
    return shared


@pytest.fixture(scope="module")
def client(shared: RunningSandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.api_url, headers=KEY, timeout=5) as client:
        yield client


@pytest.fixture
def api(sandbox: RunningSandbox, client: httpx.Client) -> httpx.Client:
    assert client.base_url == f"{sandbox.api_url}/"
    return client


def test_list_answers_in_the_documented_shape(
    api: httpx.Client, sandbox: RunningSandbox
) -> None:
    """Pending unless told otherwise, under data.tasks, and nothing else."""
    answer = api.get(TASKS)

    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(body) == ["data"]
    assert list(body["data"]) == ["tasks"]
    assert [task["id"] for task in body["data"]["tasks"]] == sandbox.world.store.ids(
        "pending"
    )
    assert body == api.get(TASKS, params={"status": "pending"}).json()


@pytest.mark.parametrize("status", ["approved", "dismissed", "completed", "failed"])
def test_list_of_each_status(
    api: httpx.Client, sandbox: RunningSandbox, status: str
) -> None:
    """Settled tasks are listed under their own status only."""
    tasks = api.get(TASKS, params={"status": status}).json()["data"]["tasks"]

    assert len(tasks) == sandbox.world.store.counts()[status]
    assert {task["status"] for task in tasks} <= {status}


def test_list_of_no_status_is_a_validation_error(api: httpx.Client) -> None:
    """A sixth status is refused, and details say which field is wrong."""
    answer = api.get(TASKS, params={"status": "Pending"})

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["code"] == "validation_error"
    assert "status" in error["details"]["fields"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"reason":"not_relevant"}', "not_relevant"),
        ('{"reason":"schon erledigt — Müller"}'.encode(), "schon erledigt — Müller"),
        (b"{}", None),
        (b'{"reason":null,"more":1}', None),
        (b"", None),
    ],
)
def test_dismiss(
    api: httpx.Client, sandbox: RunningSandbox, body: bytes, reason: str | None
) -> None:
    """The body and its reason are optional; the answer names task and status."""
    task_id = sandbox.world.store.ids("pending")[0]
    answer = api.post(f"{TASKS}/{task_id}/dismiss", content=body)

    assert answer.status_code == 200
    assert answer.json() == {"data": {"task_id": task_id, "status": "dismissed"}}
    assert [effect.reason for effect in sandbox.world.store.effects] == [reason]
    assert sandbox.world.store.status_of(task_id) == "dismissed"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"testing"', b'{"reason":7}', b"\xff"])
def test_dismiss_with_a_wrong_body(
    api: httpx.Client, sandbox: RunningSandbox, body: bytes
) -> None:
    """What is no reason is refused, and the task stays."""
    task_id = sandbox.world.store.ids("pending")[0]
    answer = api.post(f"{TASKS}/{task_id}/dismiss", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "validation_error"
    assert sandbox.world.store.effects == []


def test_second_dismissal_is_refused(
    api: httpx.Client, sandbox: RunningSandbox
) -> None:
    """It is 400 with the documented text, and the log shows one effect, asked twice."""
    task_id = sandbox.world.store.ids("pending")[0]
    path = f"{TASKS}/{task_id}/dismiss"
    api.post(path)
    answer = api.post(path)

    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": "validation_error",
            "message": "Task has already been dismissed",
        }
    }
    assert len(sandbox.world.store.effects) == 1
    assert sandbox.world.store.request_count(task_id) == 2


def test_approve(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """Approval says that work has begun; a dismissal then comes too late."""
    task_id = sandbox.world.store.ids("pending")[0]
    answer = api.post(f"{TASKS}/{task_id}/approve")
    late = api.post(f"{TASKS}/{task_id}/dismiss")

    assert answer.json() == {
        "data": {"task_id": task_id, "status": "approved", "execution_started": True}
    }
    assert late.json()["error"]["message"] == "Task has already been approved"


@pytest.mark.parametrize("operation", ["dismiss", "approve"])
def test_unknown_task_is_not_found(api: httpx.Client, operation: str) -> None:
    """In the API's own envelope."""
    answer = api.post(f"{TASKS}/nope/{operation}")

    assert answer.status_code == 404
    assert answer.json() == {
        "error": {"code": "not_found", "message": "Task not found"}
    }


def test_ids_are_opaque(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """An escaped id arrives as it is, slashes and all."""
    sandbox.world.store.add([{"id": "a/b?ü %2F"}])
    answer = api.post(f"{TASKS}/a%2Fb%3F%C3%BC%20%252F/dismiss")

    assert answer.json()["data"]["task_id"] == "a/b?ü %2F"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer sk_1", "wbk_1", "Basic wbk_1"]
)
def test_key_is_wanted(sandbox: RunningSandbox, authorization: str | None) -> None:
    """Without a key of LeadLex's there is 401, nothing is done, no quota is spent."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = httpx.get(sandbox.api_url + TASKS, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_key"
    assert "x-ratelimit-limit" not in answer.headers
    assert sandbox.world.limits.peek(T0.timestamp()).remaining == 100


def test_only_the_configured_key() -> None:
    """Where one key is configured, no other opens."""
    settings = SandboxSettings(task_count=1, key="wbk_right")
    with running_sandbox(settings, AutoAdvanceClock()) as running:
        statuses = [
            httpx.get(
                running.api_url + TASKS, headers={"Authorization": f"bearer {key}"}
            ).status_code
            for key in ("wbk_wrong", "wbk_right")
        ]

    assert statuses == [401, 200]


def test_headers(api: httpx.Client) -> None:
    """Every answer shows the day's window, a request id and the clock's date."""
    first, second = api.get(TASKS), api.post(f"{TASKS}/nope/dismiss")

    assert first.headers["x-ratelimit-limit"] == "100"
    assert first.headers["x-ratelimit-remaining"] == "99"
    assert second.headers["x-ratelimit-remaining"] == "98"
    assert first.headers["x-ratelimit-reset"] == RESET
    assert first.headers["date"] == "Sun, 01 Mar 2026 00:00:00 GMT"
    assert first.headers.get_list("date", split_commas=False) == [first.headers["date"]]
    assert re.fullmatch(r"req_[0-9A-Z]{26}", first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert "retry-after" not in first.headers


def test_minute_is_refused_and_headers_do_not_say_so(api: httpx.Client) -> None:
    """The eleventh call is refused while plenty is left of the day."""
    answers = [api.get(TASKS) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[-1].json() == {
        "error": {"code": "rate_limited", "message": "Rate limit exceeded"}
    }
    assert answers[-1].headers["x-ratelimit-remaining"] == "90"
    assert "retry-after" not in answers[-1].headers


def test_day_is_refused_until_its_reset() -> None:
    """Nothing is left until the moment that the headers name; then all is."""
    clock = AutoAdvanceClock()
    settings = SandboxSettings(
        task_count=1, minute_limit=None, day_limit=2, retry_after=True
    )
    with (
        running_sandbox(settings, clock) as running,
        httpx.Client(base_url=running.api_url, headers=KEY) as api,
    ):
        spent = [api.get(TASKS) for _ in range(3)][-1]
        clock.advance(86_399)
        late = api.get(TASKS)
        clock.advance(1)
        next_day = api.get(TASKS)

    assert (spent.status_code, late.status_code, next_day.status_code) == (
        429,
        429,
        200,
    )
    assert spent.headers["x-ratelimit-remaining"] == "0"
    assert spent.headers["x-ratelimit-reset"] == RESET
    assert (spent.headers["retry-after"], late.headers["retry-after"]) == ("86400", "1")
    assert next_day.headers["x-ratelimit-remaining"] == "1"


def test_unlimited_day_has_no_quota_headers() -> None:
    """Where nothing is limited, nothing is said."""
    settings = SandboxSettings(task_count=1, minute_limit=None, day_limit=None)
    with running_sandbox(settings, AutoAdvanceClock()) as running:
        answer = httpx.get(running.api_url + TASKS, headers=KEY)

    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_latency_and_row_cap() -> None:
    """The service can be slow, and can cap the number of listed tasks."""
    clock = AutoAdvanceClock()
    settings = SandboxSettings(task_count=9, latency=0.25, row_cap=4)
    with running_sandbox(settings, clock) as running:
        answer = httpx.get(running.api_url + TASKS, headers=KEY)

    assert clock.slept == [0.25]
    assert len(answer.json()["data"]["tasks"]) == 4


def test_unknown_paths_have_two_envelopes(
    api: httpx.Client, sandbox: RunningSandbox
) -> None:
    """Below the base URL the API refuses, above it the platform does."""
    within, one_task = api.get("/v2/lexi/tasks"), api.get(f"{TASKS}/some-id")
    beyond = httpx.get(f"{sandbox.url}/functions/v1/nothing", headers=KEY)

    assert within.status_code == one_task.status_code == beyond.status_code == 404
    assert within.json()["error"]["code"] == "not_found"
    assert beyond.json() == {
        "code": "NOT_FOUND",
        "message": "Requested function was not found",
    }


def test_calls_are_recorded(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """Each call is remembered with its answer and its request id."""
    answers = [api.get(TASKS), api.post(f"{TASKS}/nope/dismiss")]

    calls = list(sandbox.world.calls)
    assert [(call.operation, call.status) for call in calls] == [
        ("list", "200"),
        ("dismiss", "404"),
    ]
    assert calls[1].task_id == "nope"
    assert [call.request_id for call in calls] == [
        answer.headers["x-request-id"] for answer in answers
    ]


def test_text_goes_out_as_utf8(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """Non-ASCII is not escaped; a lone surrogate, legal JSON, is."""
    sandbox.world.store.add([{"id": "u", "description": "Zürich — 東京"}])
    plain = api.get(TASKS).content
    sandbox.world.store.add([{"id": "s", "description": "\ud800"}])

    assert "Zürich — 東京".encode() in plain
    assert b"\\ud800" in api.get(TASKS).content
    assert encode({"a": "ü"}) == '{"a":"ü"}'.encode()
