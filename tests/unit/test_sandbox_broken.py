"""Every fault over real HTTP: what the client gets, and whether the task changed."""

import json
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.clocks import AutoAdvanceClock
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.sandbox.faults import (
    KINDS_WITH_EFFECT,
    LIST_KINDS,
    FaultKind,
    parse_fault,
)
from triaged.sandbox.settings import SandboxSettings

KEY = {"Authorization": "Bearer wbk_test"}
TASKS = "/v1/lexi/tasks"


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with running_sandbox(SandboxSettings(task_count=5), AutoAdvanceClock()) as running:
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


def dismiss(api: httpx.Client, sandbox: RunningSandbox, fault: str) -> httpx.Response:
    """Dismiss the first task, with a fault to meet."""
    sandbox.world.faults.add(parse_fault(f"dismiss:{fault}"))
    task_id = sandbox.world.store.ids("pending")[0]
    return api.post(f"{TASKS}/{task_id}/dismiss", json={"reason": "testing"})


def effects(sandbox: RunningSandbox) -> int:
    return len(sandbox.world.store.effects)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("429", 429, "rate_limited"),
        ("daily-429", 429, "rate_limited"),
        ("500", 500, "internal_error"),
        ("401", 401, "invalid_key"),
        ("403", 403, "insufficient_permissions"),
        ("not-pending", 400, "validation_error"),
    ],
)
def test_refusals_in_the_api_envelope(
    api: httpx.Client, sandbox: RunningSandbox, fault: str, status: int, code: str
) -> None:
    """The error is in the API's envelope, and the task stays."""
    answer = dismiss(api, sandbox, fault)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert effects(sandbox) == 0
    assert sandbox.world.calls[-1].fault == fault


@pytest.mark.parametrize(("fault", "left"), [("429", "999"), ("daily-429", "0")])
def test_remaining_tells_minute_from_day(
    api: httpx.Client, sandbox: RunningSandbox, fault: str, left: str
) -> None:
    """A minute's 429 leaves some of the day; a day's leaves none until its reset."""
    answer = dismiss(api, sandbox, fault)

    assert answer.headers["x-ratelimit-remaining"] == left
    assert answer.headers["x-ratelimit-limit"] == "1000"
    assert int(answer.headers["x-ratelimit-reset"]) > sandbox.world.seconds()


def test_failures_of_the_platform(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """What fails below the API has another envelope, or none."""
    answers = [dismiss(api, sandbox, fault) for fault in ("502", "503", "html-404")]

    assert [answer.status_code for answer in answers] == [502, 503, 404]
    assert answers[0].headers["content-type"].startswith("text/html")
    assert answers[1].json()["code"] == "BOOT_ERROR"
    assert "error" not in answers[1].json()
    assert answers[2].headers["content-type"].startswith("text/html")
    assert effects(sandbox) == 0


def test_error_after_the_effect(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """The answer is 500, and yet the task is dismissed."""
    answer = dismiss(api, sandbox, "500-after-effect")

    assert answer.status_code == 500
    assert effects(sandbox) == 1


@pytest.mark.parametrize(
    ("fault", "done"), [("drop-before-effect", 0), ("drop-after-effect", 1)]
)
def test_dropped(
    api: httpx.Client, sandbox: RunningSandbox, fault: str, done: int
) -> None:
    """The connection is dropped, whether the task has changed or not."""
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        dismiss(api, sandbox, fault)

    assert effects(sandbox) == done
    assert sandbox.world.calls[-1].status == "dropped"
    assert api.get(TASKS).status_code == 200


@pytest.mark.parametrize("operation", ["list", "dismiss"])
def test_truncated(api: httpx.Client, sandbox: RunningSandbox, operation: str) -> None:
    """The response is shorter than announced, and the client notices."""
    sandbox.world.faults.add(parse_fault(f"{operation}:truncated"))
    task_id = sandbox.world.store.ids("pending")[0]
    method, path = {
        "list": ("GET", TASKS),
        "dismiss": ("POST", f"{TASKS}/{task_id}/dismiss"),
    }[operation]

    with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
        api.request(method, path)
    assert effects(sandbox) == (operation == "dismiss")


def test_truncated_sends_a_beginning(
    api: httpx.Client, sandbox: RunningSandbox
) -> None:
    """There is a good head and half of the body before the cut."""
    sandbox.world.faults.add(parse_fault("list:truncated"))
    seen: list[bytes] = []
    with (
        api.stream("GET", TASKS) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        seen.extend(answer.iter_raw())

    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit"] == "1000"
    assert int(answer.headers["content-length"]) // 2 == len(b"".join(seen))
    assert seen[0].startswith(b'{"data":{"tasks":[')


@pytest.mark.parametrize("fault", ["slow", "delay-after-effect"])
def test_slow(fault: str) -> None:
    """The answer is good and late by as much as was asked for."""
    clock = AutoAdvanceClock()
    with (
        running_sandbox(SandboxSettings(task_count=1), clock) as running,
        httpx.Client(base_url=running.api_url, headers=KEY) as api,
    ):
        started = clock.at
        answer = dismiss(api, running, f"{fault}=12")
        effect = running.world.store.effects[0]

    assert answer.status_code == 200
    assert clock.slept == [12]
    assert (effect.at - started).total_seconds() == (12 if fault == "slow" else 0)


def test_slow_outlasts_the_client_but_not_the_sandbox() -> None:
    """A client that gives up gets nothing; the task changes; the sandbox stops."""
    with (
        running_sandbox(SandboxSettings(task_count=1)) as running,
        httpx.Client(base_url=running.api_url, headers=KEY, timeout=0.2) as api,
    ):
        with pytest.raises(httpx.ReadTimeout):
            dismiss(api, running, "delay-after-effect=3600")
        done = effects(running)

    assert done == 1


def test_html(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """200 with an HTML page changes no task."""
    answer = dismiss(api, sandbox, "html")

    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")
    assert effects(sandbox) == 0


def test_wrong_shape(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """The JSON has another schema, and yet the task is dismissed."""
    answer = dismiss(api, sandbox, "bad-schema")
    sandbox.world.faults.add(parse_fault("list:bad-schema"))
    listed = api.get(TASKS)

    assert answer.json() == {"data": {"ok": True}}
    assert effects(sandbox) == 1
    assert "tasks" not in listed.json()["data"]


def test_redirect(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """307 points to another server."""
    answer = dismiss(api, sandbox, "redirect")

    assert answer.status_code == 307
    assert not answer.headers["location"].startswith(sandbox.url)
    assert effects(sandbox) == 0


def test_huge(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """The body goes on until the client disconnects."""
    sandbox.world.faults.add(parse_fault("list:huge"))
    size = 0
    with api.stream("GET", TASKS) as answer:
        for chunk in answer.iter_raw():
            size += len(chunk)
            if size > 4 * 1024 * 1024:
                break

    assert answer.status_code == 200
    assert "content-length" not in answer.headers
    assert size > 4 * 1024 * 1024
    assert api.get(TASKS).status_code == 200


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - LIST_KINDS - {FaultKind.HUGE}))
def test_every_fault_passes(
    api: httpx.Client, sandbox: RunningSandbox, kind: FaultKind
) -> None:
    """Each fault meets one call, has its stated effect, and the next call succeeds."""
    name = (
        f"{kind}=1"
        if kind in {FaultKind.SLOW, FaultKind.DELAY_AFTER_EFFECT}
        else str(kind)
    )
    with suppress(httpx.TransportError):
        dismiss(api, sandbox, name)

    assert effects(sandbox) == (kind in KINDS_WITH_EFFECT)
    assert sandbox.world.faults.active() == []
    assert json.loads(api.get(TASKS).content)["data"]["tasks"]


def test_retry_after_on_503(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """A 503 can tell for how long the service is away."""
    default = dismiss(api, sandbox, "503-retry-after")
    chosen = dismiss(api, sandbox, "503-retry-after=7")

    assert [answer.status_code for answer in (default, chosen)] == [503, 503]
    assert default.headers["retry-after"] == "120"
    assert chosen.headers["retry-after"] == "7"
    assert effects(sandbox) == 0


def listed(api: httpx.Client, sandbox: RunningSandbox, fault: str) -> httpx.Response:
    sandbox.world.faults.add(parse_fault(f"list:{fault}"))
    return api.get(f"{TASKS}?status=dismissed")


def test_ignored_filter(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """A list can have the tasks of all statuses, whichever was asked for."""
    first = sandbox.world.store.ids("pending")[0]
    sandbox.world.store.settle(first, "dismissed", now=sandbox.world.clock.now())
    tasks = listed(api, sandbox, "no-filter").json()["data"]["tasks"]

    assert [task["status"] for task in tasks].count("pending") == 4
    assert [task["status"] for task in tasks].count("dismissed") == 1


def test_pages(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """A paged list names its total and links to the next page, which can be read."""
    sandbox.world.faults.add(parse_fault("list:paged=2:3"))
    pages = [api.get(f"{TASKS}?status=pending")]
    while "next" in pages[-1].links:
        pages.append(api.get(pages[-1].links["next"]["url"]))
    seen = [task["id"] for page in pages for task in page.json()["data"]["tasks"]]
    links = [page.headers.get("link", "") for page in pages]

    assert [page.json()["meta"]["total"] for page in pages] == [5, 5, 5]
    assert seen == sandbox.world.store.ids("pending")
    assert [link.partition("; ")[2] for link in links] == ['rel="next"'] * 2 + [""]
    assert "status=pending" in links[0]


def test_null_tasks(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """A list can have null where the tasks belong."""
    assert listed(api, sandbox, "null-tasks").json() == {"data": {"tasks": None}}


def test_error_beside_data(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """A response can have both data and an error, and the task has changed."""
    body = dismiss(api, sandbox, "partial-error").json()

    assert body["data"]["status"] == "dismissed"
    assert body["error"]["code"] == "partial_failure"
    assert effects(sandbox) == 1


def test_age(api: httpx.Client, sandbox: RunningSandbox) -> None:
    """A response can be marked as one from a cache."""
    ages = [listed(api, sandbox, fault).headers["age"] for fault in ("age", "age=30")]

    assert ages == ["600", "30"]


def test_faults_of_lists_spare_other_calls(
    api: httpx.Client, sandbox: RunningSandbox
) -> None:
    """A fault of lists on any operation waits for the next list."""
    sandbox.world.faults.add(parse_fault("any:null-tasks"))
    task_id = sandbox.world.store.ids("pending")[0]
    dismissed = api.post(f"{TASKS}/{task_id}/dismiss", json={"reason": "testing"})

    assert dismissed.json()["data"]["status"] == "dismissed"
    assert api.get(TASKS).json() == {"data": {"tasks": None}}


def test_faults_of_the_settings_come_back_with_a_reset() -> None:
    """Faults of the settings are met again after a reset."""
    settings = SandboxSettings(task_count=1, faults=(parse_fault("list:503:1@1"),))
    with running_sandbox(settings, AutoAdvanceClock()) as running:
        statuses = []
        for _ in range(2):
            statuses += [
                httpx.get(running.api_url + TASKS, headers=KEY).status_code
                for _ in range(3)
            ]
            httpx.post(f"{running.url}/sandbox/reset")

    assert statuses == [200, 503, 200] * 2


def test_429_without_a_day_limit() -> None:
    """Without a daily limit only the daily 429 has headers."""
    settings = SandboxSettings(
        task_count=1,
        day_limit=None,
        faults=(parse_fault("any:429"), parse_fault("any:daily-429")),
    )
    with running_sandbox(settings, AutoAdvanceClock()) as running:
        minute, day = (
            httpx.get(running.api_url + TASKS, headers=KEY) for _ in range(2)
        )

    assert "x-ratelimit-remaining" not in minute.headers
    assert day.headers["x-ratelimit-remaining"] == "0"
