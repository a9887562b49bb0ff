"""Cycle, guard, gate and ledger together, on fakes and a clock that leaps."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from tests.house import RULES, House
from triaged.leadlex.errors import (
    Garbled,
    KeyRefused,
    LexiError,
    NotPending,
    RateLimited,
    Rejected,
    TaskGone,
    Unanswered,
    Unreachable,
)
from triaged.leadlex.models import Listed
from triaged.ledger.dismissals import Outcome, Search
from triaged.ledger.flags import MarkName
from triaged.quota import QuotaSettings, ServerWord
from triaged.rules.task import Cause
from triaged.triage import dispatcher as gate
from triaged.triage.rate_limiter import Meter
from triaged.triage.report import Result
from triaged.triage.requests import Halt

HELD = RULES.replace("  - name: clutter\n", "  - name: clutter\n    hold: 24h\n")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.ledger.close()


@pytest.mark.anyio
async def test_a_cycle_dismisses_and_counts(house: House) -> None:
    """What is due is dismissed once, the rest left, and both are counted."""
    house.lexi.add("a", "b")
    house.lexi.add("c", description="ordinary")
    report = await house.cycle()

    assert report.result is Result.OK
    assert sorted(house.lexi.dismissed) == ["a", "b"]
    assert report.left == {Cause.NO_RULE: 1}
    assert report.matched == {"clutter", "watch"}
    assert house.ledger.marks.totals("dismissals") == {("clutter", "testing"): 2}
    assert house.ledger.marks.totals("observed") == {("watch", "testing"): 2}
    again = await house.cycle()
    assert again.attempts == ()
    assert house.ledger.marks.totals("observed") == {("watch", "testing"): 2}


@pytest.mark.anyio
async def test_a_dry_run_only_observes(house: House) -> None:
    """A dry run counts what it would have dismissed, each task once."""
    house.lexi.add("a")
    await house.cycle(dry_run=True)
    await house.cycle(dry_run=True)

    assert house.lexi.dismissed == []
    assert house.ledger.marks.totals("observed") == {
        ("watch", "testing"): 1,
        ("clutter", "testing"): 1,
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "first", "then"),
    [
        (Unanswered("dismiss", status=500), Outcome.UNKNOWN, "tried again"),
        (Garbled("dismiss", status=200), Outcome.UNKNOWN, "tried again"),
        (NotPending("dismiss", status=400), Outcome.ALREADY_HANDLED, "left"),
        (TaskGone("dismiss", status=404), Outcome.GONE, "left"),
        (Rejected("dismiss", status=422), Outcome.REJECTED, "left"),
        (Unreachable("dismiss"), Outcome.FAILED, "tried again"),
        (KeyRefused("dismiss", status=401), Outcome.FAILED, "tried again"),
    ],
)
async def test_each_error_has_its_outcome(
    house: House, error: LexiError, first: Outcome, then: str
) -> None:
    """An error says what became of the dismissal, and whether it is tried again."""
    house.lexi.add("a")
    house.lexi.errors = [error]
    await house.cycle()

    assert house.outcomes() == [("a", first)]
    await house.cycle()
    assert (house.lexi.dismissed == ["a"]) is (then == "tried again")


@pytest.mark.anyio
async def test_a_rejected_task_is_tried_again_after_a_day(house: House) -> None:
    """A refusal of its own kind is not repeated at each poll, but not for ever."""
    house.lexi.add("a")
    house.lexi.errors = [Rejected("dismiss", status=422)]
    await house.cycle()
    held = await house.cycle()
    house.clock.advance(86_401)
    await house.cycle()

    assert held.left == {Cause.HELD: 1}
    assert house.lexi.dismissed == ["a"]


@pytest.mark.anyio
async def test_an_unknown_outcome_is_settled_by_one_list(house: House) -> None:
    """However many are unknown and gone, one list of the dismissed tells of all."""
    house.lexi.add("a", "b")
    house.lexi.effect_first = True
    house.lexi.errors = [Unanswered("dismiss"), Unanswered("dismiss")]
    await house.cycle()
    house.lexi.tasks["b"]["status"] = "approved"
    house.lexi.calls.clear()
    report = await house.cycle()

    assert house.lexi.calls == ["list pending", "list dismissed"]
    assert house.outcomes() == [("a", "confirmed"), ("b", "already_handled")]
    assert len(report.settled) == 2
    assert house.ledger.marks.totals("dismissals") == {("clutter", "testing"): 1}


@pytest.mark.anyio
async def test_an_outcome_that_cannot_be_settled_stays_unknown(house: House) -> None:
    """A failed list of the dismissed costs the settling, not the cycle."""
    house.lexi.add("a")
    house.lexi.effect_first = True
    house.lexi.errors = [Unanswered("dismiss")]
    await house.cycle()
    house.lexi.add("b")
    house.lexi.list_errors = []
    listed = house.lexi.list_tasks

    async def flaky(status: str = "pending") -> Listed:
        if status == "dismissed":
            raise Unanswered("list", status=500)
        return await listed(status)

    house.lexi.list_tasks = flaky  # type: ignore[method-assign]
    report = await house.cycle()

    assert report.result is Result.INCOMPLETE
    assert house.outcomes() == [("a", "unknown"), ("b", "confirmed")]


@pytest.mark.anyio
async def test_a_server_in_trouble_is_left_alone(house: House) -> None:
    """After three unknown outcomes in a row nothing more leaves."""
    house.lexi.add(*(f"t{number:02}" for number in range(25)))
    house.lexi.errors = [Unanswered("dismiss", status=503) for _ in range(25)]
    report = await house.cycle()

    assert report.halt is Halt.FAULTS
    assert len(report.attempts) <= 16
    assert report.backlog >= 9


@pytest.mark.anyio
async def test_a_refused_call_keeps_its_place(house: House) -> None:
    """A 429 closes the gate for a while; the task is dismissed after, once."""
    house.lexi.add("a")
    house.lexi.errors = [RateLimited("dismiss", status=429)]
    started = house.clock.now()
    report = await house.cycle()

    assert report.result is Result.OK
    assert house.outcomes() == [("a", "confirmed"), ("a", "failed")]
    assert house.clock.now() > started


@pytest.mark.anyio
async def test_a_refusal_calls_back_what_has_not_left(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 429 nothing that was cleared leaves before the gate opens again."""
    monkeypatch.setattr(gate, "WIDTH", 2)
    house.lexi.add(*(f"t{number:02}" for number in range(20)))
    house.lexi.errors = [RateLimited("dismiss", status=429)]
    times: list[float] = []
    house.lexi.before = lambda: times.append(house.clock.monotonic())
    report = await house.cycle()

    assert report.result is Result.OK
    assert len(house.lexi.dismissed) == 20
    # Two had left; the others, cleared along with them, waited.
    assert times.count(times[0]) == 2


@pytest.mark.anyio
async def test_a_pause_in_mid_cycle_stops_what_has_not_left(house: House) -> None:
    """What is in flight lands; everything else waits for the resume."""
    house.rules(RULES.replace("max_share", "max_dismissals_per_cycle: 60, max_share"))
    house.lexi.add(*(f"t{number:02}" for number in range(50)))

    def pause() -> None:
        if house.ledger.marks.get(MarkName.PAUSED) is None:
            house.ledger.marks.put(MarkName.PAUSED, note="", at=house.clock.now())

    house.lexi.before = pause
    report = await house.cycle()

    assert report.halt is Halt.PAUSED
    assert 0 < len(house.lexi.dismissed) <= 16
    assert report.backlog == 50 - len(house.lexi.dismissed)


@pytest.mark.anyio
async def test_stop_lands_what_flies_and_takes_back_the_rest(house: House) -> None:
    """After a stop no call leaves, and no intent stays open."""
    house.lexi.add(*(f"t{number:02}" for number in range(25)))
    house.lexi.before = house.stop.set
    report = await house.cycle()

    assert report.halt is Halt.STOPPING
    assert 0 < len(house.lexi.dismissed) <= 8
    assert house.ledger.dismissals.open() == []


@pytest.mark.anyio
async def test_the_day_s_end_leaves_the_rest(house: House) -> None:
    """When the day's share is gone the cycle ends incomplete and says so."""
    house.lexi.word = ServerWord(limit=100, remaining=23)
    house.lexi.add(*(f"t{number:02}" for number in range(9)))

    def spend() -> None:
        left = house.lexi.word.remaining or 0
        house.lexi.word = ServerWord(limit=100, remaining=left - 1)

    house.lexi.before = spend
    house.meter = Meter(
        QuotaSettings(minute_limit=50, daily_limit=100), house.ledger, house.clock
    )
    report = await house.cycle()

    assert report.halt is Halt.QUOTA
    assert report.result is Result.INCOMPLETE
    assert 0 < len(house.lexi.dismissed) <= 3


@pytest.mark.anyio
async def test_a_hold_waits_and_starts_anew(house: House) -> None:
    """A rule with a hold acts after it has held that long on the same text."""
    house.rules(HELD)
    house.lexi.add("a", "b")
    first = await house.cycle()
    house.clock.advance(86_000)
    house.lexi.tasks["b"]["description"] = "[TEST] other"
    await house.cycle()
    house.clock.advance(500)
    await house.cycle()

    assert first.left == {Cause.HELD: 2}
    assert house.lexi.dismissed == ["a"]
    house.lexi.tasks["b"]["description"] = "ordinary"
    await house.cycle()
    house.lexi.tasks["b"]["description"] = "[TEST] other"
    house.clock.advance(86_400)
    last = await house.cycle()
    assert last.left == {Cause.HELD: 1}


@pytest.mark.anyio
async def test_a_wrong_clock_opens_the_breaker(house: House) -> None:
    """With the clocks minutes apart no age can be trusted, so nothing is dismissed."""
    house.lexi.add("a")
    house.lexi.word = ServerWord(date=T0 + timedelta(minutes=5))
    report = await house.cycle()

    assert report.left == {Cause.BREAKER: 1}
    assert report.breaker is not None
    assert house.ledger.marks.get(MarkName.BREAKER) is not None
    house.lexi.word = ServerWord(date=house.clock.now())
    await house.cycle()
    assert house.lexi.dismissed == ["a"]
    assert house.ledger.marks.get(MarkName.BREAKER) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Unreachable("list"), Result.FAILED),
        (Garbled("list", status=200), Result.FAILED),
        (KeyRefused("list", status=401), Result.FAILED),
        (RateLimited("list", status=429), Result.INCOMPLETE),
    ],
)
async def test_without_a_list_nothing_is_done(
    house: House, error: LexiError, result: Result
) -> None:
    """A list that does not come costs the cycle, and is told in its report."""
    house.lexi.add("a")
    house.lexi.list_errors = [error]
    report = await house.cycle()

    assert (report.result, report.listed, report.error) == (result, False, error)
    assert house.lexi.dismissed == []


@pytest.mark.anyio
async def test_a_decision_is_explained_by_what_was_stored(house: House) -> None:
    """Each dismissal keeps task, rules and trace; each leave keeps what it needs."""
    house.lexi.add("a")
    house.lexi.add("b", description="ordinary")
    await house.cycle()
    entry = house.ledger.dismissals.find(Search(task_id="a"))[0]
    left = house.ledger.judgements.last("b")

    assert entry.trace["decision"]["rule"] == "clutter"
    assert [rule["rule"] for rule in entry.trace["rules"]] == ["watch", "clutter"]
    assert left is not None
    assert left.cause is Cause.NO_RULE
    assert house.ledger.judgements.rules_text(left.rules_sha256) == RULES
