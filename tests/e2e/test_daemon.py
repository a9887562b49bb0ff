"""The real daemon: start, cycles, reload, signals, restarts."""

import signal

import httpx

from tests.e2e.harness import (
    RULES,
    Program,
    a_listed,
    add,
    eventually,
)
from tests.sandbox_server import RunningSandbox
from triaged.sandbox.faults import parse_fault

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
    """Bad rules never replace good ones, and the gauge says so until mended."""
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


def test_a_key_never_accepted_ends_the_start(program: Program) -> None:
    """A wrong key at the start ends with 77, so that nobody restarts for ever."""
    program.settings["TRIAGED_API_KEY"] = "not_a_leadlex_key"
    with program.daemon() as daemon:
        assert daemon.process.wait(20) == 77
    assert program.run("run", "--once").returncode == 77


def test_a_key_that_stops_working_keeps_the_daemon_up(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A key refused later makes it not ready; a new key in the file mends it."""
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
