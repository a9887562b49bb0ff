"""SIGKILL at every step: nothing is lost, repeated or counted twice."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.e2e.harness import RunningDaemon, eventually
from tests.reliability.crash import read_copy, read_ledger
from tests.reliability.kill_schedules import KillRun, kill_run
from tests.reliability.report import FULL, Report
from triaged.ledger.dismissals import Outcome
from triaged.sandbox.faults import parse_fault

pytestmark = pytest.mark.reliability

SEED: Final = 20_260_301

# As many as fly at once; longer than a restart takes.
LATE: Final = 8
LATE_SECONDS: Final = 6


def finish(run: KillRun) -> None:
    """Let the daemon work, faults and all, until nothing is left, and judge the end."""
    with run.program.daemon() as daemon:
        eventually(lambda: _is_quiet(run, daemon), 200)
        compare_metrics(run, daemon)
        assert daemon.end() == 0
    assert run.broken(over=True) == []
    confirmed = {
        row["task_id"]: row["reason"]
        for row in run.program.json("history", "--outcome", "confirmed")
    }
    effects = {
        effect.task_id: effect.reason
        for effect in run.sandbox.world.store.effects
        if effect.status == "dismissed"
    }
    assert confirmed == effects


def _is_quiet(run: KillRun, daemon: RunningDaemon) -> bool:
    """Wait for a cycle; what it left unresolved is old enough for the next one."""
    finished = len(daemon.named("cycle.finished"))
    eventually(lambda: len(daemon.named("cycle.finished")) > finished)
    run.let_time_pass()
    return run.is_quiet(daemon)


def compare_metrics(run: KillRun, daemon: RunningDaemon) -> None:
    """Ask the daemon for its totals, which must be those of the ledger."""
    daemon.wait_for("cycle.finished", times=len(daemon.named("cycle.finished")) + 1)
    memory = read_ledger(run.program.directory / "state")
    for (rule, reason), total in memory.dismissals.items():
        name = "triaged_dismissals_total"
        assert daemon.metric(name, rule=rule, reason=reason) == total
    for outcome in Outcome:
        name = "triaged_dismissal_attempts_total"
        total = memory.attempts.get(outcome, 0)
        assert daemon.metric(name, outcome=outcome) == total


def summary(run: KillRun) -> str:
    entries = read_copy(run.program.directory / "state").all()
    settled = sum(e.outcome is not Outcome.FAILED and bool(e.detail) for e in entries)
    return (
        f"{run.done():,} dismissals: 0 twice, 0 lost, 0 miscounted;"
        f" {settled} settled after being unknown, {run.approved} approved by a"
        f" person meanwhile; killed at: {run.by_step()}"
    )


def test_killed_at_random_instants(tmp_path: Path, report: Report) -> None:
    """Killed at random, at requests and at events, it loses and repeats nothing."""
    guarantee = "The daemon, killed at any instant, loses and repeats nothing"
    with (
        report.check("Crash points", guarantee) as check,
        kill_run(tmp_path, SEED) as world,
    ):
        ways = (
            world.kill_after_a_while,
            world.kill_at_a_request,
            world.kill_at_an_event,
        )
        for number in range(150 if FULL else 12):
            world.restock()
            ways[number % 3]()
            assert world.broken() == [], (number, world.log.read_text())
            check.runs += 1
        finish(world)
        check.result = summary(world)


def mixed(spots: Iterable[str], random: Random) -> list[str]:
    """Shuffle lines so that each file has its turn before one has its second."""
    order = sorted(spots)
    random.shuffle(order)
    turns: Counter[str] = Counter()
    ranked = []
    for spot in order:
        name = spot.partition(":")[0]
        ranked.append((turns[name], spot))
        turns[name] += 1
    return [spot for _, spot in sorted(ranked, key=lambda each: each[0])]


def test_killed_at_any_line(tmp_path: Path, report: Report) -> None:
    """Killed before a line of the cycle runs, it loses and repeats nothing."""
    guarantee = "A cycle, killed before any line of it runs, loses and repeats nothing"
    with (
        report.check("Crash points", guarantee) as check,
        kill_run(tmp_path, SEED + 1) as world,
    ):
        spots: dict[str, int] = {}
        for _ in range(4 if FULL else 1):
            # What was in the air when it died is what the next cycle has to settle.
            world.restock()
            world.kill_in_the_air()
            spots |= world.survey()
        for spot in mixed(spots, world.random)[: 250 if FULL else 12]:
            world.restock()
            times = world.random.randint(1, min(spots[spot], 40))
            check.runs += world.kill_at_a_line(spot, times)
            assert world.broken() == [], (spot, times, world.log.read_text())
        finish(world)
        check.result = f"{summary(world)}; of {len(spots)} lines reached"


def test_an_effect_that_comes_late(tmp_path: Path, report: Report) -> None:
    """What the server carries out between the next list and a new try is ours."""
    guarantee = (
        "An effect that comes after the restart has listed, and before it tries again,"
        " is confirmed and counted once"
    )
    with (
        report.check("Crash points", guarantee) as check,
        kill_run(tmp_path, SEED, faults=()) as world,
    ):
        for _ in range(3 if FULL else 1):
            world.restock_clutter(LATE)
            world.watch.clear()
            for seconds in (LATE_SECONDS, LATE_SECONDS + 2):
                world.watch.add(parse_fault(f"dismiss:slow={seconds}:{LATE}"))
            world.kill_at("dismiss", "before", LATE)
            world.let_time_pass()
            for _ in range(2):
                world.program.run("run", "--once")
            check.runs += LATE
        ends = world.program.history()
        late = sum("failed" in outcomes for outcomes in ends.values())
        check.result = f"{late} came late; each confirmed once"

        confirmed = {task: e.count("confirmed") for task, e in ends.items()}
        assert confirmed == dict.fromkeys(world.factory.expected, 1), ends
        memory = read_copy(tmp_path / "state")
        assert sum(memory.dismissals.values()) == len(confirmed) == world.done()
