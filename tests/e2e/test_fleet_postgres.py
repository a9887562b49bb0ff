"""Several daemons on one PostgreSQL ledger share the workspaces of a fleet."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.harness import Program, RunningDaemon, a_listed, eventually
from tests.postgres import PostgresServer
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.sandbox.settings import SandboxSettings
from triaged.triage.fleet_state import WorkspaceState

COUNT = 12
SETTINGS = SandboxSettings(
    key="wbk_fleet",
    workspaces=COUNT,
    task_count=0,
    minute_limit=None,
    day_limit=None,
)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(SETTINGS) as running:
        yield running


@pytest.fixture
def program(
    tmp_path: Path, sandbox: RunningSandbox, postgres: PostgresServer
) -> Program:
    program = Program(tmp_path, sandbox.api_url)
    url = postgres.url(postgres.new_database(), tcp=True)
    program.settings |= {
        "TRIAGED_FLEET": str(tmp_path),
        "TRIAGED_LEDGER_URL": url,
        "TRIAGED_LISTEN": "127.0.0.1:0",
    }
    (tmp_path / "keys").mkdir()
    lines = ["version: 1", "defaults: {rules: [rules.yaml], poll_interval: 1s}"]
    lines.append("workspaces:")
    for number in range(1, COUNT + 1):
        key = tmp_path / "keys" / f"w{number}"
        key.touch(mode=0o600)
        key.write_text(f"wbk_fleet_{number}")
        lines.append(f"  - {{name: w{number}, key: {{file: keys/w{number}}}}}")
    (tmp_path / "fleet.yaml").write_text("\n".join(lines))
    return program


def add_everywhere(sandbox: RunningSandbox, prefix: str) -> None:
    for number, world in enumerate(sandbox.worlds, 1):
        world.store.add([a_listed(f"{prefix}-{number}")])


def pending(sandbox: RunningSandbox) -> int:
    return sum(world.store.counts()["pending"] for world in sandbox.worlds)


def asked(sandbox: RunningSandbox) -> Counter[str]:
    """Count the requests to dismiss of each task."""
    return Counter(
        call.task_id or ""
        for world in sandbox.worlds
        for call in world.calls
        if call.operation == "dismiss"
    )


@pytest.mark.reliability
def test_daemons_share_the_work_and_survive_each_other(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Both run workspaces; after a kill the other runs all, and none is asked twice."""
    with ExitStack() as stack:
        one = stack.enter_context(program.daemon())
        two = stack.enter_context(program.daemon())
        for daemon in (one, two):
            daemon.wait_for("cycle.finished", times=4)
        eventually(lambda: served(one) and served(two) and served(one) != served(two))
        add_everywhere(sandbox, "a")
        eventually(lambda: pending(sandbox) == 0, 60)
        one.end(signal.SIGKILL)
        add_everywhere(sandbox, "b")
        eventually(lambda: pending(sandbox) == 0, 130)

        assert two.end() == 0
    assert set(asked(sandbox).values()) == {1}
    assert len(asked(sandbox)) == 2 * COUNT


def served(daemon: RunningDaemon) -> set[str]:
    """Return the workspaces of the daemon's latest cycles."""
    events = daemon.named("cycle.finished")[-COUNT:]
    return {event["workspace"] for event in events}


def elsewhere(daemon: RunningDaemon) -> float:
    return daemon.metric("triaged_workspaces", state="elsewhere") or 0.0


def test_a_stopped_daemon_hands_over_at_once(
    program: Program, sandbox: RunningSandbox
) -> None:
    """After SIGTERM the others take its workspaces without waiting for its leases."""
    with program.daemon() as one, program.daemon() as two:
        for daemon in (one, two):
            daemon.wait_for("cycle.finished", times=4)
        # Each knows of the others' workspaces that they are run.
        eventually(lambda: elsewhere(one) + elsewhere(two) == COUNT, 90)
        code = one.end()
        add_everywhere(sandbox, "a")
        eventually(lambda: pending(sandbox) == 0, 20)

        assert (code, two.end()) == (0, 0)


def test_a_pause_of_all_reaches_every_daemon(
    program: Program, sandbox: RunningSandbox
) -> None:
    """When the command returns, no daemon sends another dismissal."""
    with program.daemon() as one, program.daemon() as two:
        for daemon in (one, two):
            daemon.wait_for("cycle.finished", times=4)
        done = program.run("pause", "--all", "--note", "stop")
        add_everywhere(sandbox, "a")
        before = len(one.named("cycle.finished")), len(two.named("cycle.finished"))
        one.wait_for("cycle.finished", times=before[0] + COUNT)
        two.wait_for("cycle.finished", times=before[1] + COUNT)
        one.end()
        two.end()

    assert done.returncode == 0, done.stderr
    assert asked(sandbox) == {}


def test_a_daemon_outlives_its_database(
    program: Program, sandbox: RunningSandbox, postgres: PostgresServer
) -> None:
    """While it is away metrics go on, all else says so, and no error is counted."""
    counted = {"workspace": "w1", "rule": "clutter"}
    with program.daemon() as daemon:
        add_everywhere(sandbox, "a")
        eventually(lambda: pending(sandbox) == 0)
        eventually(lambda: daemon.get("/readyz").status_code == 200)
        before = daemon.metric("triaged_dismissals_total", **counted)
        with postgres.away():
            daemon.wait_for("ledger.unavailable")
            ready, alive = daemon.get("/readyz"), daemon.get("/healthz").status_code
            meanwhile = daemon.metric("triaged_dismissals_total", **counted)
            states = states_of(daemon)
            own = daemon.get("/metrics?workspace=w1")
            pages = [daemon.get(path) for path in ("/", "/workspaces/w1")]
        daemon.wait_for("ledger.available")
        add_everywhere(sandbox, "b")
        eventually(lambda: pending(sandbox) == 0, 60)
        eventually(lambda: daemon.get("/readyz").status_code == 200)
        errors = daemon.metric("triaged_internal_errors_total", where="page")
        survived = daemon.named("internal_error.survived")
        code = daemon.end()

    assert ready.status_code == 503
    assert "the ledger cannot be used" in ready.json()["reasons"][0]
    assert (alive, own.status_code, meanwhile) == (200, 200, before)
    assert before == 1
    assert states == {"failing": COUNT}
    for page in pages:
        assert (page.status_code, page.text[:25]) == (503, "the ledger cannot be used")
    assert (errors, survived, code) == (0, [], 0)


def states_of(daemon: RunningDaemon) -> dict[str, float]:
    """Return how many workspaces are in each state of which there are any."""
    counted = {
        state: daemon.metric("triaged_workspaces", state=state)
        for state in WorkspaceState
    }
    return {state: number for state, number in counted.items() if number}


def test_commands_show_who_runs_what(program: Program) -> None:
    """Each daemon is listed with what it has; each workspace names its daemon."""
    with program.daemon() as one, program.daemon() as two:
        for daemon in (one, two):
            daemon.wait_for("cycle.finished", times=4)
        pids = {one.process.pid, two.process.pid}
        eventually(lambda: owners(program) == pids)
        eventually(
            lambda: {r["state"] for r in program.json("workspaces")} == {"working"}
        )
        daemons = program.json("daemons")
        told = program.run("daemons").stdout
        table = program.run("workspaces").stdout
        one.end(signal.SIGKILL)
        two.end()
        left = program.json("daemons")

    hashes = {daemon["config_sha256"] for daemon in daemons}
    assert {daemon["pid"] for daemon in daemons} == pids
    assert all(daemon["alive"] for daemon in daemons)
    assert [len(text) for text in hashes] == [64]
    assert sum(daemon["workspaces_own"] for daemon in daemons) == COUNT
    assert told.endswith("2 daemons, 2 alive.\n")
    assert f":{one.process.pid}" in table
    assert [daemon["pid"] for daemon in left] == [one.process.pid]


def owners(program: Program) -> set[int]:
    """Return the process ids of the daemons that have the workspaces."""
    held = [row["held_by"] for row in program.json("workspaces")]
    return {int(each.rpartition(":")[2]) for each in held if each}
