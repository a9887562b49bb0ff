"""The real daemon: start, cycles, reload, signals, restarts."""

import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import httpx
import pytest

from tests.e2e.harness import (
    RULES,
    Program,
    a_listed,
    add,
    eventually,
)
from tests.sandbox_server import RunningSandbox
from triaged.ledger.database import format_timestamp
from triaged.ledger.location import FILE
from triaged.sandbox.faults import parse_fault
from triaged.triage.reconcile import EFFECT_TIMEOUT

# A command that holds the dispatch lock, as one that dismisses does.
HOLDS_DISPATCH = """
import sys
from pathlib import Path
from triaged.ledger.locks import DISPATCH_LOCK, FileLock
assert FileLock(Path(sys.argv[1]) / DISPATCH_LOCK.format("default")).acquire()
print("held", flush=True)
sys.stdin.read()
"""
LONGEST_END_SECONDS = 30

BAD_RULES = "version: 1\nrules: []\n"
MILDER_RULES = RULES.replace("^\\[TEST\\]", "^\\[GONE\\]").replace("[TEST] x", "[GONE]")


def test_a_cycle_does_what_the_plan_says(
    program: Program, sandbox: RunningSandbox
) -> None:
    """The effects on the server are exactly the plan's dismissals."""
    add(sandbox, [a_listed("t1"), a_listed("t2", "[TEST] board"), a_listed("t3", "x")])
    plan = program.json("plan")

    assert program.run("run", "--once").returncode == 0
    planned = {d["task_id"] for d in plan["decisions"] if d["decision"] == "dismiss"}
    assert planned == {"t1"}
    assert planned == {effect.task_id for effect in sandbox.world.store.effects}


def test_a_dry_run_writes_nothing(program: Program, sandbox: RunningSandbox) -> None:
    """A dry run decides and counts, each task once, and never asks to dismiss."""
    add(sandbox, [a_listed("t1")])
    with program.daemon("--dry-run") as daemon:
        daemon.wait_for("cycle.finished", times=3)
        observed = daemon.metric("triaged_observed_total", rule="clutter")

        assert observed == 1
        assert daemon.end() == 0
    assert {call.operation for call in sandbox.world.calls} == {"list"}


def test_health_readiness_and_metrics(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A daemon that works is alive, ready, and shows what it did."""
    add(sandbox, [a_listed("t1"), a_listed("t2", "keep me")])
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")

        assert daemon.get("/healthz").status_code == 200
        assert daemon.get("/readyz").json()["ready"] is True
        assert daemon.metric("triaged_dismissals_total", rule="clutter") == 1
        assert daemon.metric("triaged_tasks_left", cause="no_rule") == 1
        assert daemon.metric("triaged_api_key_accepted") == 1
        assert "t1" in daemon.get("/").text
        assert httpx.post(daemon.url() + "/").status_code == 405


def test_calls_of_commands_are_shown_before_the_next_cycle(
    program: Program,
) -> None:
    """What a command spends is gone from the quota that page and metrics show."""
    with program.daemon("--poll-interval", "1h") as daemon:
        daemon.wait_for("cycle.finished")
        before = daemon.metric("triaged_quota_remaining")
        program.json("plan")

        eventually(lambda: daemon.metric("triaged_quota_remaining") < before)


def test_sigterm_drains_the_cycle_in_flight(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A dismissal under way is awaited and remembered before the exit with 0."""
    add(sandbox, [a_listed(f"t{number}") for number in range(20)])
    sandbox.world.faults.add(parse_fault("dismiss:slow=1:20"))
    with program.daemon() as daemon:
        eventually(
            lambda: (
                any(c.operation == "dismiss" for c in sandbox.world.calls)
                or sandbox.world.store.counts()["dismissed"] > 0
            )
        )

        assert daemon.end() == 0
    done = {effect.task_id for effect in sandbox.world.store.effects}
    assert 0 < len(done) < 20
    confirmed = {t for t, ends in program.history().items() if ends == ["confirmed"]}
    assert confirmed == done


def test_sighup_takes_good_rules_and_refuses_bad_ones(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Bad rules never replace good ones, and the gauge says so until they are fixed."""
    with program.daemon() as daemon:
        daemon.wait_for("daemon.started")
        daemon.url()
        program.rules.write_text(BAD_RULES)
        daemon.process.send_signal(signal.SIGHUP)
        rejected = daemon.wait_for("rules.rejected")

        assert daemon.metric("triaged_config_last_reload_successful") == 0
        assert any("rules.yaml:2:8" in problem for problem in rejected["problems"])
        add(sandbox, [a_listed("t1")])
        daemon.wait_for("task.dismissed")
        program.rules.write_text(MILDER_RULES)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("rules.reloaded")
        assert daemon.metric("triaged_config_last_reload_successful") == 1


def test_a_changed_file_is_picked_up(program: Program, sandbox: RunningSandbox) -> None:
    """A new rules file is in force within 15 seconds, with no signal."""
    add(sandbox, [a_listed("t1", "[GONE] x")])
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        program.rules.write_text(MILDER_RULES)

        assert daemon.wait_for("task.dismissed")["task"] == "t1"


def test_a_second_daemon_is_refused(program: Program) -> None:
    """Two daemons on one state directory: the second says who holds it."""
    with program.daemon() as daemon:
        daemon.wait_for("daemon.started")
        second = program.run("run", "--once")

        assert second.returncode == 1
        assert f"process {daemon.process.pid}" in second.stderr


def test_a_stopped_command_that_dismisses_is_named_and_not_waited_for(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Its lock holds up a cycle, which says whom it waits for; SIGTERM ends at once."""
    add(sandbox, [a_listed("t1", created_at=format_timestamp(datetime.now(UTC)))])  # noqa: TID251 - too young to be dismissed
    assert program.run("run", "--once").returncode == 0
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_DISPATCH, str(program.directory / "state")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        with program.daemon() as daemon:
            who = f"process {holder.pid}"

            assert who in daemon.wait_for("dispatch_lock.awaited")["owner"]
            assert who in " ".join(daemon.get("/readyz").json()["reasons"])
            began = time.monotonic()
            assert daemon.end() == 0
            assert time.monotonic() - began < LONGEST_END_SECONDS
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_key_never_accepted_ends_the_start(program: Program) -> None:
    """A wrong key at the start ends with 77, so that nobody restarts for ever."""
    program.settings["TRIAGED_API_KEY"] = "not_a_leadlex_key"
    with program.daemon() as daemon:
        assert daemon.process.wait(20) == 77
    assert program.run("run", "--once").returncode == 77


def test_a_key_that_stops_working_keeps_the_daemon_up(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A key refused later makes it not ready; a new key in the file fixes it."""
    key = program.directory / "key"
    key.write_text("wbk_first\n")
    key.chmod(0o600)
    program.settings |= {"TRIAGED_API_KEY": "", "TRIAGED_API_KEY_FILE": str(key)}
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        sandbox.world.faults.add(parse_fault("list:401:1"))
        eventually(lambda: daemon.get("/readyz").status_code == 503)

        assert daemon.get("/healthz").status_code == 200
        assert daemon.metric("triaged_api_key_accepted") == 0
        key.write_text("wbk_second\n")
        eventually(lambda: daemon.get("/readyz").status_code == 200)


def test_kill_loses_and_repeats_nothing(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Killed between effect and outcome, the next start finds out what happened."""
    add(sandbox, [a_listed(f"t{number}") for number in range(12)])
    sandbox.world.faults.add(parse_fault("dismiss:delay-after-effect=5:12"))
    with program.daemon() as daemon:
        eventually(lambda: sandbox.world.store.counts()["dismissed"] > 0)
        daemon.end(signal.SIGKILL)
    sandbox.world.faults.clear()
    # What was recorded and not sent is tried again once it cannot take effect any more.
    with closing(sqlite3.connect(program.directory / "state" / FILE)) as ledger:
        earlier = format_timestamp(datetime.now(UTC) - EFFECT_TIMEOUT)  # noqa: TID251 - real time
        ledger.execute(
            "UPDATE dismissal SET decided_at = ? WHERE outcome IS NULL", (earlier,)
        )
        ledger.commit()
    with program.daemon() as daemon:
        eventually(lambda: sandbox.world.store.counts()["pending"] == 0)
        daemon.wait_for("cycle.finished", times=2)

        assert daemon.metric("triaged_dismissals_total", rule="clutter") == 12
        assert daemon.end() == 0
    ends = program.history()
    assert {task: ends[task][-1] for task in ends} == dict.fromkeys(ends, "confirmed")
    assert len(ends) == 12
    times = [sandbox.world.store.request_count(f"t{n}", "dismissed") for n in range(12)]
    assert times == [1] * 12


def cycles(url: str) -> float:
    """Count the cycles that a daemon reports."""
    lines = httpx.get(f"{url}/metrics", timeout=20).text.splitlines()
    name = "triaged_cycles_total{"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("reader", ["closes", "sleeps"])
def test_a_stderr_that_fails_does_not_stop_the_loop(
    program: Program, sandbox: RunningSandbox, reader: str
) -> None:
    """A reader of stderr that has gone, or reads no more, costs log lines only."""
    add(sandbox, [a_listed("t1")])
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    port = free_port()
    program.settings["TRIAGED_LISTEN"] = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "triaged", "run"],
        env=program.environ(),
        stderr=write_end,
    )
    os.close(write_end)
    url = f"http://127.0.0.1:{port}"
    try:
        assert os.read(read_end, 1)
        if reader == "closes":
            os.close(read_end)
        eventually(lambda: is_up(url))
        eventually(lambda: cycles(url) > 5)
        before = cycles(url)
        eventually(lambda: cycles(url) > before + 2)

        assert httpx.get(f"{url}/healthz").status_code == 200
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert program.history() == {"t1": ["confirmed"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0.1, 0.2, 0.4, 0.8])
def test_a_signal_while_it_starts(
    program: Program, number: signal.Signals, delay: float
) -> None:
    """SIGHUP before the rules are read changes nothing; SIGTERM ends it with 0."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "triaged", "run"],
        env=program.environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    # The handlers are set once the program's first own module runs.
    for line in process.stderr:
        if line.rstrip().endswith("click.core") or "| click" in line:
            break
    process.send_signal(signal.SIGHUP)
    time.sleep(delay)  # noqa: TID251 - another process starts
    process.send_signal(number)
    process.stderr.read()

    assert process.wait(20) == 0
    process.stderr.close()


def test_a_taken_port_is_worth_another_start(program: Program) -> None:
    """A port that is taken ends with 1, so that a service manager tries again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = program.run("run", "--listen", address)

    assert ended.returncode == 1
    assert f"TRIAGED_LISTEN: {address} cannot be bound" in ended.stderr
    assert program.run("run", "--listen", "192.0.2.1:9464").returncode == 1
    assert program.run("run", "--listen", "nonsense").returncode == 78


def test_once_writes_a_metrics_file(program: Program, sandbox: RunningSandbox) -> None:
    """The file has the cycle's metrics, none of the process, and nothing beside it."""
    add(sandbox, [a_listed("t1")])
    file = program.directory / "triaged.prom"

    assert program.run("run", "--once", "--metrics-file", str(file)).returncode == 0
    text = file.read_text()
    label = 'reason="testing",rule="clutter",workspace="default"'
    assert f"triaged_dismissals_total{{{label}}} 1.0" in text
    assert 'triaged_cycles_total{result="ok",workspace="default"} 1.0' in text
    assert 'triaged_poll_interval_seconds{workspace="default"} 1.0' in text
    assert "process_" not in text
    assert [path.name for path in program.directory.glob("triaged.prom*")] == [
        file.name
    ]
    missing = program.directory / "nowhere" / "x.prom"
    assert program.run("run", "--once", "--metrics-file", str(missing)).returncode == 2
    assert program.run("run", "--metrics-file", str(file)).returncode == 2


def test_once_does_without_the_daemons_libraries() -> None:
    """One cycle for cron loads neither the metrics nor the web server."""
    code = (
        "import sys, triaged.cli.run\n"
        "heavy = {'prometheus_client', 'uvicorn', 'apscheduler', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == "[]"
