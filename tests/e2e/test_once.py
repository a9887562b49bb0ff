"""``run --once`` under every fault: what is said of each task, and how it ends."""

import pytest

from tests.e2e.harness import Program, a_listed, add
from tests.sandbox_server import RunningSandbox
from triaged.sandbox.faults import KINDS_WITH_EFFECT, MISLEADING_KINDS, parse_fault

# What the first cycle's ledger says of the one task, and what the second adds.
DISMISS_FAULTS = {
    "429": (4, None, None),
    "daily-429": (4, ["failed"], ["failed"]),
    "500": (4, ["unknown"], ["failed", "confirmed"]),
    "502": (4, ["unknown"], ["failed", "confirmed"]),
    "503": (4, ["unknown"], ["failed", "confirmed"]),
    "500-after-effect": (4, ["unknown"], ["confirmed"]),
    "drop-before-effect": (4, ["unknown"], ["failed", "confirmed"]),
    "drop-after-effect": (4, ["unknown"], ["confirmed"]),
    "html": (4, ["unknown"], ["failed", "confirmed"]),
    "truncated": (4, ["unknown"], ["confirmed"]),
    "bad-schema": (4, ["unknown"], ["confirmed"]),
    "redirect": (4, ["unknown"], ["failed", "confirmed"]),
    "401": (77, ["failed"], ["failed", "confirmed"]),
    "403": (77, ["failed"], ["failed", "confirmed"]),
    "html-404": (4, ["unknown"], ["unknown"]),
    "422": (0, ["rejected"], ["rejected"]),
    "not-pending": (0, ["already_handled"], ["already_handled"]),
}


@pytest.mark.parametrize("fault", [f for f in DISMISS_FAULTS if f != "429"])
def test_a_fault_on_dismiss(
    program: Program, sandbox: RunningSandbox, fault: str
) -> None:
    """Nothing is dismissed twice, and the ledger ends with what really happened."""
    code, first, second = DISMISS_FAULTS[fault]
    add(sandbox, [a_listed("t1"), a_listed("t2", "an ordinary task")])
    sandbox.world.faults.add(parse_fault(f"dismiss:{fault}:1"))

    assert program.run("run", "--once").returncode == code
    assert program.history() == {"t1": first}
    program.run("run", "--once")
    assert program.history() == {"t1": second}
    assert sandbox.world.store.request_count("t1", "dismissed") <= 1
    assert sandbox.world.store.status_of("t2") == "pending"


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
