"""``triaged status`` and the emergency stop, beside a real daemon."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import T0
from tests.e2e.harness import RULES, Program, a_listed, add, eventually
from tests.e2e.inprocess import CommandLine, FixedClock, settings_for
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.rules.duration import format_duration
from triaged.sandbox.settings import SandboxSettings


def status(program: Program) -> tuple[int, Any]:
    done = program.run("status", "--format", "json")
    return done.returncode, json.loads(done.stdout)


def calls(sandbox: RunningSandbox) -> int:
    return sum(sandbox.world.call_counts.values())


def test_a_daemon_at_work_is_healthy(program: Program, sandbox: RunningSandbox) -> None:
    """It runs since, did this, waits for that; asking costs no call."""
    program.settings["TRIAGED_POLL_INTERVAL"] = "1h"
    add(sandbox, [a_listed("t1"), a_listed("t2", "an ordinary task")])
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        eventually(lambda: status(program)[0] == 0)
        before = calls(sandbox)
        code, found = status(program)
        table = program.run("status")

        assert (code, found["running"], found["healthy"]) == (0, True, True)
        assert found["problems"] == []
        assert found["daemon"]["pid"] == daemon.process.pid
        assert found["last_cycle"]["dismissed"] == 1
        assert found["next_poll_at"] is not None
        assert found["quota"]["day"]["spent"] == before
        assert calls(sandbox) == before
        (clutter,) = [r for r in found["rules"] if r["rule"] == "clutter"]
        assert clutter["dismissed_today"] == 1
        assert (table.returncode, table.stdout.splitlines()[-1]) == (0, "healthy")
    code, found = status(program)

    assert (code, found["running"], found["daemon"]) == (1, False, None)
    assert "the daemon is not running" in found["problems"]


def test_today_is_the_servers_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown as dismissed today is what counts towards the caps of today."""
    clock = FixedClock(T0 - timedelta(seconds=5))
    server = FixedClock(clock.at - timedelta(seconds=90))
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, server) as sandbox:
        add(sandbox, [a_listed("t1")])
        (tmp_path / "rules.yaml").write_text(RULES)
        command = CommandLine(
            tmp_path, monkeypatch, clock, settings_for(sandbox.api_url)
        )
        command.run("run", "--once")
        clock.at += timedelta(seconds=10)
        rules = command.run("status", "--format", "json").json["rules"]

    assert {r["rule"]: r["dismissed_today"] for r in rules}["clutter"] == 1


def test_a_dry_run_and_a_pause_stand_out(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Who paused, when and why is shown, and that nothing is dismissed anyway."""
    add(sandbox, [a_listed("t1")])
    with program.daemon("--dry-run") as daemon:
        daemon.wait_for("cycle.finished")
        program.run("pause", "--note", "audit")
        program.run("pause", "--note", "audit week")
        eventually(lambda: status(program)[0] == 0)
        _, found = status(program)
        shown = program.run("status").stdout

    assert found["dry_run"] is True
    assert found["paused"]["note"] == "audit week"
    assert found["paused"]["by"]
    assert "dry run" in shown
    assert "audit week" in shown
    assert sandbox.world.store.effects == []


def test_an_open_breaker_names_the_rules(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Not healthy, and which rule wants how many; budget counts the same."""
    program.rules.write_text(
        program.rules.read_text().replace(
            "max_share_of_pending: 1.0", "max_share_of_pending: 0.5"
        )
    )
    add(sandbox, [a_listed(f"t{number}") for number in range(30)])
    assert program.run("run", "--once").returncode == 4
    code, found = status(program)
    budget = program.json("budget")

    assert code == 1
    assert found["breaker"]["wants"] == {"clutter": 30}
    assert "the breaker is open" in " ".join(found["problems"])
    assert (budget["backlog"], budget["waiting"]) == (30, {"breaker": 30})


def test_what_a_cap_keeps_is_in_the_budget(
    program: Program, sandbox: RunningSandbox
) -> None:
    """After a cycle with a backlog, budget does not say that no task waits."""
    rules = program.rules.read_text()
    caps = "safety: {max_dismissals_per_cycle: 2, "
    program.rules.write_text(rules.replace("safety: {", caps))
    add(sandbox, [a_listed(f"t{number}") for number in range(5)])
    program.run("run", "--once")

    assert program.json("budget")["waiting"] == {"over_cap": 3}
    assert "3 over a limit" in program.run("budget").stdout


def test_nothing_ran_here_yet(program: Program) -> None:
    """Without a ledger there is nothing to show, and nothing is made."""
    code, found = status(program)

    assert (code, found["running"], found["ledger"]) == (1, False, None)
    assert not (program.directory / "state").exists()


def test_the_emergency_stop_never_confirms_without_effect(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Another label or directory than the daemon's is refused, with both names."""
    add(sandbox, [a_listed("t1", "an ordinary task")])
    program.settings["TRIAGED_WORKSPACE"] = "acme"
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        paused = program.run("pause")
        del program.settings["TRIAGED_WORKSPACE"]
        wrong = [
            program.run(*arguments)
            for arguments in (
                *(["pause"], ["resume"], ["veto", "t1"], ["status"], ["history"]),
                *(["plan"], ["explain", "t1"], ["budget"]),
                ["dismiss", "t1", "--reason", "testing", "--yes"],
            )
        ]
        elsewhere = program.run("pause", "--state-dir", str(program.directory / "no"))

    assert paused.returncode == 0
    assert "workspace acme, ledger" in paused.stdout
    assert f"process {daemon.process.pid}" in paused.stdout
    for done in wrong:
        assert done.returncode == 78
        assert "acme" in done.stderr
        assert "default" in done.stderr
        assert done.stdout == ""
    assert elsewhere.returncode == 1
    assert "there is no ledger here yet" in elsewhere.stderr


def test_a_pause_waits_until_it_is_in(
    program: Program, sandbox: RunningSandbox
) -> None:
    """While another process writes, the pause waits, tells so, and is not lost."""
    add(sandbox, [a_listed("t1")])
    program.run("run", "--once")
    ledger = program.directory / "state/ledger.sqlite3"
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with subprocess.Popen(
            [sys.executable, "-m", "triaged", "pause"],
            env=dict(program.environ()),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as pausing:
            assert pausing.stderr is not None
            told = pausing.stderr.readline()
            still = pausing.poll()
            other.execute("COMMIT")
            out, _ = pausing.communicate(timeout=90)

    assert told.startswith("triaged: waiting for ")
    assert (still, pausing.returncode) == (None, 0)
    assert "Dismissing is paused" in out
    assert status(program)[1]["paused"] is not None


def test_while_paused_nothing_is_dismissed_by_hand_either(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Apply and dismiss refuse to start, unless a person says --while-paused."""
    add(sandbox, [a_listed("t1")])
    plan = str(program.directory / "plan.json")
    program.run("plan", "--out", plan)
    program.run("pause", "--note", "audit")
    before = calls(sandbox)
    by_hand = ["dismiss", "t1", "--reason", "testing", "--yes"]
    for arguments in (["apply", plan, "--yes"], by_hand):
        done = program.run(*arguments)

        assert done.returncode == 1
        assert "dismissing is paused since" in done.stderr
        assert "audit" in done.stderr
    assert calls(sandbox) == before
    assert program.run(*by_hand, "--while-paused").returncode == 0
    assert [e.task_id for e in sandbox.world.store.effects] == ["t1"]


def test_a_prefix_names_a_task_everywhere(
    program: Program, sandbox: RunningSandbox
) -> None:
    """What plan shows can be typed for explain, veto, history and dismiss."""
    ids = [f"{n}f0c9a6e-1b7d-4f83-9a51-0c5a3a7e1d1{n}" for n in range(3)]
    twins = ["abcdefgh-1", "abcdefgh-2"]
    add(sandbox, [a_listed(i, "an ordinary task") for i in (*ids, *twins)])
    shown = program.run("plan", "--all").stdout
    program.run("run", "--once")

    assert all(i[:8] in shown and i[:9] not in shown for i in ids)
    assert all(twin in shown for twin in twins)
    assert program.run("explain", ids[0][:8]).stdout.startswith(ids[0])
    assert f"{ids[1]} is vetoed." in program.run("veto", ids[1][:8]).stdout
    assert ids[1] in program.run("veto", "--remove", ids[1][:10]).stdout
    for command in (["explain"], ["veto"], ["dismiss", "--reason", "testing"]):
        done = program.run(*command, "abcdefgh")

        assert done.returncode == 2, command
        assert all(twin in done.stderr for twin in twins)
    done = program.run("dismiss", ids[2][:8], "--reason", "testing", "--yes")
    assert [e.task_id for e in sandbox.world.store.effects] == [ids[2]]
    assert program.json("history", "--task", ids[2][:8])[0]["task_id"] == ids[2]


def test_an_id_that_was_never_seen_is_told(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A typo is vetoed as typed, with the nearest known ids on stderr; blanks go."""
    add(sandbox, [a_listed("task-0001", "an ordinary task")])
    program.run("run", "--once")
    wrong = program.run("veto", "task-0010")
    right = program.run("veto", " task-0001\r")
    before = calls(sandbox)
    explained = program.run("explain", "task-0011")

    assert wrong.returncode == 0
    assert "no task 'task-0010' in the ledger" in wrong.stderr
    assert "similar ids: task-0001" in wrong.stderr
    assert right.stderr == ""
    assert "task-0001 is vetoed." in right.stdout
    listed = program.json("veto", "--list")
    assert {row["task_id"] for row in listed} == {"task-0001", "task-0010"}
    assert explained.returncode == 1
    assert "listing the pending tasks (1 API call)" in explained.stderr
    assert calls(sandbox) == before + 1


def test_explain_tells_what_happened(program: Program, sandbox: RunningSandbox) -> None:
    """A rule that dismissed nothing is not shown as applied."""
    add(sandbox, [a_listed("t1")])
    program.run("plan")
    program.run("pause", "--note", "audit")
    program.run("run", "--once")
    left = program.run("explain", "t1")
    document = program.json("explain", "t1")
    program.run("resume")
    program.run("run", "--once")
    dismissed = program.run("explain", "t1")

    assert "leave: paused (clutter)" in left.stdout
    assert "matched, but the task was left: paused" in left.stdout
    assert "applied" not in left.stdout
    assert not any(rule["applied"] for rule in document["rules"])
    assert "dismissed the task" in dismissed.stdout


def test_a_first_hour(program: Program) -> None:
    """The rules of init pass check, only observe, and are never overwritten."""
    new = program.directory / "new"
    made = program.run("init", "--dir", str(new))
    checked = program.run("check", "--strict", "--mutate", str(new / "rules.yaml"))
    before = (new / "rules.yaml").read_bytes()
    again = program.run("init", "--dir", str(new))

    assert made.returncode == 0
    assert made.stdout.count("\n  triaged ") == 3
    assert checked.returncode == 0, checked.stdout
    assert before.count(b"mode: observe\n") == 3
    assert before.startswith(b"# yaml-language-server: $schema=rules.schema.json\n")
    assert json.loads((new / "rules.schema.json").read_text())
    assert again.returncode == 2
    assert "never overwrites" in again.stderr
    assert (new / "rules.yaml").read_bytes() == before


def test_a_backup_beside_a_daemon(program: Program, sandbox: RunningSandbox) -> None:
    """The copy is private, verified, and not replaced unasked."""
    add(sandbox, [a_listed("t1")])
    copy = program.directory / "copy.sqlite3"
    with program.daemon() as daemon:
        daemon.wait_for("task.dismissed")
        made = program.run("backup", str(copy))
        verified = program.run("backup", "--verify", str(copy))
        again = program.run("backup", str(copy))
    copy.write_bytes(copy.read_bytes()[:8000])
    damaged = program.run("backup", "--verify", str(copy))

    assert made.returncode == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert verified.stdout == made.stdout
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert damaged.returncode == 1


def test_budget_and_status_agree_on_the_interval(
    program: Program, sandbox: RunningSandbox
) -> None:
    """The interval follows what is left today; commands and metric say the same."""
    program.settings |= {"TRIAGED_DAILY_LIMIT": "100", "TRIAGED_API_PLAN": "starter"}
    add(sandbox, [a_listed(f"t{number}") for number in range(3)])
    with program.daemon() as daemon:
        daemon.wait_for("poll_interval.stretched")
        eventually(lambda: program.json("status")["poll_interval_seconds"] is not None)
        interval = program.json("status")["poll_interval_seconds"]
        budget = program.json("budget")
        screens = [program.run(name).stdout for name in ("status", "budget")]
        exported = daemon.metric("triaged_poll_interval_seconds")
    ended = program.json("budget")

    assert interval == budget["now"]["poll_interval_seconds"] == exported
    shown = format_duration(timedelta(seconds=interval))
    assert f"; every {shown}\n" in screens[0]
    assert f"the daemon polls every {shown} now" in screens[1]
    assert ended["now"]["poll_interval_seconds"] is None
