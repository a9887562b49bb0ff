"""The forms on the pages of a fleet: each is of one workspace."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from structlog.testing import capture_logs

from tests.builders import T0, an_intent
from tests.clocks import ManualClock
from tests.e2e.harness import RULES
from tests.http_probe import form_fields
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_metrics import FleetMetrics
from triaged.daemon.fleet_server import FleetServer
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors
from triaged.daemon.serving import listen
from triaged.daemon.snapshot import LiveState
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.quota import QuotaLimiter, QuotaSettings
from triaged.rulesfile.loader import parse
from triaged.settings import PageMode, Settings
from triaged.triage.fleet_state import WorkspaceState
from triaged.triage.report import CycleReport, CycleResult

pytestmark = pytest.mark.anyio

NAMES = ("acme", "beta")
BY = "127.0.0.1 on the page"
NO_RULES = '{"protect": [], "rules": [], "closest_rule": null}'


@dataclass
class FakeMember:
    """A workspace of a fleet after its first cycle."""

    settings: Settings
    problem: str | None = None
    health: Health = field(
        default_factory=lambda: Health(
            heartbeat_at=0.0,
            interval=timedelta(minutes=5),
            last_success_at=T0,
            last_report=CycleReport(
                id="c",
                started_at=T0,
                duration_seconds=1.0,
                result=CycleResult.OK,
                listed=True,
            ),
        )
    )

    def live_state(self) -> LiveState:
        limiter = QuotaLimiter(QuotaSettings.for_plan("starter"))
        return LiveState(
            workspace=self.settings.workspace,
            now=T0,
            dry_run=False,
            ruleset=parse(RULES.encode(), "rules.yaml").ruleset,
            health=self.health,
            quota=limiter.snapshot(T0.timestamp()),
            clock_skew=timedelta(0),
            errors={},
        )


@dataclass
class FakeShared:
    clock: ManualClock
    errors: InternalErrors
    dry_run: bool = False


@dataclass
class FakeFleet:
    """A fleet whose workspaces have nothing to do."""

    members: dict[str, FakeMember]
    shared: FakeShared
    rejected: tuple[()] = ()

    def problems(self) -> Mapping[str, str]:
        return {}

    def states(self, _: object = None) -> Mapping[str, WorkspaceState]:
        return dict.fromkeys(self.members, WorkspaceState.WORKING)


class Visitor:
    """A person with a browser at the pages of a fleet."""

    def __init__(self, directory: Path, origin: str) -> None:
        self.directory = directory
        self.origin = origin

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.origin) as http:
            return await http.get(path)

    async def send(self, path: str, fields: dict[str, str]) -> httpx.Response:
        headers = {"origin": self.origin, "sec-fetch-site": "same-origin"}
        async with httpx.AsyncClient(base_url=self.origin) as http:
            return await http.post(path, data=fields, headers=headers)

    def paused(self) -> list[str]:
        """Return the workspaces that are paused, each with the author."""
        found = []
        for name in NAMES:
            with Ledger.open(self.directory, workspace=name) as ledger:
                flag = ledger.flags.get(FlagName.PAUSED)
                found += [f"{name} by {flag.set_by}"] if flag else []
        return found


@asynccontextmanager
async def serving(directory: Path, **given: Any) -> AsyncIterator[Visitor]:
    """Serve a fleet of two workspaces until the block ends."""
    settings = Settings(quota=QuotaSettings(), state_dir=directory, **given)
    members = {}
    for name in NAMES:
        own = Settings(quota=QuotaSettings(), state_dir=directory, workspace=name)
        members[name] = FakeMember(own)
        with Ledger.open(directory, workspace=name) as ledger:
            ledger.dismissals.record_intent(an_intent("task-one", trace=NO_RULES))
    fleet = FakeFleet(members, FakeShared(ManualClock(), InternalErrors()))
    server = FleetServer(cast("Fleet", fleet), FleetMetrics(), settings)
    listener = listen("127.0.0.1", 0)
    server.start(listener)
    try:
        yield Visitor(directory, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        await server.stop()
        listener.close()


async def test_a_pause_is_of_one_workspace(tmp_path: Path) -> None:
    """The form on a workspace's page pauses that one, and its page says who."""
    async with serving(tmp_path) as visitor:
        page = (await visitor.get("/workspaces/acme")).text
        path = "/workspaces/acme/pause"
        with capture_logs() as logs:
            answer = await visitor.send(path, form_fields(page, path))
        later = (await visitor.get("/workspaces/acme")).text

    assert (answer.status_code, answer.headers["location"]) == (303, "/workspaces/acme")
    assert visitor.paused() == [f"acme by {BY}"]
    assert f"by {BY}" in later
    assert [log["event"] for log in logs] == ["dismissing.paused"]


async def test_a_veto_is_of_one_workspace(tmp_path: Path) -> None:
    """A task with the same id in another workspace is not kept."""
    async with serving(tmp_path) as visitor:
        base = "/workspaces/beta"
        page = (await visitor.get(f"{base}/tasks/task-one")).text
        answer = await visitor.send(f"{base}/veto", form_fields(page, f"{base}/veto"))
        with Ledger.open(tmp_path, workspace="acme") as acme:
            of_acme = acme.vetoes.all()
        with Ledger.open(tmp_path, workspace="beta") as beta:
            (veto,) = beta.vetoes.all()

    assert answer.headers["location"] == f"{base}/tasks/task-one"
    assert (veto.task_id, veto.set_by, of_acme) == ("task-one", BY, [])


async def test_an_unknown_workspace_is_refused(tmp_path: Path) -> None:
    """A name that is no workspace gets neither a page nor a row in the ledger."""
    async with serving(tmp_path) as visitor:
        page = (await visitor.get("/workspaces/acme")).text
        fields = form_fields(page, "/workspaces/acme/pause")
        answers = [
            await visitor.send(f"/workspaces/{name}/pause", fields)
            for name in ("gamma", "%2e%2e", "acme%0a")
        ]
        forged = await visitor.send("/workspaces/acme/pause", {"token": "guess"})

    assert [answer.status_code for answer in (*answers, forged)] == [404, 404, 404, 403]
    assert visitor.paused() == []


@pytest.mark.parametrize(
    ("mode", "page", "form"), [(PageMode.READ, 200, 404), (PageMode.OFF, 404, 404)]
)
async def test_a_fleet_follows_the_mode(
    tmp_path: Path, mode: PageMode, page: int, form: int
) -> None:
    """With `read` there are pages without forms, with `off` there is none."""
    async with serving(tmp_path, page=mode) as visitor:
        paths = ("/", "/workspaces/acme", "/workspaces/acme/tasks/task-one")
        shown = [await visitor.get(path) for path in paths]
        posted = await visitor.send("/workspaces/acme/pause", {})

    assert [answer.status_code for answer in shown] == [page] * 3
    assert posted.status_code == form
    assert not any('method="post"' in answer.text for answer in shown)
    assert visitor.paused() == []
