"""What is older than its retention goes, at the start already."""

import sqlite3
from contextlib import closing

from tests.e2e.harness import Program, a_listed, add
from tests.sandbox_server import RunningSandbox

LONG_AGO = "2020-01-01T00:00:00.000000Z"


def age(program: Program) -> None:
    """Make everything in the ledger years old."""
    path = program.directory / "state/ledger.sqlite3"
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.execute("UPDATE dismissal SET decided_at = ?", (LONG_AGO,))


def test_the_daemon_prunes_as_it_starts(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A daemon that is restarted every day forgets what is old, too."""
    add(sandbox, [a_listed("t1")])
    program.run("run", "--once")
    age(program)
    program.settings["TRIAGED_RETENTION"] = "2d"
    before = program.history()
    with program.daemon() as daemon:
        assert daemon.wait_for("ledger.pruned")["rows"] >= 1

    assert before == {"t1": ["confirmed"]}
    assert program.history() == {}


def test_a_cycle_for_cron_prunes(program: Program, sandbox: RunningSandbox) -> None:
    """Where there is no daemon, each run forgets; the setting says what."""
    add(sandbox, [a_listed("t1")])
    program.run("run", "--once")
    age(program)
    program.run("run", "--once", "--retention", "36500d")
    kept = program.history()
    program.run("run", "--once", "--retention", "2d")

    assert kept == {"t1": ["confirmed"]}
    assert program.history() == {}
