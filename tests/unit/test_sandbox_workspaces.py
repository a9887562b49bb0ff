"""A sandbox of several workspaces: each key has its tasks and its quota."""

from collections.abc import Iterator

import httpx
import pytest

from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.sandbox.settings import SandboxSettings

SETTINGS = SandboxSettings(key="wbk_many", workspaces=3, day_limit=2, task_count=5)
KEYS = ("wbk_many_1", "wbk_many_2", "wbk_many_3")


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(SETTINGS) as running:
        yield running


def ask(sandbox: RunningSandbox, key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{sandbox.api_url}/v1/lexi/tasks", headers=headers)


def test_each_key_has_its_own_workspace(sandbox: RunningSandbox) -> None:
    """Tasks, calls and quota of one key are not those of another."""
    lists = [ask(sandbox, key).text for key in KEYS]
    spent = [ask(sandbox, "wbk_many_1").status_code for _ in range(2)]

    assert len(set(lists)) == 3
    assert spent == [200, 429]
    assert ask(sandbox, "wbk_many_2").status_code == 200
    assert ask(sandbox, "wbk_many").status_code == 401


@pytest.mark.parametrize(
    ("number", "calls"), [("2", 1), ("1", 0), ("", 0), ("4", 0), ("0", 0), ("²", 0)]
)
def test_the_control_api_knows_workspaces_by_number(
    sandbox: RunningSandbox, number: str, calls: int
) -> None:
    """It has no key; what is no number of a workspace means the first."""
    ask(sandbox, "wbk_many_2")
    state = httpx.get(f"{sandbox.url}/sandbox/state", params={"workspace": number})

    assert sum(state.json()["calls"].get("list", {}).values()) == calls
