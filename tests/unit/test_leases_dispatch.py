"""Tests that a cycle whose lease has ended sends nothing, and that the next one can."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes import TriageHarness
from tests.postgres import PostgresServer
from triaged.errors import LeaseLost
from triaged.leadlex.models import Confirmation
from triaged.ledger.location import LedgerLocation
from triaged.ledger.postgres import PostgresDatabase
from triaged.triage.cycle import Cycle
from triaged.triage.dispatcher import Dispatcher
from triaged.triage.report import CycleReport


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.empty_ledger()


@pytest.fixture
def harness(url: str, tmp_path: Path) -> Iterator[TriageHarness]:
    harness = TriageHarness(LedgerLocation(tmp_path, url))
    harness.leadlex.add("t1", "t2")
    yield harness
    harness.ledger.close()


@pytest.fixture
def later(url: str) -> Iterator[Callable[[float], None]]:
    """Return what lets so many seconds pass for the leases alone."""
    with closing(PostgresDatabase(url)) as database:

        def pass_time(seconds: float) -> None:
            database.statement(
                "UPDATE triaged.lease SET until = until - %s * interval '1 second'",
                (seconds,),
            )

        yield pass_time


class StoppedWriter:
    """Stops for a while between the intent and the last check before the send."""

    def __init__(self, harness: TriageHarness, stop: Callable[[], None]) -> None:
        self._leadlex = harness.leadlex
        self._stop = stop

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation:
        self._stop()
        return await self._leadlex.dismiss(task_id, reason, before_send=before_send)


async def cycle_with(harness: TriageHarness, writer: StoppedWriter) -> CycleReport:
    cycle = Cycle(
        reader=harness.reader,
        dispatcher=Dispatcher(
            writer=writer,
            ledger=harness.ledger,
            rate_limiter=harness.rate_limiter,
            clock=harness.clock,
        ),
        dispatch_lock=harness.lock,
        ledger=harness.ledger,
        rate_limiter=harness.rate_limiter,
        clock=harness.clock,
    )
    return await cycle.run(lambda: harness.ready, stop=harness.stop)


@pytest.mark.anyio
async def test_a_cycle_whose_lease_ends_sends_nothing(
    harness: TriageHarness, later: Callable[[float], None]
) -> None:
    """Stopped while it listed: the next transaction is refused, and the cycle ends."""

    async def stop(_: str) -> None:
        later(91)

    harness.leadlex.before_list = stop
    with pytest.raises(LeaseLost):
        await harness.cycle()
    first = list(harness.leadlex.dismissed)
    harness.leadlex.before_list = None
    await harness.cycle()

    assert first == []
    assert sorted(harness.leadlex.dismissed) == ["t1", "t2"]


@pytest.mark.anyio
@pytest.mark.parametrize(("seconds", "leaves"), [(20, True), (30, False), (95, False)])
async def test_a_dismissal_needs_a_lease_that_outlasts_it(
    harness: TriageHarness,
    later: Callable[[float], None],
    seconds: float,
    *,
    leaves: bool,
) -> None:
    """With less than a minute left nothing leaves; the intent is settled by a list."""
    writer = StoppedWriter(harness, lambda: later(seconds))
    if leaves:
        report = await cycle_with(harness, writer)
        assert len(report.attempts) == 2
        return
    with pytest.raises(LeaseLost):
        await cycle_with(harness, writer)
    unresolved = harness.ledger.dismissals.unresolved_task_ids()

    assert harness.leadlex.dismissed == []
    assert unresolved <= {"t1", "t2"}
    assert unresolved
