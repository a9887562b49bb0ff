"""What people did with observed tasks: asked seldom, learned once, counted once."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.house import House
from triaged.leadlex.errors import Unanswered
from triaged.ledger.feedback import MAX_ASKED
from triaged.rules.task import Word
from triaged.triage.feedback import ASK_EVERY, People
from triaged.triage.report import CounterexampleLog, Result

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
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.rules(OBSERVING)
    yield house
    house.ledger.close()


def asked(house: House) -> list[str]:
    """Return which settled statuses were listed so far."""
    calls = [call.partition(" ") for call in house.lexi.calls]
    return [what for call, _, what in calls if call == "list" and what != "pending"]


def words(house: House) -> dict[str, Word | None]:
    return {seen.task_id: seen.word for seen in house.ledger.words.observations()}


async def a_day_later(house: House) -> None:
    house.clock.advance(ASK_EVERY.total_seconds() + 1)
    await house.cycle()


@pytest.mark.anyio
async def test_a_vanished_task_is_asked_for_a_day_later(house: House) -> None:
    """What people did is learned list by list, until nothing is open."""
    house.lexi.add("kept", "gone", "waits")
    await house.cycle()
    house.lexi.tasks["kept"]["status"] = "approved"
    house.lexi.tasks["gone"]["status"] = "dismissed"
    await house.cycle()
    early = asked(house)
    await a_day_later(house)

    assert early == []
    assert asked(house) == ["dismissed", "approved"]
    assert words(house) == {
        "kept": Word.APPROVED,
        "gone": Word.DISMISSED,
        "waits": None,
    }
    assert house.ledger.marks.totals("counterexamples") == {("watch", "kept"): 1}


@pytest.mark.anyio
async def test_nothing_is_asked_while_all_is_pending_or_known(house: House) -> None:
    """No call is spent on tasks that wait, nor twice on one that was found."""
    house.lexi.add("kept", "waits")
    await house.cycle()
    await a_day_later(house)
    before = asked(house)
    house.lexi.tasks["kept"]["status"] = "completed"
    for _ in range(3):
        await a_day_later(house)

    assert before == []
    assert asked(house) == ["dismissed", "approved", "completed"]


@pytest.mark.anyio
async def test_a_task_in_no_list_is_given_up(house: House) -> None:
    """After so many questions a task that no list has costs nothing any more."""
    house.lexi.add("lost")
    await house.cycle()
    del house.lexi.tasks["lost"]
    for _ in range(MAX_ASKED + 2):
        await a_day_later(house)

    assert asked(house) == LISTS * MAX_ASKED
    assert words(house) == {"lost": None}


@pytest.mark.anyio
async def test_a_failed_question_costs_no_cycle(house: House) -> None:
    """Without an answer the cycle is as good as before, and it asks the next day."""
    house.lexi.add("kept")
    await house.cycle()
    house.lexi.tasks["kept"]["status"] = "approved"
    house.clock.advance(ASK_EVERY.total_seconds() + 1)

    async def answer(status: str) -> None:
        if status != "pending":
            raise Unanswered("list", status=503)

    house.lexi.on_list = answer
    with capture_logs() as logs:
        report = await house.cycle()

    assert report.result is Result.OK
    assert [log["event"] for log in logs] == ["people.unanswered"]
    house.lexi.on_list = None
    await house.cycle()
    assert asked(house) == ["dismissed"]
    await a_day_later(house)
    assert words(house) == {"kept": Word.APPROVED}


@pytest.mark.anyio
async def test_a_small_quota_is_not_spent_on_questions(tmp_path: Path) -> None:
    """Where four calls are more than a twentieth of the day, nobody is asked."""
    house = House(tmp_path, daily_limit=99)
    house.rules(OBSERVING)
    house.lexi.add("kept")
    await house.cycle()
    house.lexi.tasks["kept"]["status"] = "approved"
    await a_day_later(house)

    assert asked(house) == []
    house.ledger.close()


@pytest.mark.anyio
async def test_what_a_rule_dismissed_is_no_persons_word(house: House) -> None:
    """Once enforced, a rule's own dismissals say nothing about people."""
    house.lexi.add("a")
    await house.cycle()
    house.rules(OBSERVING.replace("    mode: observe\n", ""))
    await house.cycle()
    await a_day_later(house)

    (seen,) = house.ledger.words.observations()
    assert house.lexi.dismissed == ["a"]
    assert (seen.ours, seen.word) == (True, None)
    assert asked(house) == []


@pytest.mark.anyio
async def test_asking_by_hand_stops_when_all_is_known(house: House) -> None:
    """A person's question goes out at once, and no list more than it takes."""
    house.lexi.add("gone")
    await house.cycle()
    house.lexi.tasks["gone"]["status"] = "dismissed"
    people = People(house.reader, house.ledger, house.meter, house.clock)
    await people.ask()
    await people.ask()

    assert asked(house) == ["dismissed"]
    assert words(house) == {"gone": Word.DISMISSED}


@pytest.mark.anyio
async def test_each_contradiction_is_logged_once(house: House) -> None:
    """A task approved against a rule is an event, once, whoever found it."""
    log = CounterexampleLog(house.ledger.marks)
    house.lexi.add("kept")
    await house.cycle()
    house.lexi.tasks["kept"]["status"] = "failed"
    await a_day_later(house)
    with capture_logs() as logs:
        log.look(house.ledger.marks)
        log.look(house.ledger.marks)

    assert [(e["event"], e["rule"], e["task"]) for e in logs] == [
        ("rule.contradicted", "watch", "kept")
    ]


def test_words_are_forgotten_in_time(house: House) -> None:
    """What was learned before the retention is dropped, and nothing after it."""
    at = house.clock.now()
    house.ledger.words.learn({"a": Word.APPROVED}, at=at)
    house.ledger.words.learn({"b": Word.APPROVED}, at=at + timedelta(days=2))

    assert house.ledger.prune(before=at + timedelta(days=1)) == 1
