"""A workspace with three days behind it, and a command for each thing to see."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.e2e.harness import a_listed, add
from tests.e2e.inprocess import CommandLine
from tests.sandbox_server import RunningSandbox
from triaged.sandbox.faults import parse_fault

GOLDEN: Final = Path(__file__).parents[1] / "golden/commands"
TASKS: Final = json.loads((GOLDEN / "tasks.json").read_text())["data"]["tasks"]
INPUTS: Final = (
    "rules.yaml",
    "rules.good.yaml",
    "rules.bad.yaml",
    "rules.failing.yaml",
    "task.json",
    "tasks.json",
)
FLEETS: Final = ("fleet", "fleet-bad", "fleet-failing")
KEYS: Final = {"ACME_KEY": "wbk_acme", "BETA_KEY": "wbk_beta", "EPSILON_KEY": "wbk_eps"}
BEGIN: Final = datetime(2026, 2, 27, 9, tzinfo=UTC)
NOW: Final = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """A command, the file with what it prints, its exit code, and what came before."""

    file: str
    arguments: str
    code: int = 0
    after: tuple[str, ...] = ()


def _both(name: str, arguments: str, code: int = 0) -> tuple[Case, Case]:
    as_json = f"{arguments} --format json"
    return Case(f"{name}.txt", arguments, code), Case(f"{name}.json", as_json, code)


CASES: Final = (
    *_both("check", "check rules.good.yaml"),
    *_both("check-bad", "check rules.bad.yaml", 78),
    *_both("check-failing", "check rules.failing.yaml", 3),
    *_both("check-fleet", "check fleet"),
    *_both("check-fleet-bad", "check fleet-bad", 78),
    *_both("check-fleet-failing", "check fleet-failing", 3),
    Case("schema.json", "schema"),
    Case("schema-fleet.json", "schema --fleet"),
    *_both("plan-live", "plan", 4),
    Case("plan-all.txt", "plan --all", 4),
    Case("plan-verbose.txt", "plan -v", 4),
    Case("plan-paused.txt", "plan", after=("pause",)),
    *_both("explain-dismissed", "explain t01"),
    *_both("explain-hand", "explain s1"),
    *_both("explain-held", "explain t06"),
    *_both("explain-hostile", "explain t12"),
    *_both("explain-file", "explain --task task.json"),
    *_both("backtest", "backtest"),
    Case("backtest.html", "backtest --format html"),
    Case("suggest.txt", "suggest"),
    *_both("history", "history"),
    Case("history.csv", "history --format csv"),
    *_both("history-held", "history --held"),
    *_both("history-none", "history --since 1h"),
    *_both("history-observed", "history --observed"),
    Case("history-observed.csv", "history --observed --format csv"),
    *_both("status", "status", 1),
    Case("status-paused.txt", "status", 1, after=("pause --note audit",)),
    *_both("notify-preview", "notify --preview --page-url https://t.example.com"),
    Case(
        "notify-preview-paused.txt", "notify --preview", after=("pause --note audit",)
    ),
    *_both("budget", "budget"),
    Case("budget-starter.txt", "budget --api-plan starter --daily-limit 100"),
    *_both("budget-impossible", "budget --daily-limit 9 --reserve 0.9", 78),
    Case("dismiss.txt", "dismiss --older-than 1d --reason testing --yes"),
    Case("dismiss-one.txt", "dismiss t07 --reason asked_by_law --yes"),
    Case("dismiss-unknown.txt", "dismiss t07 t77 --reason asked_by_law --yes", 1),
    Case("dismiss-none.txt", "dismiss t08 t09 --reason testing --yes"),
    Case("apply.txt", "apply plan.json --yes", after=("plan --out plan.json",)),
    Case(
        "apply-changed.txt",
        "apply plan.json --yes",
        after=(
            "plan --out plan.json",
            "veto t11",
            "dismiss t12 --reason testing --yes",
        ),
    ),
    Case("veto.txt", "veto t07"),
    Case("veto-again.txt", "veto t08"),
    Case("veto-remove.txt", "veto t08 --remove"),
    Case("veto-remove-none.txt", "veto t07 --remove"),
    Case("veto-unknown.txt", "veto t99"),
    *_both("veto-list", "veto --list"),
    Case("pause.txt", "pause --note audit"),
    Case("pause-note.txt", "pause --note week", after=("pause --note audit",)),
    Case("pause-again.txt", "pause", after=("pause",)),
    Case("pause-all.txt", "pause --all --note fire"),
    Case("resume.txt", "resume", after=("pause",)),
    Case("resume-of-all.txt", "resume", after=("pause --all",)),
    Case("resume-all.txt", "resume --all", after=("pause --all", "pause")),
    *_both("workspaces", "workspaces --fleet fleet", 1),
    *_both("workspaces-bad", "workspaces --fleet fleet-bad", 1),
    Case("workspaces-label.txt", "workspaces --fleet fleet -l region=moon"),
    *_both("daemons-none", "daemons"),
    Case("resume-none.txt", "resume"),
)


def live(command: CommandLine, sandbox: RunningSandbox) -> None:
    """Spend three days on cycles, a dismissal by hand and a veto.

    One dismissal at a time: what happens at once has no order.
    """
    listed = _by_id()
    _dismiss_one(command, sandbox, "t01")
    _dismiss_one(command, sandbox, "t02", fault="422")
    _dismiss_one(command, sandbox, "t03", fault="not-pending")
    _cycle(command, sandbox, listed["t05"])
    command.clock.at = datetime(2026, 2, 28, 8, tzinfo=UTC)
    _cycle(command, sandbox, listed["t06"], listed["t14"])
    add(sandbox, [a_listed("s1", "An old\xa0search")])
    sandbox.world.faults.add(parse_fault("dismiss:500-after-effect:1"))
    command.run("dismiss", "s1", "--reason", "bulk_cleanup", "--yes")
    command.run("veto", "t08")


def fill(sandbox: RunningSandbox) -> None:
    """Put in what three days have left: ``tasks.json``, and what is settled."""
    words = {
        "t01": "dismissed",
        "s1": "dismissed",
        "p1": "dismissed",
        "p2": "dismissed",
        "p3": "completed",
        "p4": "failed",
    }
    add(sandbox, TASKS)
    add(
        sandbox, [a_listed(task_id, status=status) for task_id, status in words.items()]
    )
    add(sandbox, [{**_by_id()["t12"], "id": "p5", "status": "approved"}])


def _by_id() -> dict[str, dict[str, Any]]:
    return {t["id"]: t for t in TASKS if isinstance(t, dict) and "id" in t}


def _dismiss_one(
    command: CommandLine, sandbox: RunningSandbox, task_id: str, fault: str = ""
) -> None:
    if fault:
        sandbox.world.faults.add(parse_fault(f"dismiss:{fault}:1"))
    _cycle(command, sandbox, a_listed(task_id))
    if fault:
        sandbox.world.store.remove(task_id)


def _cycle(
    command: CommandLine, sandbox: RunningSandbox, *tasks: dict[str, Any]
) -> None:
    add(sandbox, tasks)
    command.run("run", "--once")
    command.clock.at += timedelta(minutes=5)
