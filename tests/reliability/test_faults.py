"""Every fault on every operation, once and in bursts, each with its stated end."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.clocks import AutoAdvanceClock, RealSleepClock
from tests.e2e.harness import Program, a_listed, add
from tests.reliability.expected_outcomes import (
    APPROVE,
    DISMISS,
    FAILURES,
    LIST,
    SETTLING,
    TASKS,
    Burst,
    Recovery,
)
from tests.reliability.fault_harness import (
    SETTLE,
    CycleRun,
    FaultHarness,
    install_clock,
)
from tests.reliability.report import FULL, Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.ledger.dismissals import Outcome
from triaged.sandbox.faults import (
    DEFAULT_VALUES,
    KINDS_WITH_EFFECT,
    Fault,
    FaultKind,
    parse_fault,
)
from triaged.sandbox.settings import SandboxSettings
from triaged.triage.report import CycleResult

pytestmark = pytest.mark.reliability

SEED: Final = 62
SLOW: Final = (FaultKind.SLOW, FaultKind.DELAY_AFTER_EFFECT)
SLOW_SECONDS, ANSWER_SECONDS = 0.8, 0.5

SAID: Final = {
    Burst.ONCE: "once",
    Burst.THREE: "three times",
    Burst.THIRTY: "thirty times",
    Burst.ALWAYS: "on every call",
}

# A cycle asks for a list once, so for lists a burst spans at most this many cycles.
FEW: Final = tuple(Burst) if FULL else (Burst.ONCE, Burst.ALWAYS)


def with_bursts(bursts: Iterable[Burst]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("burst", bursts, ids=lambda b: b.name.lower())


@pytest.fixture(scope="module")
def table() -> Iterator[tuple[RunningSandbox, AutoAdvanceClock]]:
    clock = AutoAdvanceClock()
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, RealSleepClock(clock)) as sandbox:
        yield sandbox, clock


@pytest.fixture
def bench(
    table: tuple[RunningSandbox, AutoAdvanceClock],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> FaultHarness:
    sandbox, clock = table
    install_clock(monkeypatch, clock)
    monkeypatch.setattr("triaged.leadlex.protocol.MAX_LIST_BYTES", 1 << 20)
    return FaultHarness(tmp_path, sandbox, clock)


def fault(operation: str, kind: FaultKind, burst: Burst, *, skip: int = 0) -> Fault:
    return Fault(
        operation=operation,
        kind=kind,
        count=burst.value or 1,
        skip=skip,
        probability=1.0 if burst is Burst.ALWAYS else None,
        value=SLOW_SECONDS if kind in DEFAULT_VALUES else None,
    )


@contextmanager
def patience_for(kind: FaultKind) -> Iterator[None]:
    """Give the client short timeouts for a slow fault."""
    with pytest.MonkeyPatch.context() as patch:
        if kind in SLOW:
            patch.setattr("triaged.leadlex.clients.READ_TIMEOUT", ANSWER_SECONDS)
        yield


def test_every_kind_is_stated() -> None:
    """Every kind of fault has a specified outcome."""
    for ends in (DISMISS, LIST, SETTLING, APPROVE):
        assert set(ends) == set(FAILURES)


@with_bursts(Burst)
def test_dismissals_are_hit(bench: FaultHarness, burst: Burst, report: Report) -> None:
    """A fault on dismissals has the specified outcome, and the workspace recovers."""
    guarantee = (
        f"Each fault on dismissals, {SAID[burst]}: the stated end, each done once"
    )
    random, hits = Random(SEED), 0  # noqa: S311 - repeatable, not secret
    with report.check("Faults", guarantee) as check:
        for kind in FAILURES:
            with patience_for(kind):
                skip = random.randrange(4) if burst.is_short else 0
                hits += hit_dismissals(bench, kind, burst, skip)
            check.runs += 1
        check.result = f"{hits} dismissals hit; 0 done twice, 0 lost, 0 miscounted"


def hit_dismissals(
    bench: FaultHarness, kind: FaultKind, burst: Burst, skip: int
) -> int:
    """Run one cell of the matrix; return how many calls were hit."""
    bench.clear_table()
    tasks = [f"t{number}" for number in range(TASKS)]
    bench.store.add([*map(a_listed, tasks), a_listed("kept", "ordinary")])
    bench.script(fault("dismiss", kind, burst, skip=skip))
    cycled = bench.cycle()
    check_hit(bench, kind, burst, cycled)
    bench.script()
    wait_for_recovery(bench, DISMISS[kind].recovery)
    check_recovered(bench, tasks)
    return cycled.hits


def check_hit(
    bench: FaultHarness, kind: FaultKind, burst: Burst, cycled: CycleRun
) -> None:
    """Compare the cycle under the fault with the table."""
    end, wanted, where = DISMISS[kind], burst.value or TASKS, (kind, cycled)
    outcomes, hits = bench.outcomes(), cycled.hits
    clean = cycled.made("dismiss") - hits
    effects = clean + (hits if kind in KINDS_WITH_EFFECT else 0)
    assert 1 <= hits <= min(wanted, end.most), where
    assert outcomes[end.outcome] == hits, where
    assert outcomes[Outcome.CONFIRMED] == clean, where
    assert outcomes.total() == clean + hits, where
    assert len(bench.store.effects) == effects, where
    assert cycled.code == end.code[not burst.is_short], where
    assert (cycled.result == CycleResult.OK) == (cycled.code == 0), where
    assert cycled.made("list") == 1, where


def check_recovered(bench: FaultHarness, tasks: list[str]) -> None:
    """Each is dismissed, was never asked for once it was, and is counted once."""
    entries = bench.entries()
    for task in tasks:
        ends = [entry.outcome for entry in entries[task]]
        assert bench.store.status_of(task) == "dismissed", (task, ends)
        assert bench.store.request_count(task) == 1, (task, ends)
        assert ends[-1] is Outcome.CONFIRMED, (task, ends)
        assert ends.count(Outcome.CONFIRMED) == 1, (task, ends)
        assert Outcome.UNKNOWN not in ends, (task, ends)
    assert bench.totals("dismissals") == {("clutter", "testing"): len(tasks)}
    assert bench.store.status_of("kept") == "pending"
    assert "kept" not in entries


def wait_for_recovery(bench: FaultHarness, recovery: Recovery) -> None:
    """Run clean cycles until the stated moment: nothing new before it, all at it."""
    if recovery is not Recovery.NEXT_CYCLE:
        before = bench.outcomes()[Outcome.CONFIRMED]
        cycled = bench.cycle()
        assert len(cycled.calls) == (recovery is Recovery.NEXT_DAY), cycled
        assert bench.outcomes()[Outcome.CONFIRMED] == before, cycled
    cycled = bench.cycle(after=recovery.value)
    assert (cycled.code, cycled.result) == (0, CycleResult.OK), cycled


@with_bursts(FEW)
def test_the_list_is_hit(bench: FaultHarness, burst: Burst, report: Report) -> None:
    """Without a list nothing is done, one call is spent, and the next list recovers."""
    guarantee = f"Each fault on the list, {SAID[burst]}: one call, nothing dismissed"
    with report.check("Faults", guarantee) as check:
        for kind in FAILURES:
            with patience_for(kind):
                hit_list(bench, kind, burst)
            check.runs += 1
        check.result = "held; after the last fault each task done once"


def hit_list(bench: FaultHarness, kind: FaultKind, burst: Burst) -> None:
    """Run one cell of the matrix."""
    result, code, recovery = LIST[kind]
    bench.clear_table()
    bench.store.add([a_listed("t1"), a_listed("kept", "ordinary")])
    bench.script(fault("list", kind, burst))
    for _ in range(burst.cycles):
        cycled = bench.cycle()
        assert (cycled.code, cycled.result) == (code, result), (kind, cycled)
        assert len(cycled.calls) <= 1, (kind, cycled)
    assert bench.store.effects == [], kind
    assert bench.entries() == {}, kind
    bench.script()
    wait_for_recovery(bench, recovery)
    check_recovered(bench, ["t1"])


@with_bursts(FEW)
def test_the_settling_is_hit(bench: FaultHarness, burst: Burst, report: Report) -> None:
    """What is unknown stays so until a list tells; the others need not wait for it."""
    guarantee = (
        f"Each fault on the list that settles, {SAID[burst]}: unknown until told"
    )
    with report.check("Faults", guarantee) as check:
        for kind in FAILURES:
            with patience_for(kind):
                hit_settling(bench, kind, burst)
            check.runs += 1
        check.result = f"{2 * check.runs} unknown, all settled as confirmed"


def hit_settling(bench: FaultHarness, kind: FaultKind, burst: Burst) -> None:
    """Run one cell of the matrix."""
    code, goes_on, recovery = SETTLING[kind]
    bench.clear_table()
    bench.store.add([a_listed("u1"), a_listed("u2")])
    bench.script(Fault(operation="dismiss", kind=FaultKind.DROP_AFTER_EFFECT, count=2))
    bench.cycle()
    bench.store.add([a_listed("t1"), a_listed("t2"), a_listed("kept", "ordinary")])
    bench.script(fault(SETTLE, kind, burst))
    for _ in range(burst.cycles):
        cycled = bench.cycle()
        assert cycled.code == code, (kind, cycled)
        assert cycled.hits <= 1, (kind, cycled)
        assert bench.outcomes()[Outcome.UNKNOWN] == 2, (kind, cycled)
    dismissed = {effect.task_id for effect in bench.store.effects}
    assert dismissed == {"u1", "u2"} | ({"t1", "t2"} if goes_on else set()), kind
    bench.script()
    wait_for_recovery(bench, recovery)
    check_recovered(bench, ["u1", "u2", "t1", "t2"])


def test_an_approval_is_hit(bench: FaultHarness, report: Report) -> None:
    """One approval is one call, and what comes of it is called by its name."""
    guarantee = "Each fault on an approval: one call, named for what is known of it"
    with report.check("Faults", guarantee) as check:
        for kind, error in APPROVE.items():
            bench.clear_table()
            bench.store.add([a_listed("t1")])
            bench.script(fault("approve", kind, Burst.ONCE))
            with patience_for(kind):
                raised = bench.approve("t1")
            done = bench.store.status_of("t1") == "approved"
            assert type(raised) is error, (kind, raised)
            assert done == (kind in KINDS_WITH_EFFECT), kind
            assert bench.store.request_count("t1", "approved") == done, kind
            check.runs += 1
        check.result = "held; none was repeated"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("dismiss:drop-after-effect:p=1", 4),
        ("dismiss:html:p=1", 4),
        ("dismiss:html-404:p=1", 4),
        ("dismiss:401:p=1", 77),
        ("list:truncated:p=1", 69),
    ],
)
def test_the_same_through_the_real_process(
    tmp_path: Path, script: str, code: int, report: Report
) -> None:
    """What the matrix says of a cycle in this process, the program says too."""
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    guarantee = "Faults through the real program: the exit code that the matrix says"
    with (
        report.check("Faults", guarantee) as check,
        running_sandbox(settings, SystemClock()) as sandbox,
    ):
        program, world = Program(tmp_path, sandbox.api_url), sandbox.world
        add(sandbox, [a_listed(f"t{number}") for number in range(TASKS)])
        world.faults.add(parse_fault(script))
        first = program.run("run", "--once").returncode
        hits = sum(call.fault is not None for call in world.calls)
        world.faults.clear()
        program.run("run", "--once")

        assert first == code
        assert 1 <= hits <= TASKS
        assert max(world.store.request_count(f"t{n}") for n in range(TASKS)) <= 1
        check.runs, check.result = 1, f"{hits} calls hit, 0 done twice"
