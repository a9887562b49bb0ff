"""Leases, procrastinate and pgqueuer do the same simulated work: see ``queues``.

The two libraries are set up as their documentation says. Each workspace is one job,
which defers the next one when its work is done. Workers are crashed, so both have what
takes jobs over from the dead: procrastinate's recipe for stalled jobs as a periodic
task, pgqueuer's ``heartbeat_timeout``.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg

from tests.bench.leases import register
from triaged.errors import LeaseLost
from triaged.ledger.leases import Lease, Leases
from triaged.ledger.postgres import PostgresDatabase

# How often leases and procrastinate look for what is due; pgqueuer plans that itself.
POLL_SECONDS: Final = 0.2
REBALANCE_SECONDS: Final = 5.0
# How often procrastinate's periodic task looks for stalled jobs.
STALLED_CRON: Final = "* * * * * */10"

TABLES: Final = """
CREATE TABLE public.done (
    workspace text, due float8, begun float8, worker text, at float8 DEFAULT
    extract(epoch FROM clock_timestamp())
);
CREATE TABLE public.fenced (workspace text, worker text);
"""
# Four rows; a cycle is known by its workspace and by when it was due.
_DONE: Final = """
INSERT INTO public.done (workspace, due, begun, worker)
SELECT ?, coalesce(?::float8, (SELECT extract(epoch FROM due_at) FROM triaged.lease
    WHERE workspace = ?)), ?, ?
"""
_COUNTER: Final = """
INSERT INTO triaged.counter (workspace, name, label, label2, value)
VALUES (?, 'attempts', 'confirmed', '', 1) ON CONFLICT (workspace, name, label, label2)
DO UPDATE SET value = counter.value + excluded.value
"""
_QUOTA: Final = """
INSERT INTO triaged.quota (workspace, version, state) VALUES (?, 1, ?)
ON CONFLICT (workspace) DO UPDATE
SET version = quota.version + 1, state = excluded.state
"""
_STATE: Final = """
INSERT INTO triaged.state (workspace, name, value, saved_at) VALUES (?, 'daemon', ?, ?)
ON CONFLICT (workspace, name) DO UPDATE
SET value = excluded.value, saved_at = excluded.saved_at
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one worker does: cycles of a length, each workspace again after a while."""

    engine: str
    url: str
    name: str
    interval: float
    cycle_seconds: float
    lease_seconds: float
    at_once: int


class Engine(NamedTuple):
    """Makes workspaces due at times, and works until the process is ended."""

    enrol: Callable[[str, Mapping[str, float]], Coroutine[Any, Any, None]]
    work: Callable[[Plan], Coroutine[Any, Any, None]]


def _now() -> float:
    return time.time()  # noqa: TID251 - one machine, so one clock


def _writes(
    plan: Plan, workspace: str, due: float | None, begun: float
) -> Sequence[tuple[str, Sequence[object]]]:
    text = json.dumps({"spent": begun, "worker": plan.name})
    return (
        (_DONE, (workspace, due, workspace, begun, plan.name)),
        (_COUNTER, (workspace,)),
        (_QUOTA, (workspace, text)),
        (_STATE, (workspace, text, str(begun))),
    )


async def _enrol_leases(url: str, dues: Mapping[str, float]) -> None:
    with closing(PostgresDatabase(url)) as database:
        Leases(database, "bench").enrol(dict.fromkeys(dues, timedelta(0)))
        database.statement(
            "UPDATE triaged.lease SET due_at = to_timestamp(due)"
            " FROM unnest(%s::text[], %s::float8[]) AS given (name, due)"
            " WHERE workspace = name",
            (list(dues), list(dues.values())),
        )


async def _work_leases(plan: Plan) -> None:
    """Claim what is due, as a daemon does; each cycle is one fenced transaction."""
    running: set[str] = set()
    has_room = asyncio.Event()

    async def cycle(database: PostgresDatabase, leases: Leases, lease: Lease) -> None:
        begun = _now()
        await asyncio.sleep(plan.cycle_seconds)  # noqa: TID251 - the call that is simulated
        try:
            with database.transaction(lease.workspace):
                for statement, values in _writes(plan, lease.workspace, None, begun):
                    database.execute(statement, values)
        except LeaseLost:
            database.drop_lease(lease)
            database.statement(
                "INSERT INTO public.fenced VALUES (%s, %s)",
                (lease.workspace, plan.name),
            )
        else:
            database.drop_lease(lease)
            leases.give(lease, timedelta(seconds=plan.interval))
        if len(running) == plan.at_once:
            has_room.set()
        running.discard(lease.workspace)

    with closing(PostgresDatabase(plan.url)) as database:
        leases = Leases(database, plan.name, seconds=plan.lease_seconds)
        beat_at = 0.0
        async with asyncio.TaskGroup() as tasks:
            while True:
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + REBALANCE_SECONDS
                    register(database, plan.name)
                    leases.rebalance()
                has_room.clear()
                for lease in leases.claim(plan.at_once - len(running)):
                    database.use_lease(lease)
                    running.add(lease.workspace)
                    tasks.create_task(cycle(database, leases, lease))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(has_room.wait(), POLL_SECONDS)


class _Plain:
    """Does the same work without a lease, on one connection of the process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._connection = psycopg.connect(plan.url, autocommit=True)

    async def cycle(self, workspace: str, due: float) -> None:
        begun = _now()
        await asyncio.sleep(self._plan.cycle_seconds)  # noqa: TID251 - the call that is simulated
        with self._connection.transaction():
            for text, values in _writes(self._plan, workspace, due, begun):
                self._connection.execute(text.replace("?", "%s").encode(), values)


async def _enrol_procrastinate(url: str, dues: Mapping[str, float]) -> None:
    import procrastinate  # noqa: PLC0415 - of the group bench

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await app.job_manager.batch_defer_jobs_async(
            jobs=[
                procrastinate.jobs.Job(
                    id=None,
                    queue="default",
                    lock=None,
                    queueing_lock=None,
                    task_name="cycle",
                    scheduled_at=datetime.fromtimestamp(due, UTC),
                    task_kwargs={"workspace": workspace, "due": due},
                )
                for workspace, due in dues.items()
            ]
        )


async def _work_procrastinate(plan: Plan) -> None:
    import procrastinate  # noqa: PLC0415 - of the group bench

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=plan.url))
    plain = _Plain(plan)

    async def cycle(workspace: str, due: float) -> None:
        await plain.cycle(workspace, due)
        due = _now() + plan.interval
        again = task.configure(schedule_at=datetime.fromtimestamp(due, UTC))
        await again.defer_async(workspace=workspace, due=due)

    async def retry_stalled_jobs(timestamp: int) -> None:
        del timestamp
        stalled = await app.job_manager.get_stalled_jobs(
            seconds_since_heartbeat=plan.lease_seconds
        )
        for job in stalled:
            await app.job_manager.retry_job(job)

    task = app.task(name="cycle")(cycle)
    stalled = app.task(name="stalled", queueing_lock="stalled")(retry_stalled_jobs)
    app.periodic(cron=STALLED_CRON)(stalled)
    async with app.open_async():
        await app.run_worker_async(
            concurrency=plan.at_once,
            fetch_job_polling_interval=POLL_SECONDS,
            delete_jobs="always",
            update_heartbeat_interval=plan.lease_seconds / 3,
            stalled_worker_timeout=plan.lease_seconds,
        )


async def _enrol_pgqueuer(url: str, dues: Mapping[str, float]) -> None:
    import asyncpg  # noqa: PLC0415 - of the group bench
    import pgqueuer  # noqa: PLC0415 - of the group bench

    connection = await asyncpg.connect(url)
    queries = pgqueuer.Queries(pgqueuer.AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    now = _now()
    await queries.enqueue(
        ["cycle"] * len(dues),
        [json.dumps([workspace, due]).encode() for workspace, due in dues.items()],
        [0] * len(dues),
        [timedelta(seconds=max(due - now, 0.0)) for due in dues.values()],
    )
    await connection.close()


async def _work_pgqueuer(plan: Plan) -> None:
    import asyncpg  # noqa: PLC0415 - of the group bench
    import pgqueuer  # noqa: PLC0415 - of the group bench

    connection = await asyncpg.connect(plan.url)
    pool = await asyncpg.create_pool(plan.url, min_size=1, max_size=4)
    queries = pgqueuer.Queries(pgqueuer.AsyncpgPoolDriver(pool))
    manager = pgqueuer.PgQueuer.from_asyncpg_connection(connection)
    plain = _Plain(plan)

    async def cycle(job: Any) -> None:
        workspace, due = json.loads(job.payload)
        await plain.cycle(workspace, due)
        text = json.dumps([workspace, _now() + plan.interval]).encode()
        await queries.enqueue(
            "cycle", text, execute_after=timedelta(seconds=plan.interval)
        )

    manager.entrypoint("cycle")(cycle)
    await manager.run(
        batch_size=min(20, plan.at_once // 2),
        max_concurrent_tasks=plan.at_once,
        heartbeat_timeout=timedelta(seconds=plan.lease_seconds),
    )


ENGINES: Final = {
    "leases": Engine(_enrol_leases, _work_leases),
    "procrastinate": Engine(_enrol_procrastinate, _work_procrastinate),
    "pgqueuer": Engine(_enrol_pgqueuer, _work_pgqueuer),
}
