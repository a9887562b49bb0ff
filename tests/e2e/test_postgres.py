"""The daemon on a ledger in PostgreSQL: it shares it, and outlives it."""

import pytest

from tests.e2e.harness import Program, a_listed, add, eventually
from tests.postgres import PostgresServer
from tests.sandbox_server import RunningSandbox
from triaged.leadlex.models import DISMISSED


@pytest.fixture
def program(program: Program, postgres: PostgresServer) -> Program:
    url = postgres.url(postgres.new_database(), tcp=True)
    program.settings["TRIAGED_LEDGER_URL"] = url
    return program


def dismissed(sandbox: RunningSandbox) -> int:
    return len(sandbox.world.store.ids(DISMISSED))


def test_a_daemon_outlives_its_database(
    program: Program, sandbox: RunningSandbox, postgres: PostgresServer
) -> None:
    """While it is away nothing is sent, nothing asked, and the daemon is not ready."""
    add(sandbox, [a_listed("t1")])
    with program.daemon() as daemon:
        eventually(lambda: dismissed(sandbox) == 1)
        eventually(lambda: daemon.get("/readyz").status_code == 200)
        before = daemon.metric("triaged_dismissals_total", rule="clutter")
        with postgres.away():
            daemon.wait_for("ledger.unavailable")
            add(sandbox, [a_listed("t2"), a_listed("t3")])
            calls = sandbox.world.call_counts.total()
            away = daemon.get("/readyz")
            alive = daemon.get("/healthz").status_code
            metrics = daemon.metric("triaged_dismissals_total", rule="clutter")
            page = daemon.get("/")
            meanwhile = sandbox.world.call_counts.total(), dismissed(sandbox)
        daemon.wait_for("ledger.available")
        eventually(lambda: dismissed(sandbox) == 3)
        eventually(lambda: daemon.get("/readyz").status_code == 200)
        survived = daemon.named("internal_error.survived")
        code = daemon.end()

    assert away.status_code == 503
    assert page.status_code == 503
    assert "the ledger cannot be used" in page.text
    assert survived == []
    assert "the ledger cannot be used" in away.json()["reasons"][0]
    assert (alive, metrics, meanwhile) == (200, before, (calls, 1))
    assert code == 0
    assert program.history() == {f"t{n}": ["confirmed"] for n in (1, 2, 3)}


def test_two_daemons_share_a_workspace(
    program: Program, sandbox: RunningSandbox
) -> None:
    """By the lease of its row each task is asked for once, whoever comes first."""
    with program.daemon() as one, program.daemon() as two:
        one.wait_for("cycle.finished")
        two.wait_for("cycle.finished")
        add(sandbox, [a_listed(f"t{n}") for n in range(40)])
        eventually(lambda: dismissed(sandbox) == 40)
        status = program.run("status", "--format", "json")
        codes = one.end(), two.end()

    assert codes == (0, 0)
    assert '"running": true' in status.stdout
    assert program.history() == {f"t{n}": ["confirmed"] for n in range(40)}
    assert sandbox.world.call_counts[("dismiss", "200")] == 40


def test_a_pause_stops_a_daemon_that_runs_elsewhere(
    program: Program, sandbox: RunningSandbox
) -> None:
    """The command needs nothing of the daemon's machine but the database."""
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        paused = program.run("pause", "--note", "stop")
        add(sandbox, [a_listed("t1")])
        before = len(daemon.named("cycle.finished"))
        daemon.wait_for("cycle.finished", times=before + 2)
        daemon.end()

    assert paused.returncode == 0
    assert "used by the daemon, process" in paused.stdout
    assert dismissed(sandbox) == 0
