"""A whole daemon in which one step of a cycle raises: the next poll is planned."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Generator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import structlog

from tests.e2e.harness import KEY, RULES, a_listed
from tests.reliability.report import Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.daemon.health import POLL_GRACE
from triaged.daemon.internal_errors import Where
from triaged.daemon.process import Daemon, open_daemon
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import LedgerError
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.ledger.locks import DAEMON_LOCK
from triaged.quota import QuotaSettings
from triaged.sandbox.settings import SandboxSettings
from triaged.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.reliability]

CHAPTER: Final = "Survival"

PATIENCE = 20


class InjectedError(Exception):
    """What no code of ours expects."""


class RaisesAt:
    """Drives a coroutine and raises in it at the n-th time it waits."""

    def __init__(self, inner: Awaitable[Any], number: int) -> None:
        self._inner = inner
        self._number = number
        self.raised = False

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._inner.__await__()
        waits, step = 0, functools.partial(steps.send, None)
        while True:
            try:
                waited = step()
                # A bare yield lets others run; only a cancellation can end it.
                waits += waited is not None
                if 0 < self._number == waits and not self.raised:
                    self.raised = True
                    waited = steps.throw(InjectedError())
            except StopIteration as end:
                return end.value
            try:
                step = functools.partial(steps.send, (yield waited))
            except BaseException as error:  # noqa: BLE001 - a cancellation goes inside
                step = functools.partial(steps.throw, error)


class Cycles:
    """The daemon's cycle; each run may raise at one of its waits."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.raise_at = self.number = 0
        self.last: RaisesAt | None = None
        self.ended = asyncio.Event()

    async def run(self, *given: Any, **named: Any) -> Any:
        self.last = RaisesAt(self._inner.run(*given, **named), self.raise_at)
        try:
            return await self.last
        finally:
            self.ended.set()


@asynccontextmanager
async def living(
    directory: Path, sandbox: RunningSandbox
) -> AsyncIterator[tuple[Daemon, Cycles]]:
    rules = directory / "rules.yaml"
    rules.write_text(RULES)
    settings = Settings(
        key=KeySource(value=parse_key(KEY)),
        api_url=sandbox.api_url,
        rules=(rules,),
        quota=QuotaSettings(minute_limit=10_000, daily_limit=100_000),
        state_dir=directory / "state",
        listen_port=0,
    )
    async with open_daemon(
        settings, SystemClock(), dry_run=False, notifier=SystemdNotifier({})
    ) as daemon:
        cycles = Cycles(daemon.runner._cycle)  # noqa: SLF001 - to raise within it
        daemon.runner._cycle = cycles  # type: ignore[assignment] # noqa: SLF001
        running = asyncio.create_task(daemon.run())
        try:
            await one_cycle(daemon, cycles, sandbox)
            yield daemon, cycles
        finally:
            daemon.stop()
            await asyncio.wait_for(running, PATIENCE)


async def one_cycle(daemon: Daemon, cycles: Cycles, sandbox: RunningSandbox) -> None:
    """Let one cycle come that has something to dismiss, and the plan after it."""
    cycles.number += 1
    sandbox.world.store.add([a_listed(f"t{cycles.number}")])
    cycles.ended.clear()
    if daemon.health.next_poll_at is not None:
        daemon.supervisor.plan(SystemClock().now())
    await asyncio.wait_for(cycles.ended.wait(), PATIENCE)
    await asyncio.wait_for(planned(daemon), PATIENCE)


async def planned(daemon: Daemon) -> None:
    for _ in range(1000):
        if daemon.health.poll_due is not None:
            return
        await asyncio.sleep(0.01)  # noqa: TID251 - the loop goes on


def survived(daemon: Daemon) -> int:
    return sum(daemon.errors.counts().values())


def is_well(daemon: Daemon) -> bool:
    now = SystemClock()
    at = daemon.health.next_poll_at
    return (
        at is not None
        and at > now.now()
        and daemon.health.why_not_alive(now.monotonic()) is None
    )


@pytest.fixture
def sandbox() -> Any:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as running:
        yield running


async def test_an_error_at_each_wait(
    tmp_path: Path, sandbox: RunningSandbox, report: Report
) -> None:
    """Whichever wait of a cycle raises, the next poll is planned, the error counted."""
    structlog.configure(processors=[drop])
    guarantee = "each wait of a cycle raises: counted, the next poll is planned"
    with report.check(CHAPTER, guarantee) as check:
        async with living(tmp_path, sandbox) as (daemon, cycles):
            while cycles.last is not None:
                cycles.raise_at += 1
                before = survived(daemon)
                await one_cycle(daemon, cycles, sandbox)
                if not cycles.last.raised:
                    break

                assert survived(daemon) > before
                assert is_well(daemon)
                check.runs += 1
            check.result = f"{survived(daemon)} errors survived"
            assert cycles.raise_at > 3


async def test_an_error_at_each_log_call(
    tmp_path: Path, sandbox: RunningSandbox, report: Report
) -> None:
    """Whichever log call raises, the next poll is planned and the error counted."""
    fails = FailingLog()
    structlog.configure(processors=[fails])
    guarantee = "each log call of a cycle raises: counted, the next poll is planned"
    with report.check(CHAPTER, guarantee) as check:
        async with living(tmp_path, sandbox) as (daemon, cycles):
            fails.calls = 0
            await one_cycle(daemon, cycles, sandbox)
            calls = fails.calls
            for number in range(1, calls + 1):
                fails.calls, fails.raise_at = 0, number
                before = survived(daemon)
                await one_cycle(daemon, cycles, sandbox)
                fails.raise_at = 0

                assert fails.calls >= number
                assert survived(daemon) > before
                assert is_well(daemon)
                # What the error left unresolved is resolved before the next one.
                await one_cycle(daemon, cycles, sandbox)
                await one_cycle(daemon, cycles, sandbox)
                check.runs += 1
            check.result = f"{survived(daemon)} errors survived"
            assert calls >= 2


def drop(*_: Any) -> Any:
    raise structlog.DropEvent


class FailingLog:
    """A processor that raises at the n-th event, and at all later ones."""

    def __init__(self) -> None:
        self.calls = self.raise_at = 0

    def __call__(self, *_: Any) -> Any:
        self.calls += 1
        if self.raise_at and self.calls >= self.raise_at:
            raise InjectedError
        raise structlog.DropEvent


@pytest.mark.parametrize("part", ["metrics", "notify"])
async def test_an_error_beside_the_cycle(
    tmp_path: Path,
    sandbox: RunningSandbox,
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a metric or the notifier raises is counted under its name."""

    def fail(*_: Any, **__: Any) -> Any:
        raise InjectedError

    structlog.configure(processors=[drop])
    async with living(tmp_path, sandbox) as (daemon, cycles):
        broken = {
            "metrics": (daemon.metrics, "record_cycle"),
            "notify": (daemon._notifier, "status"),  # noqa: SLF001 - to break it
        }
        monkeypatch.setattr(*broken[part], fail)
        await one_cycle(daemon, cycles, sandbox)

        assert is_well(daemon)
        assert daemon.errors.counts()[Where(part)] >= 1


async def test_an_overdue_poll_is_told(
    tmp_path: Path, sandbox: RunningSandbox, report: Report
) -> None:
    """A daemon whose poll does not come is not healthy, until it comes."""
    listening = Listening()
    structlog.configure(processors=[listening])
    guarantee = "a poll that does not come: `/healthz` is 503, and 200 after the next"
    with report.check(CHAPTER, guarantee) as check:
        async with living(tmp_path, sandbox) as (daemon, cycles):
            told = [await listening.healthz()]
            daemon.health.poll_due = SystemClock().monotonic() - POLL_GRACE - 1
            told.append(await listening.healthz())
            await one_cycle(daemon, cycles, sandbox)
            told.append(await listening.healthz())
        check.runs = len(told)
        check.result = ", ".join(told)

        assert told == ["200 ok", "503 the planned poll is overdue", "200 ok"]


class Listening:
    """Learns from the log where the daemon listens, and asks it for its health."""

    def __init__(self) -> None:
        self._port = 0

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> Any:
        if event["event"] == "http.listening":
            self._port = event["port"]
        raise structlog.DropEvent

    async def healthz(self) -> str:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{self._port}/healthz")
        return f"{answer.status_code} {answer.text.strip()}"


async def test_a_daemon_ends_when_its_lock_was_deleted(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    """Another daemon could start beside it, so it dismisses nothing and says why."""
    structlog.configure(processors=[drop])
    with pytest.raises(LedgerError, match="deleted or replaced"):  # noqa: PT012 - raised at its end
        async with living(tmp_path, sandbox) as (daemon, _):
            (tmp_path / "state" / DAEMON_LOCK).unlink()
            sandbox.world.store.add([a_listed("t9")])
            daemon.supervisor.plan(SystemClock().now())
            stopped = daemon._stop.wait()  # noqa: SLF001 - it stops by itself
            await asyncio.wait_for(stopped, PATIENCE)

    assert sandbox.world.store.status_of("t9") == "pending"
