"""Cycle, guard, gate and ledger together, on fakes and a clock that leaps."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from tests.fakes import RULES, TriageHarness
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RateLimited,
    RequestRejected,
    TaskNotFound,
    Unreachable,
)
from triaged.leadlex.models import TaskList
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.ledger.flags import FlagName
from triaged.ledger.location import LedgerLocation
from triaged.ledger.sqlite import SqliteDatabase
from triaged.quota import QuotaSettings, RateLimitHeaders
from triaged.rules.compiled import CompiledRuleset
from triaged.rules.context import EvaluationContext
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rules.task import Decision, LeaveCause, Task
from triaged.triage import dispatcher
from triaged.triage.rate_limiter import RateLimiter
from triaged.triage.reconcile import EFFECT_TIMEOUT
from triaged.triage.report import CycleResult
from triaged.triage.requests import HaltReason

HELD = RULES.replace("  - name: clutter\n", "  - name: clutter\n    hold: 24h\n")


@pytest.fixture
def harness(place: LedgerLocation) -> Iterator[TriageHarness]:
    harness = TriageHarness(place)
    yield harness
    harness.ledger.close()


@pytest.mark.anyio
async def test_a_cycle_dismisses_and_counts(harness: TriageHarness) -> None:
    """What is due is dismissed once, the rest left, and both are counted."""
    harness.leadlex.add("a", "b")
    harness.leadlex.add("c", description="ordinary")
    report = await harness.cycle()

    assert report.result is CycleResult.OK
    assert sorted(harness.leadlex.dismissed) == ["a", "b"]
    assert report.left_by_cause == {LeaveCause.NO_RULE: 1}
    assert report.matched_rules == {"clutter", "watch"}
    assert harness.ledger.counters.values("dismissals") == {("clutter", "testing"): 2}
    assert harness.ledger.counters.values("observed") == {("watch", "testing"): 2}
    again = await harness.cycle()
    assert again.attempts == ()
    assert harness.ledger.counters.values("observed") == {("watch", "testing"): 2}


class CountingDatabase(SqliteDatabase):
    """Counts the transactions, each of which waits for the disk."""

    begun = 0

    @contextlib.contextmanager
    def transaction(self, workspace: str) -> Iterator[None]:
        nested, self._depth = self._depth, self._depth + 1
        self.begun += not nested
        try:
            with super().transaction(workspace):
                yield
        finally:
            self._depth = nested

    _depth = 0


@pytest.mark.anyio
async def test_a_cycle_that_finds_nothing_new_writes_only_the_quota(
    tmp_path: Path,
) -> None:
    """Its call is charged and its answer noted; what is stored is not stored again."""
    database = CountingDatabase(tmp_path)
    with contextlib.closing(database):
        harness = TriageHarness(tmp_path, ledger=Ledger(database))
        harness.rules(HELD)
        harness.leadlex.add("a", "b")
        harness.leadlex.add("c", description="ordinary")
        await harness.cycle()
        before = database.begun
        report = await harness.cycle()

    assert report.left_by_cause[LeaveCause.HELD] == 2
    assert database.begun - before == 2


@pytest.mark.anyio
async def test_a_dry_run_only_observes(harness: TriageHarness) -> None:
    """A dry run counts what it would have dismissed, each task once."""
    harness.leadlex.add("a")
    await harness.cycle(dry_run=True)
    await harness.cycle(dry_run=True)

    assert harness.leadlex.dismissed == []
    assert harness.ledger.counters.values("observed") == {
        ("watch", "testing"): 1,
        ("clutter", "testing"): 1,
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "first", "then"),
    [
        (NoResponse("dismiss", status=500), Outcome.UNKNOWN, "tried again"),
        (MalformedResponse("dismiss", status=200), Outcome.UNKNOWN, "tried again"),
        (NotPending("dismiss", status=400), Outcome.ALREADY_HANDLED, "left"),
        (TaskNotFound("dismiss", status=404), Outcome.GONE, "left"),
        (RequestRejected("dismiss", status=422), Outcome.REJECTED, "left"),
        (Unreachable("dismiss"), Outcome.FAILED, "tried again"),
        (KeyRejected("dismiss", status=401), Outcome.FAILED, "tried again"),
    ],
)
async def test_each_error_has_its_outcome(
    harness: TriageHarness, error: LexiError, first: Outcome, then: str
) -> None:
    """An error says what became of the dismissal, and whether it is tried again."""
    harness.leadlex.add("a")
    harness.leadlex.errors = [error]
    await harness.cycle()

    assert harness.outcomes() == [("a", first)]
    harness.clock.advance(EFFECT_TIMEOUT.total_seconds())
    await harness.cycle()
    assert (harness.leadlex.dismissed == ["a"]) is (then == "tried again")


@pytest.mark.anyio
async def test_a_wrong_clock_declares_no_call_without_effect(
    harness: TriageHarness,
) -> None:
    """By a clock that jumped, a call seems old that can still take effect."""
    harness.leadlex.add("a")
    harness.leadlex.errors = [NoResponse("dismiss", status=500)]
    await harness.cycle()
    harness.clock.advance(timedelta(hours=1).total_seconds())
    harness.rate_limiter.clock_skew = timedelta(hours=-1)
    await harness.cycle()
    by_wrong_clock = harness.outcomes()
    harness.rate_limiter.clock_skew = timedelta(0)
    await harness.cycle()

    assert by_wrong_clock == [("a", Outcome.UNKNOWN)]
    assert harness.leadlex.dismissed == ["a"]


@pytest.mark.anyio
async def test_a_rejected_task_is_tried_again_after_a_day(
    harness: TriageHarness,
) -> None:
    """A refusal of its own kind is not repeated at each poll, but not for ever."""
    harness.leadlex.add("a")
    harness.leadlex.errors = [RequestRejected("dismiss", status=422)]
    await harness.cycle()
    held = await harness.cycle()
    harness.clock.advance(86_401)
    await harness.cycle()

    assert held.left_by_cause == {LeaveCause.HELD: 1}
    assert harness.leadlex.dismissed == ["a"]


@pytest.mark.anyio
async def test_an_unknown_outcome_is_settled_by_one_list(
    harness: TriageHarness,
) -> None:
    """However many are unknown and gone, one list of the dismissed tells of all."""
    harness.leadlex.add("a", "b")
    harness.leadlex.effect_before_error = True
    harness.leadlex.errors = [NoResponse("dismiss"), NoResponse("dismiss")]
    await harness.cycle()
    harness.leadlex.tasks["b"]["status"] = "approved"
    harness.leadlex.calls.clear()
    report = await harness.cycle()

    assert harness.leadlex.calls == ["list pending", "list dismissed"]
    assert harness.outcomes() == [("a", "confirmed"), ("b", "already_handled")]
    assert len(report.resolved) == 2
    assert harness.ledger.counters.values("dismissals") == {("clutter", "testing"): 1}


@pytest.mark.anyio
async def test_an_outcome_that_cannot_be_settled_stays_unknown(
    harness: TriageHarness,
) -> None:
    """A failed list of the dismissed costs the settling, not the cycle."""
    harness.leadlex.add("a")
    harness.leadlex.effect_before_error = True
    harness.leadlex.errors = [NoResponse("dismiss")]
    await harness.cycle()
    harness.leadlex.add("b")
    harness.leadlex.list_errors = []
    listed = harness.leadlex.list_tasks

    async def flaky(status: str = "pending") -> TaskList:
        if status == "dismissed":
            raise NoResponse("list", status=500)
        return await listed(status)

    harness.leadlex.list_tasks = flaky  # type: ignore[method-assign]
    report = await harness.cycle()

    assert report.result is CycleResult.INCOMPLETE
    assert harness.outcomes() == [("a", "unknown"), ("b", "confirmed")]


@pytest.mark.anyio
async def test_a_server_in_trouble_is_left_alone(harness: TriageHarness) -> None:
    """After three unknown outcomes in a row nothing more leaves."""
    harness.leadlex.add(*(f"t{number:02}" for number in range(25)))
    harness.leadlex.errors = [NoResponse("dismiss", status=503) for _ in range(25)]
    report = await harness.cycle()

    assert report.halt is HaltReason.FAULTS
    assert len(report.attempts) <= 16
    assert report.backlog >= 9


@pytest.mark.anyio
async def test_a_refused_call_keeps_its_place(harness: TriageHarness) -> None:
    """A 429 closes the gate for a while; the task is dismissed after, once."""
    harness.leadlex.add("a")
    harness.leadlex.errors = [RateLimited("dismiss", status=429)]
    started = harness.clock.now()
    report = await harness.cycle()

    assert report.result is CycleResult.OK
    assert harness.outcomes() == [("a", "confirmed"), ("a", "failed")]
    assert harness.clock.now() > started


@pytest.mark.anyio
async def test_a_refusal_calls_back_what_has_not_left(
    harness: TriageHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 429 nothing that was cleared leaves before the gate opens again."""
    monkeypatch.setattr(dispatcher, "MAX_CONCURRENT", 2)
    harness.leadlex.add(*(f"t{number:02}" for number in range(20)))
    harness.leadlex.errors = [RateLimited("dismiss", status=429)]
    times: list[float] = []
    harness.leadlex.before_dismiss = lambda: times.append(harness.clock.monotonic())
    report = await harness.cycle()

    assert report.result is CycleResult.OK
    assert len(harness.leadlex.dismissed) == 20
    # Two had left; the others, cleared along with them, waited.
    assert times.count(times[0]) == 2


@pytest.mark.anyio
async def test_a_pause_in_mid_cycle_stops_what_has_not_left(
    harness: TriageHarness,
) -> None:
    """What is in flight lands; everything else waits for the resume."""
    harness.rules(RULES.replace("max_share", "max_dismissals_per_cycle: 60, max_share"))
    harness.leadlex.add(*(f"t{number:02}" for number in range(50)))

    def pause() -> None:
        if harness.ledger.flags.get(FlagName.PAUSED) is None:
            harness.ledger.flags.set(FlagName.PAUSED, reason="", at=harness.clock.now())

    harness.leadlex.before_dismiss = pause
    report = await harness.cycle()

    assert report.halt is HaltReason.PAUSED
    assert 0 < len(harness.leadlex.dismissed) <= 16
    assert report.backlog == 50 - len(harness.leadlex.dismissed)


@pytest.mark.anyio
async def test_stop_lands_what_flies_and_takes_back_the_rest(
    harness: TriageHarness,
) -> None:
    """After a stop no call leaves, and no intent stays open."""
    harness.leadlex.add(*(f"t{number:02}" for number in range(25)))
    harness.leadlex.before_dismiss = harness.stop.set
    report = await harness.cycle()

    assert report.halt is HaltReason.STOPPING
    assert 0 < len(harness.leadlex.dismissed) <= 8
    assert harness.ledger.dismissals.unresolved() == []


@pytest.mark.anyio
async def test_the_day_s_end_leaves_the_rest(harness: TriageHarness) -> None:
    """When the day's share is gone the cycle ends incomplete and says so."""
    harness.leadlex.rate_limit = RateLimitHeaders(limit=100, remaining=23)
    harness.leadlex.add(*(f"t{number:02}" for number in range(9)))

    def spend() -> None:
        left = harness.leadlex.rate_limit.remaining or 0
        harness.leadlex.rate_limit = RateLimitHeaders(limit=100, remaining=left - 1)

    harness.leadlex.before_dismiss = spend
    harness.rate_limiter = RateLimiter(
        QuotaSettings(minute_limit=50, daily_limit=100), harness.ledger, harness.clock
    )
    report = await harness.cycle()

    assert report.halt is HaltReason.QUOTA
    assert report.result is CycleResult.INCOMPLETE
    assert 0 < len(harness.leadlex.dismissed) <= 3


@pytest.mark.anyio
async def test_a_hold_waits_and_starts_anew(harness: TriageHarness) -> None:
    """A rule with a hold acts after it has held that long on the same text."""
    harness.rules(HELD)
    harness.leadlex.add("a", "b")
    first = await harness.cycle()
    harness.clock.advance(86_000)
    harness.leadlex.tasks["b"]["description"] = "[TEST] other"
    await harness.cycle()
    harness.clock.advance(500)
    await harness.cycle()

    assert first.left_by_cause == {LeaveCause.HELD: 2}
    assert harness.leadlex.dismissed == ["a"]
    harness.leadlex.tasks["b"]["description"] = "ordinary"
    await harness.cycle()
    harness.leadlex.tasks["b"]["description"] = "[TEST] other"
    harness.clock.advance(86_400)
    last = await harness.cycle()
    assert last.left_by_cause == {LeaveCause.HELD: 1}


@pytest.mark.anyio
async def test_a_wrong_clock_opens_the_breaker(harness: TriageHarness) -> None:
    """With the clocks minutes apart no age can be trusted, so nothing is dismissed."""
    harness.leadlex.add("a")
    harness.leadlex.rate_limit = RateLimitHeaders(date=T0 + timedelta(minutes=5))
    report = await harness.cycle()

    assert report.left_by_cause == {LeaveCause.BREAKER: 1}
    assert report.breaker is not None
    assert harness.ledger.flags.get(FlagName.BREAKER) is not None
    harness.leadlex.rate_limit = RateLimitHeaders(date=harness.clock.now())
    await harness.cycle()
    assert harness.leadlex.dismissed == ["a"]
    assert harness.ledger.flags.get(FlagName.BREAKER) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Unreachable("list"), CycleResult.FAILED),
        (MalformedResponse("list", status=200), CycleResult.FAILED),
        (KeyRejected("list", status=401), CycleResult.FAILED),
        (RateLimited("list", status=429), CycleResult.INCOMPLETE),
    ],
)
async def test_without_a_list_nothing_is_done(
    harness: TriageHarness, error: LexiError, result: CycleResult
) -> None:
    """A list that does not come costs the cycle, and is told in its report."""
    harness.leadlex.add("a")
    harness.leadlex.list_errors = [error]
    report = await harness.cycle()

    assert (report.result, report.listed, report.error) == (result, False, error)
    assert harness.leadlex.dismissed == []


@pytest.mark.anyio
async def test_a_decision_is_explained_by_what_was_stored(
    harness: TriageHarness,
) -> None:
    """Each dismissal keeps task, rules and trace; each leave keeps what it needs."""
    harness.leadlex.add("a")
    harness.leadlex.add("b", description="ordinary")
    await harness.cycle()
    entry = harness.ledger.dismissals.query(DismissalFilter(task_id="a"))[0]
    left = harness.ledger.decisions.latest("b")

    assert entry.trace["decision"]["rule"] == "clutter"
    assert [rule["rule"] for rule in entry.trace["rules"]] == ["watch", "clutter"]
    assert left is not None
    assert left.cause is LeaveCause.NO_RULE
    assert harness.ledger.rulesets.source(left.rules_sha256) == RULES


@pytest.mark.anyio
async def test_a_stop_ends_the_wait_for_another_process(
    harness: TriageHarness, place: LedgerLocation
) -> None:
    """Who holds the lock may be stopped for ever: the end does not wait for it."""
    with Ledger.open(place) as beside:
        async with beside.dispatch_lock(harness.clock).acquired():
            harness.stop.set()
            report = await harness.cycle()

    assert not report.listed
    assert harness.leadlex.calls == []


@pytest.mark.anyio
async def test_a_halt_ends_the_wait_for_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that one call has ended waits for no quota: others want the lock."""
    harness = TriageHarness(tmp_path, limit=2)
    waits: list[float] = []

    async def sleep_forever(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.Event().wait()

    monkeypatch.setattr(harness.clock, "sleep", sleep_forever)
    harness.leadlex.add("t1", "t2")
    harness.leadlex.errors = [KeyRejected("dismiss", status=401)]
    async with asyncio.timeout(10):
        report = await harness.cycle()
    harness.ledger.close()

    assert len(waits) == 1
    assert report.halt is HaltReason.KEY
    assert report.backlog == 2


@pytest.mark.anyio
async def test_a_cycle_does_not_sleep_for_a_day(harness: TriageHarness) -> None:
    """A server that asks for a long wait ends the cycle, which says until when."""
    harness.leadlex.add("t1")
    until = harness.clock.at + timedelta(days=1)
    harness.leadlex.rate_limit = RateLimitHeaders(retry_after=until)
    await harness.cycle()
    report = await harness.cycle()

    assert str(report.error) == (
        f"LeadLex asks for no API calls until {until:%Y-%m-%d %H:%M:%SZ}"
    )
    assert harness.clock.at < until


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["pending", "dismissed"])
async def test_a_row_that_cannot_be_read_denies_no_dismissal(
    harness: TriageHarness, status: str
) -> None:
    """An unreadable row may be the task: what is found in no list stays unknown."""
    harness.leadlex.add("t1")
    harness.leadlex.errors.append(NoResponse("dismiss", status=502))
    harness.leadlex.effect_before_error = True
    await harness.cycle()
    row = harness.leadlex.tasks["t1"]
    harness.leadlex.tasks["t1"] = {"id": None, "status": status}
    await harness.cycle()
    assert harness.outcomes() == [("t1", Outcome.UNKNOWN)]
    harness.leadlex.tasks["t1"] = row
    await harness.cycle()

    assert harness.outcomes() == [("t1", Outcome.CONFIRMED)]


@pytest.mark.anyio
async def test_a_long_list_does_not_stop_the_event_loop(tmp_path: Path) -> None:
    """While it is decided on, other workspaces are polled and probes answered."""
    loop = asyncio.get_running_loop()

    class Patient(CompiledRuleset):
        """Decides only once the event loop has run something else."""

        def decide(
            self,
            tasks: Sequence[Task],
            *,
            now: datetime,
            context: EvaluationContext | None = None,
        ) -> list[Decision]:
            has_run = threading.Event()
            loop.call_soon_threadsafe(has_run.set)
            assert has_run.wait(10)
            return super().decide(tasks, now=now, context=context)

    harness = TriageHarness(tmp_path)
    engine = Patient(harness.ready.ruleset, build_prefilter)
    harness.ready = replace(harness.ready, engine=engine)
    harness.leadlex.add(*(f"t{n}" for n in range(600)), description="ordinary")
    report = await harness.cycle()
    harness.ledger.close()

    assert report.left_by_cause == {LeaveCause.NO_RULE: 600}
