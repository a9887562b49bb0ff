"""The workspaces of a fleet: opened when needed, changed at any time, alone if bad."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.harness import RULES, a_listed
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.daemon.fleet import Fleet, Member, Shared
from triaged.daemon.internal_errors import InternalErrors
from triaged.errors import LedgerError
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.leadlex.clients import HttpClients
from triaged.ledger import Ledger
from triaged.ledger.opening import open_database
from triaged.ledger.state import StateName
from triaged.quota import QuotaSettings
from triaged.sandbox.settings import SandboxSettings
from triaged.settings import Settings

pytestmark = pytest.mark.anyio

SANDBOX = SandboxSettings(
    key="wbk_fleet", workspaces=2, task_count=0, minute_limit=None, day_limit=None
)


class Rig:
    """A fleet whose cycles the test starts, against a sandbox of two keys."""

    def __init__(self, directory: Path, sandbox: RunningSandbox) -> None:
        self.directory = directory
        self.sandbox = sandbox
        self.failures: list[LedgerError] = []
        self.lock_error: LedgerError | None = None
        (directory / "rules.yaml").write_text(RULES)
        self.database = open_database(directory / "state")
        self.clients = HttpClients()
        self.fleet = Fleet(
            Shared(
                clock=SystemClock(),
                database=self.database,
                clients=self.clients,
                errors=InternalErrors(),
                dry_run=False,
                verify=self._verify,
                on_fatal=self.failures.append,
            ),
            tick=self._tick,
        )

    async def _tick(self) -> None:
        pass

    def _verify(self) -> None:
        if self.lock_error is not None:
            raise self.lock_error

    def settings(self, name: str = "a", number: int = 1) -> Settings:
        return Settings(
            key=KeySource(value=parse_key(f"wbk_fleet_{number}")),
            api_url=self.sandbox.api_url,
            rules=(self.directory / "rules.yaml",),
            workspace=name,
            quota=QuotaSettings(minute_limit=10_000, daily_limit=100_000),
            state_dir=self.directory / "state",
        )

    def member(self, settings: Settings) -> Member:
        """Run exactly this workspace."""
        self.fleet.update([settings])
        return self.fleet.members[settings.workspace]

    def dismissed(self, number: int = 1) -> int:
        return len(self.sandbox.worlds[number - 1].store.effects)

    def add(self, *ids: str) -> None:
        self.sandbox.world.store.add([a_listed(task_id) for task_id in ids])


@asynccontextmanager
async def a_fleet(directory: Path) -> AsyncIterator[Rig]:
    with running_sandbox(SANDBOX) as sandbox:
        rig = Rig(directory, sandbox)
        try:
            yield rig
        finally:
            rig.fleet.supervisor.close()
            await rig.clients.close()
            rig.database.close()


async def test_a_workspace_is_opened_at_its_first_cycle(tmp_path: Path) -> None:
    """Before it costs no file and no row; then it says all that commands show."""
    async with a_fleet(tmp_path) as rig:
        member = rig.member(rig.settings())
        before = member.live_state(), Ledger(rig.database, "a").workspaces()
        next_at = await member.run_cycle()
        rig.fleet.store_states()
        saved = Ledger(rig.database, "a").state.load(StateName.DAEMON)

        assert before == (None, {})
        assert member.live_state() is not None
        assert timedelta(0) < next_at - SystemClock().now() <= timedelta(minutes=5)
        assert saved["next_poll_at"] == next_at.isoformat()
        assert saved["quota_left"] == 9_999 + 90_000


async def test_a_changed_workspace_sends_no_more(tmp_path: Path) -> None:
    """A running cycle halts; the next one has the new settings, and comes at once."""
    async with a_fleet(tmp_path) as rig:
        rig.add("t1", "t2", "t3")
        member = rig.member(rig.settings())
        await member.run_cycle()
        rig.add(*(f"u{number}" for number in range(200)))
        running = asyncio.create_task(member.run_cycle())
        for _ in range(10_000):
            if rig.dismissed() >= 4:
                break
            await asyncio.sleep(0.001)  # noqa: TID251 - a call is under way
        changed = replace(rig.settings(), poll_interval=timedelta(hours=1))
        rig.fleet.update([changed])
        sent = rig.dismissed()
        next_at = await running

        assert rig.dismissed() <= sent + 8
        assert next_at <= SystemClock().now()
        next_at = await member.run_cycle()
        assert next_at - SystemClock().now() > timedelta(minutes=59)


async def test_the_same_settings_change_nothing(tmp_path: Path) -> None:
    """A key that is read again from the environment is the same key."""
    async with a_fleet(tmp_path) as rig:
        member = rig.member(rig.settings())
        await member.run_cycle()
        opened = member.live_state()
        rig.fleet.update([rig.settings()])

        assert rig.fleet.members["a"] is member
        assert opened is not None
        assert member.live_state() is not None
        rig.fleet.update([rig.settings(number=2)])
        assert member.live_state() is None


@pytest.mark.parametrize("what", ["rules", "quota", "url"])
async def test_what_is_wrong_stops_one_workspace(tmp_path: Path, what: str) -> None:
    """It is said and stored, tried again within a minute, and runs once it is right."""
    async with a_fleet(tmp_path) as rig:
        good = rig.settings()
        Ledger(rig.database, "a").bind(good.api_url, at=SystemClock().now())
        bad = {
            "rules": replace(good, rules=(tmp_path / "none.yaml",)),
            "quota": replace(good, quota=QuotaSettings(daily_limit=1, reserve=0.9)),
            "url": replace(good, api_url="http://127.0.0.1:1/other"),
        }[what]
        member = rig.member(bad)
        next_at = await member.run_cycle()
        saved = Ledger(rig.database, "a").state.load(StateName.DAEMON)
        problem = member.problem
        rig.fleet.update([good])
        await member.run_cycle()

        assert problem
        assert saved["problem"] == problem
        assert next_at - SystemClock().now() <= timedelta(minutes=1)
        assert member.problem is None
        assert member.health.last_success_at is not None
        assert rig.failures == []


async def test_another_daemon_ends_the_process(tmp_path: Path) -> None:
    """Without the lock nothing is sent, by no workspace."""
    async with a_fleet(tmp_path) as rig:
        rig.add("t1")
        member = rig.member(rig.settings())
        rig.lock_error = LedgerError("daemon.lock", "was deleted", "start again")
        await member.run_cycle()

        assert rig.failures == [rig.lock_error]
        assert rig.dismissed() == 0


async def test_a_refused_key_is_looked_at(tmp_path: Path) -> None:
    """Once its file has another key, the workspace is polled at once."""
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text("wbk_wrong")
    async with a_fleet(tmp_path) as rig:
        member = rig.member(replace(rig.settings(), key=KeySource(file=file)))
        rig.fleet.supervisor.plan("a", await member.run_cycle())
        refused = member.health.key_accepted
        rig.fleet.look_at_keys()
        before = member.health.next_poll_at
        file.write_text("wbk_fleet_1")
        rig.fleet.look_at_keys()
        after = member.health.next_poll_at

        assert refused is False
        assert before is not None
        assert after is not None
        assert before - SystemClock().now() > timedelta(minutes=10)
        assert after <= SystemClock().now()


async def test_first_polls_are_spread(tmp_path: Path) -> None:
    """A large fleet does not poll all at once; a small one begins at once."""
    async with a_fleet(tmp_path) as rig:
        rig.fleet.update([rig.settings(f"w{number}") for number in range(1000)])
        now = SystemClock().now()
        times = [m.health.next_poll_at for m in rig.fleet.members.values()]
        waits = sorted((at - now).total_seconds() for at in times if at)

        assert len(waits) == 1000
        assert waits[1] < 1
        assert 25 < waits[-1] < 31
        assert max(b - a for a, b in pairwise(waits)) < 1
