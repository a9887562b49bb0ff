"""Four daemons under faults: at most once, wanted, in the ledger, within the quota.

Among the faults is a rolling upgrade to a ledger that is one version newer.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.e2e.harness import eventually
from tests.postgres import PostgresServer
from tests.reliability.fleet_daemon import EFFECT_SECONDS
from tests.reliability.fleet_harness import (
    CALLS_A_MINUTE,
    KEY,
    RESERVE,
    SCARCE,
    SCARCE_CALLS,
    WANTED,
    FleetTrial,
    fleet_trial,
    now,
)
from tests.reliability.report import FULL, Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.ledger.database import format_timestamp
from triaged.ledger.postgres_schema import VERSION
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import RecordedCall

pytestmark = pytest.mark.reliability

WORKSPACES: Final = 200 if FULL else 24
FAULTS: Final = int(os.environ.get("TRIAGED_FLEET_FAULTS", "2000" if FULL else "100"))
SECONDS: Final = int(os.environ.get("TRIAGED_FLEET_SECONDS", "3600" if FULL else "80"))
SEED: Final = int(os.environ.get("TRIAGED_SEED", "12"))
# Long enough that faults meet calls on their way.
LATENCY: Final = 0.3
# A request that was written before the command returned may be read this much later.
IN_TRANSIT: Final = timedelta(seconds=0.5)
# Calls that were refused for the quota had no effect and may be repeated.
REFUSED: Final = "429"
CHAPTER: Final = "Shared ledger"


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(
        key=KEY,
        workspaces=WORKSPACES,
        task_count=0,
        minute_limit=CALLS_A_MINUTE,
        day_limit=None,
        latency=LATENCY,
    )
    with running_sandbox(settings) as running:
        yield running


def test_a_fleet_survives_what_happens_to_it(
    tmp_path: Path,
    sandbox: RunningSandbox,
    postgres: PostgresServer,
    report: Report,
) -> None:
    """Nothing is asked twice or unasked for, and ledger, server and quota agree."""
    with (
        report.check(
            CHAPTER,
            "4 daemons under faults and a rolling upgrade: none dismissed twice or"
            " unwanted, each dismissal in the ledger once, every quota kept",
        ) as check,
        fleet_trial(tmp_path, sandbox, postgres, seed=SEED) as trial,
    ):
        eventually(lambda: all(world.calls for world in sandbox.worlds), 120)
        trial.run(faults=FAULTS, seconds=SECONDS)
        eventually(lambda: trial.wanted_left() == 0, 240)
        eventually(lambda: unresolved(trial) == 0, EFFECT_SECONDS + 120)
        codes = trial.end()
        rows = dismissals(trial)
        check.runs = trial.faults.total()
        check.result = summary(trial, rows)

        assert asked_again(sandbox) == []
        assert unwanted(sandbox) == []
        assert disagreements(sandbox, rows) == []
        assert repeated(rows) == []
        assert beyond_quota(trial) == []
        assert while_paused(trial) == []
        assert counted(trial) == Counter(effects(sandbox).values())
        assert internal_errors(trial) == []
        assert trial.ended == []
        assert query(trial, "SELECT version FROM triaged.schema_version") == [
            {"version": VERSION + 1}
        ]
        assert codes == [0] * len(codes)
        assert check.runs >= FAULTS


def query(trial: FleetTrial, statement: str) -> list[dict[str, Any]]:
    url = trial.postgres.url(trial.database)
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(statement.encode()).fetchall()


def dismissals(trial: FleetTrial) -> list[dict[str, Any]]:
    return query(trial, "SELECT * FROM triaged.dismissal ORDER BY workspace, id")


def unresolved(trial: FleetTrial) -> int:
    """Count the outcomes that are not known, where there is quota to ask."""
    scarce = {f"w{number}" for number in range(1, SCARCE + 1)}
    rows = dismissals(trial)
    return sum(
        row["outcome"] in {None, "unknown"} and row["workspace"] not in scarce
        for row in rows
    )


def summary(trial: FleetTrial, rows: Sequence[dict[str, Any]]) -> str:
    outcomes = Counter(row["outcome"] or "open" for row in rows)
    return "; ".join(
        (
            f"{len(trial.sandbox.worlds)} workspaces",
            ", ".join(f"{n:,} {what}" for what, n in trial.faults.most_common()),
            ", ".join(f"{n:,} {what}" for what, n in outcomes.most_common()),
            f"{events(trial, 'lease.lost')} cycles fenced",
        )
    )


def events(trial: FleetTrial, name: str) -> int:
    found = f'"event": "{name}"'
    return sum(daemon.log.read_text().count(found) for daemon in trial.daemons)


def calls_of(sandbox: RunningSandbox) -> Iterator[tuple[str, RecordedCall]]:
    for number, world in enumerate(sandbox.worlds, 1):
        for call in world.calls:
            yield f"w{number}", call


def asked_again(sandbox: RunningSandbox) -> list[str]:
    """Return the tasks asked for again before the call before was without effect."""
    by_task: dict[str, list[RecordedCall]] = {}
    for _, call in calls_of(sandbox):
        if call.operation == "dismiss" and call.status != REFUSED:
            by_task.setdefault(call.task_id or "", []).append(call)
    found = []
    for task_id, calls in by_task.items():
        for first, second in pairwise(sorted(calls, key=lambda c: c.received_at)):
            gap = (second.received_at - first.received_at).total_seconds()
            if first.status == "200" or gap < EFFECT_SECONDS:
                found.append(f"{task_id} after {gap:.1f} s: {first} {second}")
    return found


def effects(sandbox: RunningSandbox) -> dict[str, str]:
    """Return the workspace of each task that the server dismissed."""
    return {
        effect.task_id: f"w{number}"
        for number, world in enumerate(sandbox.worlds, 1)
        for effect in world.store.effects
        if effect.status == "dismissed"
    }


def unwanted(sandbox: RunningSandbox) -> list[str]:
    """Return the dismissed tasks that no rule wanted dismissed."""
    return [
        str(task)
        for world in sandbox.worlds
        for task in world.store.tasks("dismissed")
        if isinstance(task, dict) and not str(task["description"]).startswith(WANTED)
    ]


def disagreements(sandbox: RunningSandbox, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return where the ledger and the server's own log disagree."""
    done = effects(sandbox)
    confirmed = Counter(
        (row["workspace"], row["task_id"])
        for row in rows
        if row["outcome"] == "confirmed"
    )
    # Where the quota is spent, nothing can be asked to settle what is open.
    open_ones = {
        row["task_id"]
        for row in rows
        if row["outcome"] in {None, "unknown"} and int(row["workspace"][1:]) <= SCARCE
    }
    claimed = {task_id: workspace for workspace, task_id in confirmed}
    return [
        *(f"{t} is missing" for t in done.keys() - claimed.keys() - open_ones),
        *(f"{t} is claimed" for t in claimed.keys() - done.keys()),
        *(f"{t} is of {done[t]}" for t in claimed if done.get(t, "") != claimed[t]),
        *(f"{t} counts {n} times" for t, n in confirmed.items() if n > 1),
    ]


def repeated(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the attempts that were made before the one before was resolved."""
    latest = format_timestamp(now())
    by_task: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(row["task_id"], []).append(row)
    return [
        f"{_brief(later)} after {_brief(earlier)}"
        for attempts in by_task.values()
        for earlier, later in pairwise(sorted(attempts, key=lambda r: r["decided_at"]))
        if earlier["resolved_at"] is None
        # What a clock that was ahead has written says nothing about the order.
        or later["decided_at"] < earlier["resolved_at"] < latest
    ]


def _brief(row: dict[str, Any]) -> str:
    keys = ("task_id", "workspace", "decided_at", "resolved_at", "outcome", "detail")
    return ", ".join(str(row[key]) for key in keys)


def beyond_quota(trial: FleetTrial) -> list[str]:
    """Return where calls went beyond the minute's limit or into the reserve."""
    most = SCARCE_CALLS - int(SCARCE_CALLS * RESERVE)
    worlds = trial.sandbox.worlds
    refused = [
        f"{name} refused at {call.at}"
        for name, call in calls_of(trial.sandbox)
        if call.status == REFUSED
    ]
    spent = [len(world.calls) for world in worlds[:SCARCE]]
    return refused + [f"{n} calls of {most}" for n in spent if n > most]


def while_paused(trial: FleetTrial) -> list[str]:
    """Return the dismissals that arrived while everything was paused."""
    return [
        f"{name} {call.received_at - since} after the pause: {call}"
        for since, until in trial.pauses
        for name, call in calls_of(trial.sandbox)
        if call.operation == "dismiss" and since + IN_TRANSIT < call.received_at < until
    ]


def counted(trial: FleetTrial) -> Counter[str]:
    """Return the durable number of dismissals of each workspace."""
    rows = query(
        trial,
        "SELECT workspace, sum(value)::bigint AS n FROM triaged.counter"
        " WHERE name = 'dismissals' GROUP BY workspace",
    )
    return Counter({row["workspace"]: row["n"] for row in rows})


def internal_errors(trial: FleetTrial) -> list[str]:
    """Return the errors that nobody expected."""
    return [
        line[:2000]
        for daemon in trial.daemons
        for line in daemon.log.read_text().splitlines()
        if "internal_error.survived" in line or "Traceback" in line
    ]
