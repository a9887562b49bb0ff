"""The control endpoints and the page: no key, no quota, nothing executable."""

from collections.abc import Iterator

import httpx
import pytest

from tests.clocks import AutoAdvanceClock
from tests.sandbox_server import RunningSandbox, running_sandbox
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
    with httpx.Client(base_url=shared.url) as client:
        yield client


@pytest.fixture
def control(sandbox: RunningSandbox, client: httpx.Client) -> httpx.Client:
    assert client.base_url == sandbox.url
    return client


def test_state(control: httpx.Client, sandbox: RunningSandbox) -> None:
    """The state has tasks, calls, effects, limits and faults; reading it is free."""
    task_id = sandbox.world.store.ids("pending")[0]
    httpx.post(
        f"{sandbox.api_url}{TASKS}/{task_id}/dismiss",
        json={"reason": "testing"},
        headers=KEY,
    )
    control.get("/sandbox/state")
    state = control.get("/sandbox/state").json()

    assert state["tasks"]["pending"] == 4
    assert state["calls"] == {"dismiss": {"200": 1}}
    assert state["effects"] == [
        {
            "task_id": task_id,
            "status": "dismissed",
            "reason": "testing",
            "at": "2026-03-01T00:00:00Z",
            "by": "api",
            "requests": 1,
        }
    ]
    assert state["limits"]["minute"] == {"limit": 50, "remaining": 49}
    assert state["limits"]["day"]["remaining"] == 999
    assert state["faults"] == []


def test_faults_are_added_and_cleared(control: httpx.Client) -> None:
    """Faults are written as on the command line."""
    faults = ["dismiss:drop-after-effect:3", "list:html:p=0.5"]
    added = control.post("/sandbox/faults", json={"faults": faults}).json()
    cleared = control.delete("/sandbox/faults").json()

    assert added["faults"] == faults
    assert cleared["faults"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"faults": ["any:500", "dismiss:cut"]}, "unknown fault 'cut'"),
        ({"faults": "any:500"}, "expected a list"),
        ({"faults": [1]}, "expected strings"),
        ({}, "expected an object with 'faults'"),
        (["any:500"], "expected an object with 'faults'"),
    ],
)
def test_wrong_faults_change_nothing(
    control: httpx.Client, sandbox: RunningSandbox, body: object, said: str
) -> None:
    """All of the faults are taken, or none."""
    answer = control.post("/sandbox/faults", json=body)

    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert sandbox.world.faults.active() == []


def test_tasks_are_added_and_completed(
    control: httpx.Client, sandbox: RunningSandbox
) -> None:
    """Absent fields get ordinary values, and the ids are returned."""
    answer = control.post("/sandbox/tasks", json={"tasks": [{"id": "mine"}, {}]})

    ids = answer.json()["ids"]
    tasks = httpx.get(sandbox.api_url + TASKS, headers=KEY).json()["data"]["tasks"]
    mine = next(task for task in tasks if task["id"] == "mine")
    assert answer.status_code == 201
    assert set(ids) <= set(sandbox.world.store.ids("pending"))
    assert (mine["status"], mine["created_at"]) == ("pending", "2026-03-01T00:00:00Z")


def test_ids_are_never_used_again(
    control: httpx.Client, sandbox: RunningSandbox
) -> None:
    """An id that a task has or had is refused, and made ids differ after a reset."""
    made = [control.post("/sandbox/tasks", json={"tasks": [{}]}).json()["ids"]]
    taken, removed = sandbox.world.store.ids("pending")[:2]
    control.delete(f"/sandbox/tasks/{removed}")
    answers = [
        control.post("/sandbox/tasks", json={"tasks": [{"id": each} for each in ids]})
        for ids in ([taken], [removed], ["new", "new"])
    ]
    control.post("/sandbox/reset")
    made.append(control.post("/sandbox/tasks", json={"tasks": [{}]}).json()["ids"])

    assert [answer.status_code for answer in answers] == [409] * 3
    assert repr(taken) in answers[0].json()["message"]
    assert made[0] != made[1]


def test_raw_tasks_stay_raw(control: httpx.Client, sandbox: RunningSandbox) -> None:
    """Odd tasks reach the list as they were sent."""
    odd = [{"id": None, "type": 7}, "task"]
    control.post("/sandbox/tasks", json={"tasks": odd, "raw": True})

    tasks = httpx.get(sandbox.api_url + TASKS, headers=KEY).json()["data"]["tasks"]
    assert all(task in tasks for task in odd)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"tasks": 1}', b"[]"])
def test_wrong_tasks_are_refused(control: httpx.Client, content: bytes) -> None:
    """A wrong body is answered with 400."""
    assert control.post("/sandbox/tasks", content=content).status_code == 400


def test_a_person_settles_and_the_workspace_forgets(
    control: httpx.Client, sandbox: RunningSandbox
) -> None:
    """Effects of people in the same workspace are marked as such."""
    first, second = sandbox.world.store.ids("pending")[:2]
    path = f"/sandbox/tasks/{first}/settle"
    statuses = [
        control.post(path, json={"status": "approved"}).status_code,
        control.post(path, json={"status": "dismissed"}).status_code,
        control.post(path, json={"status": "pending"}).status_code,
        control.post(path, content=b"").status_code,
        control.post("/sandbox/tasks/no/settle", json={"status": "failed"}).status_code,
        control.delete(f"/sandbox/tasks/{second}").status_code,
        control.delete(f"/sandbox/tasks/{second}").status_code,
    ]

    assert statuses == [200, 409, 400, 400, 404, 204, 404]
    assert [effect.by for effect in sandbox.world.store.effects] == ["person"]
    assert sandbox.world.store.status_of(second) is None


def test_reset_begins_again(control: httpx.Client, sandbox: RunningSandbox) -> None:
    """After a reset the workspace is as it was at the start."""
    before = control.get("/sandbox/state").json()
    httpx.get(sandbox.api_url + TASKS, headers=KEY)
    control.post("/sandbox/tasks", json={"tasks": [{}]})
    after = control.post("/sandbox/reset").json()

    assert after == before


def test_page_is_inert(control: httpx.Client, sandbox: RunningSandbox) -> None:
    """Untrusted text is escaped, and the policy forbids scripts."""
    sandbox.world.store.add([{"id": "<script>\ud800"}])
    sandbox.world.store.settle(
        "<script>\ud800", "dismissed", now=sandbox.world.clock.now(), reason="<b>"
    )
    control.post("/sandbox/faults", json={"faults": ["any:500:9"]})
    httpx.get(sandbox.api_url + TASKS, headers=KEY)
    page = control.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "any:500:8" in page.text


def test_page_without_limits() -> None:
    """The page shows that a quota is unlimited."""
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings) as running:
        assert "unlimited" in httpx.get(running.url).text


def test_wrong_method_is_the_platforms_business(control: httpx.Client) -> None:
    """A method that is not served answers 405 without the API's envelope."""
    answer = control.put("/sandbox/state")

    assert answer.status_code == 405
    assert "error" not in answer.json()
