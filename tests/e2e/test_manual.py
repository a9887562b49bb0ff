"""What people do beside the daemon: plan and apply, dismiss, veto, pause."""

import json
from typing import Any

from tests.e2e.harness import Program, a_listed, add
from tests.sandbox_server import RunningSandbox
from triaged.sandbox.faults import parse_fault


def test_apply_does_what_was_reviewed_less_what_changed(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Changed, vanished and newly vetoed tasks are dropped; new ones are not added."""
    add(sandbox, [a_listed(f"t{number}") for number in range(5)])
    plan = str(program.directory / "plan.json")
    assert program.run("plan", "--out", plan).returncode == 0
    add(sandbox, [a_listed("t1", "[TEST] other text"), a_listed("t9")])
    sandbox.world.store.remove("t2")
    program.run("veto", "t3")
    applied = program.run("apply", plan, "--yes")

    assert applied.returncode == 0
    assert {e.task_id for e in sandbox.world.store.effects} == {"t0", "t4"}
    assert "changed since" in applied.stdout
    assert "no longer pending" in applied.stdout
    assert "vetoed" in applied.stdout
    assert {row["source"] for row in program.json("history")} == {"apply"}


def test_apply_asks_once(program: Program, sandbox: RunningSandbox) -> None:
    """Without a yes nothing is dismissed."""
    add(sandbox, [a_listed("t0")])
    plan = str(program.directory / "plan.json")
    program.run("plan", "--out", plan)

    assert program.run("apply", plan, stdin="n\n").returncode == 0
    assert sandbox.world.store.effects == []
    assert program.run("apply", plan, stdin="y\n").returncode == 0
    assert len(sandbox.world.store.effects) == 1


def test_apply_refuses_what_is_not_of_here_and_now(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Another workspace, an old plan, other rules and no plan at all are refused."""
    add(sandbox, [a_listed("t0")])
    path = program.directory / "plan.json"
    program.run("plan", "--out", str(path))
    plan = json.loads(path.read_text())
    wrong: dict[str, dict[str, Any]] = {
        "workspace": {"workspace": "other"},
        "a day": {"made_at": "2026-01-01T00:00:00+00:00"},
        "rules": {"rules_sha256": "0" * 64},
        "not a file": {"kind": "shopping list"},
        "not whole": {"decisions": None},
    }
    for word, change in wrong.items():
        path.write_text(json.dumps({**plan, **change}))
        refused = program.run("apply", str(path), "--yes")

        assert refused.returncode == 1
        assert word in refused.stderr
    assert sandbox.world.store.effects == []


def test_dismiss_takes_what_is_named_and_nothing_protected(
    program: Program, sandbox: RunningSandbox
) -> None:
    """In bulk: by type and pattern, less what is protected or vetoed."""
    add(
        sandbox,
        [
            a_listed("t0", "one search", type="prospect_search"),
            a_listed("t1", "two search", type="prospect_search"),
            a_listed("t2", "board search", type="prospect_search"),
            a_listed("t3", "three search"),
            a_listed("t4", "four", type="prospect_search"),
        ],
    )
    program.run("plan")
    program.run("veto", "t1")
    command = ["--type", "prospect_search", "--description", "search"]
    done = program.run("dismiss", *command, "--reason", "bulk_cleanup", "--yes")

    assert done.returncode == 0, done.stderr
    assert [(e.task_id, e.reason) for e in sandbox.world.store.effects] == [
        ("t0", "bulk_cleanup")
    ]
    assert "protected" in done.stdout
    assert "vetoed" in done.stdout
    assert program.json("history")[0]["source"] == "hand"


def test_a_list_in_doubt_is_not_acted_on(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A list with an error beside its tasks is refused; one that may lack some is not.

    What may be missing is told, and the plan is incomplete.
    """
    add(sandbox, [a_listed("t0"), a_listed("t1")])
    sandbox.world.faults.add(parse_fault("list:partial-error:1"))
    doubtful = program.run("dismiss", "--all", "--reason", "testing", "--yes")
    sandbox.world.faults.add(parse_fault("list:paged=1:1"))
    paged = program.run("plan")

    assert doubtful.returncode == 1
    assert "an error beside its tasks" in doubtful.stderr
    assert sandbox.world.store.effects == []
    assert paged.returncode == 4
    assert "tasks may be missing" in paged.stderr


def test_a_mistyped_id_dismisses_nothing(
    program: Program, sandbox: RunningSandbox
) -> None:
    """One unknown id among known ones is an error, and none of them is dismissed."""
    add(sandbox, [a_listed("task-0001"), a_listed("task-0002")])
    ids = ("task-0001", "task-0003", "elsewhere")
    done = program.run("dismiss", *ids, "--reason", "testing", "--yes")

    assert done.returncode == 1
    assert "no task 'task-0003'" in done.stderr
    assert "similar ids: task-000" in done.stderr
    assert "no task 'elsewhere'" in done.stderr
    assert "nothing was dismissed" in done.stderr
    assert sandbox.world.store.effects == []


def test_dismiss_wants_to_know_what_and_why(program: Program) -> None:
    """No selection, both a selection and --all, or an unknown reason: usage."""
    assert program.run("dismiss", "--reason", "testing").returncode == 2
    assert program.run("dismiss", "t1", "--all", "--reason", "testing").returncode == 2
    assert program.run("dismiss", "t1").returncode == 2
    unknown = program.run("dismiss", "t1", "--reason", "because")
    assert unknown.returncode == 2
    assert "not_relevant" in unknown.stderr


def test_a_pause_holds_the_daemon_and_its_successor(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Paused, nothing is dismissed, over restarts too, until it is resumed."""
    add(sandbox, [a_listed("t0")])
    program.run("plan")  # a pause makes no ledger
    program.run("pause", "--note", "audit week")
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=2)

        assert daemon.metric("triaged_paused") == 1
        assert daemon.metric("triaged_tasks_left", cause="paused") == 1
        assert "audit week" in daemon.get("/").text
        program.run("resume")
        daemon.wait_for("task.dismissed")


def test_a_veto_can_be_lifted(program: Program, sandbox: RunningSandbox) -> None:
    """A vetoed task is left with that cause, until the veto is removed."""
    add(sandbox, [a_listed("t0")])
    program.run("plan")  # a veto makes no ledger
    program.run("veto", "t0")

    assert program.json("plan")["decisions"][0]["cause"] == "vetoed"
    program.run("veto", "t0", "--remove")
    assert program.json("plan")["decisions"][0]["decision"] == "dismiss"


def test_a_backtest_leaves_out_what_may_have_been_ours(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A dismissal whose answer never came is no person's word either."""
    add(sandbox, [a_listed("ours")])
    sandbox.world.faults.add(parse_fault("dismiss:drop-after-effect"))
    program.run("run", "--once")
    report = program.json("backtest")

    assert program.history() == {"ours": ["unknown"]}
    assert (report["dismissed"], report["dismissed_by_triaged"]) == (0, 1)


def test_a_backtest_of_rows_in_doubt_is_none(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Rows that may be wrong are compared with nothing, and teach nothing."""
    add(sandbox, [a_listed("p1", status="approved")])
    sandbox.world.faults.add(parse_fault("list:partial-error:1@1"))
    stopped = program.run("backtest", "--format", "json")

    assert stopped.returncode == 1
    assert "the list of approved tasks may be wrong or out of date" in stopped.stderr
    assert not stopped.stdout


def test_backtest_spends_four_calls_and_leaves_our_own_out(
    program: Program, sandbox: RunningSandbox
) -> None:
    """What triaged dismissed is no person's word; what people approved counts."""
    add(sandbox, [a_listed("ours")])
    program.run("run", "--once")
    for task_id, status in {
        "p1": "dismissed",
        "p2": "approved",
        "p3": "failed",
    }.items():
        add(sandbox, [a_listed(task_id, status=status)])
    before = len(sandbox.world.calls)
    report = program.json("backtest")

    assert len(sandbox.world.calls) - before == 4
    assert report["dismissed_by_triaged"] == 1
    (rule,) = report["rules"]
    assert (rule["would_dismiss"], rule["dismissed"], rule["approved"]) == (3, 1, 2)
    assert {e["task_id"] for e in rule["false_positives"]} == {"p2", "p3"}
    page = program.run("backtest", "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    assert "p2" in program.run("backtest").stdout
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        found = daemon.metric("triaged_rule_false_positives_total", rule="clutter")

    assert found == 2


def test_history_tells_what_is_held_and_until_when(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A held task shows since when, and when the rule will let it go."""
    rules = program.rules.read_text()
    program.rules.write_text(
        rules.replace("clutter\n    m", "clutter\n    hold: 24h\n    m")
    )
    add(sandbox, [a_listed("t1")])
    program.run("run", "--once")
    (row,) = json.loads(program.run("history", "--held", "--format", "json").stdout)

    assert (row["task_id"], row["rule"]) == ("t1", "clutter")
    assert row["hold_ends_at"] > row["hold_started_at"]
    assert sandbox.world.store.effects == []


def test_history_tells_how_far_people_agree_with_an_observing_rule(
    program: Program, sandbox: RunningSandbox
) -> None:
    """What people did with observed tasks is asked once, shown, and a metric."""
    rules = program.rules.read_text().replace("decision: dismiss,", "decision: leave,")
    rules = rules.replace("clutter\n    m", "clutter\n    mode: observe\n    m")
    program.rules.write_text(rules.replace("rule: clutter}", "observed: [clutter]}"))
    add(sandbox, [a_listed("t1"), a_listed("t2", "[TEST] \x1b[31mred"), a_listed("t3")])
    program.run("run", "--once")
    store, now = sandbox.world.store, sandbox.world.clock.now()
    store.settle("t1", "dismissed", now=now, by="person")
    store.settle("t2", "approved", now=now, by="person")
    before = len(sandbox.world.calls)
    shown = program.run("history", "--agreement")
    (row,) = program.json("history", "--agreement")

    assert "clutter: people approved t2" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert (row["rule"], row["mode"], row["observed"]) == ("clutter", "observe", 3)
    assert (row["dismissed"], row["approved"], row["open"]) == (1, 1, 1)
    assert row["agreement"] == 0.5
    assert [e["task_id"] for e in row["false_positives"]] == ["t2"]
    assert len(sandbox.world.calls) - before == 4
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")

        assert daemon.metric("triaged_rule_false_positives_total", rule="clutter") == 1


def test_agreement_is_shown_though_nobody_can_be_asked(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Without a key the ledger's knowledge is shown, and the exit code says so."""
    program.run("run", "--once", "--dry-run")
    add(sandbox, [a_listed("t1")])
    program.run("run", "--once", "--dry-run")
    program.settings["TRIAGED_API_KEY"] = ""
    shown = program.run("history", "--agreement")

    assert shown.returncode == 78
    assert "clutter" in shown.stdout
    assert "not asked what people did" in shown.stderr
