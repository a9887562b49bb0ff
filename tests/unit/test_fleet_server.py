"""What a fleet serves: details of few workspaces, sums of many, pages of both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.fleet_rig import Rig, a_fleet
from triaged.daemon.fleet_metrics import MAX_DETAILED, FleetMetrics
from triaged.daemon.fleet_server import FleetServer
from triaged.daemon.serving import listen

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(directory: Path, count: int) -> AsyncIterator[tuple[Rig, str]]:
    """Serve a fleet of so many workspaces, of which one has had a cycle."""
    async with a_fleet(directory) as rig:
        rig.fleet.update([rig.settings(f"w{number:03d}") for number in range(count)])
        await rig.fleet.members["w001"].run_cycle()
        server = FleetServer(rig.fleet, FleetMetrics(), rig.settings())
        listener = listen("127.0.0.1", 0)
        server.start(listener)
        try:
            yield rig, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await server.stop()
            listener.close()


async def get(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url, headers=headers)


async def test_few_have_all_their_series(tmp_path: Path) -> None:
    """Up to a hundred each workspace that has run is there with everything."""
    async with served(tmp_path, MAX_DETAILED) as (_, url):
        text = (await get(f"{url}/metrics")).text

    assert 'triaged_cycles_total{result="ok",workspace="w001"} 1.0' in text
    assert 'triaged_workspaces{state="starting"} 99.0' in text
    assert 'triaged_workspaces{state="working"} 1.0' in text
    assert "process_resident_memory_bytes" in text


async def test_many_have_sums(tmp_path: Path) -> None:
    """Above, no series names a workspace, and one can be asked for its own."""
    async with served(tmp_path, MAX_DETAILED + 1) as (_, url):
        text = (await get(f"{url}/metrics")).text
        own = (await get(f"{url}/metrics?workspace=w001")).text
        idle = (await get(f"{url}/metrics?workspace=w002")).text

    assert 'triaged_cycles_total{result="ok"} 1.0' in text
    assert "workspace=" not in text
    assert 'triaged_cycles_total{result="ok",workspace="w001"} 1.0' in own
    assert "process_resident_memory_bytes" not in own
    assert "w002" not in idle


async def test_files_that_are_not_in_force(tmp_path: Path) -> None:
    """The sum, one's own series and readiness tell; what runs goes on."""
    name = "triaged_config_last_reload_successful"
    async with served(tmp_path, MAX_DETAILED + 1) as (rig, url):
        good = (await get(f"{url}/metrics")).text
        rig.fleet.members["w001"].files_rejected = "fleet.yaml:1:1: wrong\nmore"
        summed = (await get(f"{url}/metrics")).text
        own = (await get(f"{url}/metrics?workspace=w001")).text
        ready = await get(f"{url}/readyz")
        page = (await get(f"{url}/?q=w001")).text

    assert f"{name} 1.0" in good
    assert f"{name} 0.0" in summed
    assert f'{name}{{workspace="w001"}} 0.0' in own
    assert (ready.status_code, ready.json()["reasons"]) == (200, [])
    assert ready.json()["rules_rejected"] == "fleet.yaml:1:1: wrong\nmore"
    assert "fleet.yaml:1:1: wrong" in page


async def test_pages_of_many(tmp_path: Path) -> None:
    """The table is paged; each workspace has a page, also before its first cycle."""
    async with served(tmp_path, 101) as (_, url):
        last = (await get(f"{url}/?sort=name&page=3")).text
        found = (await get(f"{url}/?q=w007")).text
        idle = await get(f"{url}/workspaces/w002")
        task = await get(f"{url}/workspaces/w002/tasks/t1")
        worked = await get(f"{url}/workspaces/w001")
        none = await get(f"{url}/workspaces/nobody/tasks/t1")

    assert "101 to 101 of 101" in last
    assert "/workspaces/w007" in found
    assert "/workspaces/w008" not in found
    assert "first cycle has not ended" in idle.text
    assert task.text == idle.text
    assert 'href="/"' in worked.text
    assert none.status_code == 404


async def test_a_foreign_host_name_is_refused(tmp_path: Path) -> None:
    """A site whose name resolves to loopback reads no page and no target."""
    async with served(tmp_path, 2) as (_, url):
        for path in ("/", "/sd", "/workspaces/w001", "/workspaces/w001/tasks/t1"):
            assert (await get(url + path, Host="evil.example")).status_code == 400
        targets = (await get(f"{url}/sd", Host="localhost:9464")).json()

    assert [target["targets"] for target in targets] == [["localhost:9464"]] * 2


async def test_one_workspace_is_the_whole_page(tmp_path: Path) -> None:
    """A fleet of one needs no table."""
    async with a_fleet(tmp_path) as rig:
        rig.fleet.update([rig.settings("only")])
        server = FleetServer(rig.fleet, FleetMetrics(), rig.settings())
        listener = listen("127.0.0.1", 0)
        server.start(listener)
        try:
            page = await get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        finally:
            await server.stop()
            listener.close()

    assert "only" in page.text
    assert "first cycle has not ended" in page.text
