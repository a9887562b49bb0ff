"""What people did with observed tasks: asked seldom, learned once, counted once."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.fakes import TriageHarness
from triaged.leadlex.errors import MalformedResponse, NoResponse
from triaged.ledger.feedback import MAX_LOOKUPS
from triaged.ledger.location import LedgerLocation
from triaged.rules.task import HumanDecision
from triaged.triage.feedback import REFRESH_INTERVAL, FeedbackCollector
from triaged.triage.report import CycleResult, FalsePositiveLog

OBSERVING = r"""
version: 1
safety: {max_share_of_pending: 1.0}
rules:
  - name: watch
    mode: observe
    match: {description: '^\[TEST\]'}
    dismiss: testing
"""
LISTS = ["dismissed", "approved", "completed", "failed"]


@pytest.fixture
def harness(place: LedgerLocation) -> Iterator[TriageHarness]:
    harness = TriageHarness(place)
    harness.rules(OBSERVING)
    yield harness
    harness.ledger.close()


def asked(harness: TriageHarness) -> list[str]:
    """Return which settled statuses were listed so far."""
    calls = [call.partition(" ") for call in harness.leadlex.calls]
    return [what for call, _, what in calls if call == "list" and what != "pending"]


def words(harness: TriageHarness) -> dict[str, HumanDecision | None]:
    return {
        seen.task_id: seen.human_decision
        for seen in harness.ledger.feedback.observations()
    }


async def a_day_later(harness: TriageHarness) -> None:
    harness.clock.advance(REFRESH_INTERVAL.total_seconds() + 1)
    await harness.cycle()


@pytest.mark.anyio
async def test_a_vanished_task_is_asked_for_a_day_later(harness: TriageHarness) -> None:
    """What people did is learned list by list, until nothing is open."""
    harness.leadlex.add("kept", "gone", "waits")
    await harness.cycle()
    harness.leadlex.tasks["kept"]["status"] = "approved"
    harness.leadlex.tasks["gone"]["status"] = "dismissed"
    await harness.cycle()
    early = asked(harness)
    await a_day_later(harness)

    assert early == []
    assert asked(harness) == ["dismissed", "approved"]
    assert words(harness) == {
        "kept": HumanDecision.APPROVED,
        "gone": HumanDecision.DISMISSED,
        "waits": None,
    }
    assert harness.ledger.feedback.false_positives() == {("watch", "kept")}


@pytest.mark.anyio
async def test_nothing_is_asked_while_all_is_pending_or_known(
    harness: TriageHarness,
) -> None:
    """No call is spent on tasks that wait, nor twice on one that was found."""
    harness.leadlex.add("kept", "waits")
    await harness.cycle()
    await a_day_later(harness)
    before = asked(harness)
    harness.leadlex.tasks["kept"]["status"] = "completed"
    for _ in range(3):
        await a_day_later(harness)

    assert before == []
    assert asked(harness) == ["dismissed", "approved", "completed"]


@pytest.mark.anyio
async def test_a_task_in_no_list_is_given_up(harness: TriageHarness) -> None:
    """After so many questions a task that no list has costs nothing any more."""
    harness.leadlex.add("lost")
    await harness.cycle()
    del harness.leadlex.tasks["lost"]
    for _ in range(MAX_LOOKUPS + 2):
        await a_day_later(harness)

    assert asked(harness) == LISTS * MAX_LOOKUPS
    assert words(harness) == {"lost": None}


@pytest.mark.anyio
async def test_a_failed_question_costs_no_cycle(harness: TriageHarness) -> None:
    """Without an answer the cycle is as good as before, and it asks the next day."""
    harness.leadlex.add("kept")
    await harness.cycle()
    harness.leadlex.tasks["kept"]["status"] = "approved"
    harness.clock.advance(REFRESH_INTERVAL.total_seconds() + 1)

    async def answer(status: str) -> None:
        if status != "pending":
            raise NoResponse("list", status=503)

    harness.leadlex.before_list = answer
    with capture_logs() as logs:
        report = await harness.cycle()

    assert report.result is CycleResult.OK
    assert [log["event"] for log in logs] == ["feedback.refresh_failed"]
    harness.leadlex.before_list = None
    await harness.cycle()
    assert asked(harness) == ["dismissed"]
    await a_day_later(harness)
    assert words(harness) == {"kept": HumanDecision.APPROVED}


@pytest.mark.anyio
async def test_rows_in_doubt_tell_nothing(harness: TriageHarness) -> None:
    """From a list that may be wrong or out of date no decision of people is learned."""
    harness.leadlex.add("kept")
    await harness.cycle()
    harness.leadlex.tasks["kept"]["status"] = "approved"
    harness.leadlex.doubt = "a cache gave an earlier answer"
    collector = FeedbackCollector(
        harness.reader, harness.ledger, harness.rate_limiter, harness.clock
    )
    with pytest.raises(MalformedResponse, match="approved tasks may be wrong"):
        await collector.list_final("approved")

    assert words(harness) == {"kept": None}
    assert harness.ledger.feedback.false_positives() == frozenset()


@pytest.mark.anyio
async def test_a_small_quota_is_not_spent_on_questions(place: LedgerLocation) -> None:
    """Where four calls are more than a twentieth of the day, nobody is asked."""
    harness = TriageHarness(place, daily_limit=99)
    harness.rules(OBSERVING)
    harness.leadlex.add("kept")
    await harness.cycle()
    harness.leadlex.tasks["kept"]["status"] = "approved"
    await a_day_later(harness)

    assert asked(harness) == []
    harness.ledger.close()


@pytest.mark.anyio
async def test_what_a_rule_dismissed_is_no_persons_word(harness: TriageHarness) -> None:
    """Once enforced, a rule's own dismissals say nothing about people."""
    harness.leadlex.add("a")
    await harness.cycle()
    harness.rules(OBSERVING.replace("    mode: observe\n", ""))
    await harness.cycle()
    await a_day_later(harness)

    (seen,) = harness.ledger.feedback.observations()
    assert harness.leadlex.dismissed == ["a"]
    assert (seen.dismissed_by_triaged, seen.human_decision) == (True, None)
    assert asked(harness) == []


@pytest.mark.anyio
async def test_asking_by_hand_stops_when_all_is_known(harness: TriageHarness) -> None:
    """A person's question goes out at once, and no list more than it takes."""
    harness.leadlex.add("gone")
    await harness.cycle()
    harness.leadlex.tasks["gone"]["status"] = "dismissed"
    people = FeedbackCollector(
        harness.reader, harness.ledger, harness.rate_limiter, harness.clock
    )
    await people.refresh()
    await people.refresh()

    assert asked(harness) == ["dismissed"]
    assert words(harness) == {"gone": HumanDecision.DISMISSED}


@pytest.mark.anyio
async def test_each_contradiction_is_logged_once(harness: TriageHarness) -> None:
    """A task approved against a rule is an event, once, whoever found it."""
    log = FalsePositiveLog(harness.ledger.feedback)
    harness.leadlex.add("kept")
    await harness.cycle()
    harness.leadlex.tasks["kept"]["status"] = "failed"
    await a_day_later(harness)
    with capture_logs() as logs:
        log.log_new()
        log.log_new()

    assert [(e["event"], e["rule"], e["task"]) for e in logs] == [
        ("rule.false_positive", "watch", "kept")
    ]


def test_words_are_forgotten_in_time(harness: TriageHarness) -> None:
    """What was learned before the retention is dropped, and nothing after it."""
    at = harness.clock.now()
    harness.ledger.feedback.record({"a": HumanDecision.APPROVED}, at=at)
    harness.ledger.feedback.record(
        {"b": HumanDecision.APPROVED}, at=at + timedelta(days=2)
    )

    assert harness.ledger.prune(before=at + timedelta(days=1)) == 1
