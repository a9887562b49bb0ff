"""Digest and alerts from end to end: sandbox, daemon, Apprise, a server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import KEY, PATIENCE, RULES, Program, a_listed, add
from tests.notifications import BERLIN
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.webhook_server import WebhookServer, webhook_server
from triaged.clock import SystemClock
from triaged.daemon import scheduler
from triaged.daemon.internal_errors import Where
from triaged.daemon.process import Daemon, open_daemon
from triaged.daemon.systemd import SystemdNotifier
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.ledger.rule_changes import RuleChange
from triaged.quota import QuotaSettings
from triaged.rules.task import Change
from triaged.sandbox.settings import SandboxSettings
from triaged.settings import Settings

# In Berlin half past seven, and five seconds past eight.
EARLY = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
EIGHT = datetime(2026, 3, 2, 7, 0, 5, tzinfo=UTC)


class ShiftedClock(SystemClock):
    """A clock that runs like the real one, from where it was put."""

    def __init__(self, start: datetime) -> None:
        self._ahead = start - super().now()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead.total_seconds()

    def put(self, now: datetime) -> None:
        self._ahead += now - self.now()


class ShiftedScheduler:
    """Plans polls by such a clock; the real one would take them for long overdue."""

    def __init__(self, clock: ShiftedClock, on_due: Callable[[], None]) -> None:
        self._clock, self._on_due = clock, on_due
        self._timer: asyncio.TimerHandle | None = None

    def plan(self, at: datetime) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(0.05, self._look, at)

    def is_planned(self) -> bool:
        return self._timer is not None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, at: datetime) -> None:
        if self._clock.now() < at:
            self.plan(at)
            return
        self._timer = None
        self._on_due()


@dataclass
class World:
    """A sandbox, a server for notifications, and the settings between them."""

    clock: ShiftedClock
    sandbox: RunningSandbox
    webhook: WebhookServer
    settings: Settings


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = ShiftedClock(EARLY)
    monkeypatch.setattr(scheduler, "Scheduler", partial(ShiftedScheduler, clock))
    sandbox_settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    rules, urls = tmp_path / "rules.yaml", tmp_path / "urls"
    rules.write_text(RULES)
    with (
        running_sandbox(sandbox_settings, clock) as sandbox,
        webhook_server() as webhook,
    ):
        urls.write_text(webhook.url)
        urls.chmod(0o600)
        settings = Settings(
            key=KeySource(value=parse_key(KEY)),
            api_url=sandbox.api_url,
            rules=(rules,),
            workspace="acme",
            quota=QuotaSettings(minute_limit=10_000, daily_limit=100_000),
            poll_interval=timedelta(minutes=5),
            state_dir=tmp_path / "state",
            notify_file=urls,
            notify_at=BERLIN,
            page_url="https://triaged.example.com",
            listen_port=0,
        )
        yield World(clock, sandbox, webhook, settings)


@asynccontextmanager
async def running_daemon(world: World) -> AsyncIterator[Daemon]:
    async with open_daemon(
        world.settings, world.clock, dry_run=False, notifier=SystemdNotifier({})
    ) as daemon:
        running = asyncio.create_task(daemon.run())
        try:
            yield daemon
        finally:
            daemon.stop()
            await asyncio.wait_for(running, PATIENCE)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.05)  # noqa: TID251 - the daemon is at work


async def ticks(number: int) -> None:
    """Let the daemon tick some times more; it does so every second."""
    await asyncio.sleep(number)  # noqa: TID251 - see above


@pytest.mark.anyio
async def test_a_dismissal_is_in_the_digest_of_the_morning(world: World) -> None:
    """It arrives at its time, and once: not again later, nor after a restart."""
    add(world.sandbox, [a_listed("t1", "[TEST] @channel merge"), a_listed("t2", "x")])
    received = world.webhook.received
    async with running_daemon(world) as daemon:
        await until(lambda: daemon.health.last_report is not None)
        await ticks(2)
        assert received == []
        world.clock.put(EIGHT)
        await until(lambda: len(received) == 1)
        world.clock.put(EIGHT + timedelta(minutes=5))
        await ticks(2)
    async with running_daemon(world) as daemon:
        await until(lambda: daemon.health.last_report is not None)
        world.clock.put(EIGHT + timedelta(hours=9))
        await ticks(2)
        counted = daemon.workspace.ledger.counters.values("notifications")

    (body,) = received
    assert body["title"] == "triaged acme: 1 dismissed"
    assert "to 2026-03-02 08:00 (Europe/Berlin)" in body["message"]
    assert "\uff3bTEST\uff3d \uff20channel merge" in body["message"]
    assert "https://triaged.example.com/tasks/t1" in body["message"]
    assert world.sandbox.world.store.counts()["dismissed"] == 1
    assert counted == {("sent", ""): 1}


@pytest.mark.anyio
async def test_events_are_told_at_once_and_an_outage_costs_nothing(
    world: World,
) -> None:
    """While nothing can be sent cycles go on; the event arrives when it can be."""
    good, file = world.webhook.url, world.settings.notify_file
    assert file is not None
    received = world.webhook.received
    file.write_text(f"{good}/503")
    async with running_daemon(world) as daemon:
        await until(lambda: daemon.health.last_report is not None)
        now = world.clock.now()
        demotion = RuleChange(
            rule="clutter",
            fingerprint="f1",
            change=Change.DEMOTED,
            at=now,
            by="",
            evidence={},
        )
        daemon.workspace.ledger.rule_changes.record(demotion)
        world.clock.put(now + timedelta(seconds=20))
        await until(lambda: len(received) == 1)
        file.write_text(good)
        add(world.sandbox, [a_listed("t1")])
        daemon.supervisor.plan(world.clock.now())
        await until(lambda: world.sandbox.world.store.counts()["dismissed"] == 1)
        world.clock.put(now + timedelta(minutes=6))
        await until(lambda: len(received) == 2)
        errors = daemon.errors.counts()[Where.NOTIFY]
        counted = daemon.workspace.ledger.counters.values("notifications")

    titles = [body["title"] for body in received]
    assert titles == ["triaged acme: rule clutter only observes again"] * 2
    assert counted[("failed", "")] == 1
    assert errors == 0


def test_a_refused_file_ends_the_start(program: Program, tmp_path: Path) -> None:
    """With 78, before any call; the message names no URL."""
    urls = tmp_path / "urls"
    urls.write_text("json://127.0.0.1/s3cr3t")
    urls.chmod(0o644)
    program.settings["TRIAGED_NOTIFY_FILE"] = str(urls)
    for arguments in (["run"], ["run", "--once"], ["notify", "--test"]):
        done = program.run(*arguments)

        assert done.returncode == 78
        assert "chmod 600" in done.stderr
        assert "s3cr3t" not in done.stdout + done.stderr


def test_run_once_sends_what_is_due(
    program: Program, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """For cron: the digest at the end of the first cycle of the day, and once."""
    add(sandbox, [a_listed("t1")])
    urls = tmp_path / "urls"
    with webhook_server() as webhook:
        urls.write_text(webhook.url)
        urls.chmod(0o600)
        program.settings |= {
            "TRIAGED_NOTIFY_FILE": str(urls),
            "TRIAGED_NOTIFY_AT": "00:00",
        }
        codes = [program.run("run", "--once").returncode for _ in range(2)]

    assert codes == [0, 0]
    (body,) = webhook.received
    assert body["title"] == "triaged default: 1 dismissed"


def test_a_test_message_tells_each_destination_apart(
    program: Program, tmp_path: Path
) -> None:
    """The exit code is 1 if one of them failed; nothing is recorded."""
    urls = tmp_path / "urls"
    with webhook_server("/s3cr3t") as webhook:
        urls.write_text(f"{webhook.url}\n{webhook.url}/500\n")
        urls.chmod(0o600)
        program.settings["TRIAGED_NOTIFY_FILE"] = str(urls)
        done = program.run("notify", "--test")
        as_json: list[dict[str, Any]] = json.loads(
            program.run("notify", "--test", "--format", "json").stdout
        )

    assert done.returncode == 1
    assert done.stdout == "line 1 (JSON): sent\nline 2 (JSON): failed: answered 500\n"
    assert [row["receipt"] for row in as_json] == ["sent", "failed"]
    assert "s3cr3t" not in done.stdout + done.stderr + str(as_json)
    assert not (tmp_path / "state").exists()
    assert len(webhook.received) == 4
