"""A fleet whose cycles a test starts, against a sandbox of two keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.harness import RULES, a_listed
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_member import Member, Shared
from triaged.daemon.internal_errors import InternalErrors
from triaged.errors import LedgerError
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.leadlex.clients import HttpClients
from triaged.ledger.opening import open_database
from triaged.quota import QuotaSettings
from triaged.sandbox.settings import SandboxSettings
from triaged.settings import Settings

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
