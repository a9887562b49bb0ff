"""``run --once`` under every fault: what is said of each task, and how it ends."""

from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from tests.e2e.harness import RULES, Program, a_listed, add
from tests.e2e.inprocess import CommandLine, FixedClock, settings_for
from tests.sandbox_server import RunningSandbox
from triaged.sandbox.faults import KINDS_WITH_EFFECT, MISLEADING_KINDS, parse_fault
from triaged.triage.reconcile import EFFECT_TIMEOUT

# What the ledger has of the one task after the first cycle, after a second one at once,
# and after a third when the call cannot take effect any more.
_FAILED_AT_LAST = (["unknown"], ["unknown"], ["failed", "confirmed"])
_DISMISSED_AFTER_ALL = (["unknown"], ["confirmed"], ["confirmed"])
_RETRIED = (["failed"], ["failed", "confirmed"], ["failed", "confirmed"])
_Outcomes: TypeAlias = tuple[list[str], list[str], list[str]]
DISMISS_FAULTS: Final[dict[str, tuple[int, _Outcomes]]] = {
    "daily-429": (4, (["failed"], ["failed"], ["failed"])),
    "500": (4, _FAILED_AT_LAST),
    "502": (4, _FAILED_AT_LAST),
    "503": (4, _FAILED_AT_LAST),
    "500-after-effect": (4, _DISMISSED_AFTER_ALL),
    "drop-before-effect": (4, _FAILED_AT_LAST),
    "drop-after-effect": (4, _DISMISSED_AFTER_ALL),
    "html": (4, _FAILED_AT_LAST),
    "truncated": (4, _DISMISSED_AFTER_ALL),
    "bad-schema": (4, _DISMISSED_AFTER_ALL),
    "redirect": (4, _FAILED_AT_LAST),
    "401": (77, _RETRIED),
    "403": (77, _RETRIED),
    "html-404": (4, _FAILED_AT_LAST),
    "422": (0, (["rejected"],) * 3),
    "not-pending": (0, (["already_handled"],) * 3),
}


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: RunningSandbox
) -> CommandLine:
    (tmp_path / "rules.yaml").write_text(RULES)
    settings = settings_for(sandbox.api_url)
    return CommandLine(tmp_path, monkeypatch, FixedClock(), settings)


@pytest.mark.parametrize("fault", DISMISS_FAULTS)
def test_a_fault_on_dismiss(
    command: CommandLine, sandbox: RunningSandbox, fault: str
) -> None:
    """Nothing is dismissed twice, and the ledger ends with what really happened."""
    code, (first, at_once, later) = DISMISS_FAULTS[fault]
    add(sandbox, [a_listed("t1"), a_listed("t2", "an ordinary task")])
    sandbox.world.faults.add(parse_fault(f"dismiss:{fault}:1"))

    assert command.run("run", "--once").code == code
    assert _outcomes(command) == first
    command.clock.at += timedelta(seconds=1)
    command.run("run", "--once")
    assert _outcomes(command) == at_once
    command.clock.at += EFFECT_TIMEOUT
    command.run("run", "--once")
    assert _outcomes(command) == later
    assert sandbox.world.store.request_count("t1", "dismissed") <= 1
    assert sandbox.world.store.status_of("t2") == "pending"


def test_a_task_that_a_call_may_still_dismiss_is_held(
    command: CommandLine, sandbox: RunningSandbox
) -> None:
    """While the outcome is unknown, plan and cycle leave the task, and say why."""
    add(sandbox, [a_listed("t1")])
    sandbox.world.faults.add(parse_fault("dismiss:500:1"))
    command.run("run", "--once")
    decisions = command.run("plan", "--format", "json").json["decisions"]

    assert [(d["decision"], d["cause"]) for d in decisions] == [("leave", "held")]


def _outcomes(command: CommandLine) -> list[str]:
    rows = command.run("history", "--format", "json").json
    assert {row["task_id"] for row in rows} == {"t1"}
    return [row["outcome"] for row in rows]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("daily-429", 4),
        ("500", 69),
        ("502", 69),
        ("503", 69),
        ("drop-before-effect", 69),
        ("html", 1),
        ("truncated", 69),
        ("bad-schema", 1),
        ("redirect", 1),
        ("huge", 1),
        ("401", 77),
        ("403", 77),
        ("html-404", 1),
    ],
)
def test_a_fault_on_list(
    program: Program, sandbox: RunningSandbox, fault: str, code: int
) -> None:
    """Without a list that can be trusted nothing is dismissed."""
    add(sandbox, [a_listed("t1")])
    sandbox.world.faults.add(parse_fault(f"list:{fault}:1"))

    assert program.run("run", "--once").returncode == code
    assert sandbox.world.store.effects == []
    assert program.history() == {}


def test_a_minute_429_only_delays(program: Program, sandbox: RunningSandbox) -> None:
    """A refusal for the minute closes the gate, and the task gets its turn after."""
    program.settings["TRIAGED_RATE_LIMIT"] = "100/2s"
    add(sandbox, [a_listed("t1")])
    sandbox.world.faults.add(parse_fault("dismiss:429:1"))

    assert program.run("run", "--once").returncode == 0
    assert program.history() == {"t1": ["failed", "confirmed"]}


def test_an_api_that_is_not_there(program: Program) -> None:
    """Nobody listens: 69, and nothing was spent."""
    program.api_url = "http://127.0.0.1:9/functions/v1/api-gateway"

    assert program.run("run", "--once").returncode == 69


def test_faults_with_effect_are_all_covered() -> None:
    """A fault that lets the effect happen must be in the table above."""
    timed = {"slow", "delay-after-effect"}

    failures = KINDS_WITH_EFFECT - MISLEADING_KINDS
    assert {str(kind) for kind in failures} - timed <= DISMISS_FAULTS.keys()


def test_caps_leave_the_rest_for_later(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Under a cap the oldest go first, the cycle is incomplete, the rest waits."""
    rules = program.rules.read_text()
    caps = "safety: {max_dismissals_per_cycle: 2, "
    program.rules.write_text(rules.replace("safety: {", caps))
    days = {"t1": "2026-01-03", "t2": "2026-01-01", "t3": "2026-01-02"}
    add(
        sandbox,
        [a_listed(t, created_at=f"{day}T00:00:00Z") for t, day in days.items()],
    )

    assert program.run("run", "--once").returncode == 4
    assert set(program.history()) == {"t2", "t3"}
    assert program.run("run", "--once").returncode == 0
    assert set(program.history()) == {"t1", "t2", "t3"}


def test_a_task_still_listed_after_its_dismissal_is_not_dismissed_again(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A list that lags behind never makes us dismiss twice."""
    add(sandbox, [a_listed("t1")])
    program.run("run", "--once")
    add(sandbox, [a_listed("t1")])

    assert program.run("run", "--once").returncode == 0
    assert program.history() == {"t1": ["confirmed"]}
    plan = program.json("plan")
    assert plan["decisions"][0]["cause"] == "not_pending"
