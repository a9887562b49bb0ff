"""What a person may dismiss by hand, and what keeps them from it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.builders import T0, a_task
from tests.fakes import TriageHarness
from triaged.ledger.dismissals import Intent, Outcome, Source
from triaged.ledger.location import LedgerLocation
from triaged.rules.task import LeaveCause, Task
from triaged.triage.manual import ManualDismissal, ManualScreening, screen_manual

RULES = """
version: 1
safety: {max_dismissals_per_day: 2}
protect: [{description: board}]
rules: [{name: x, match: {type: campaign_start}, leave: true}]
"""


@pytest.fixture
def harness(place: LedgerLocation) -> Iterator[TriageHarness]:
    harness = TriageHarness(place)
    harness.rules(RULES)
    yield harness
    harness.ledger.close()


def sifted(
    harness: TriageHarness,
    *tasks: Task,
    now: datetime = T0,
    clock_skew: timedelta = timedelta(0),
) -> ManualScreening:
    wishes = [ManualDismissal(task, "bulk_cleanup") for task in tasks]
    return screen_manual(
        harness.ledger,
        harness.ready.ruleset,
        wishes,
        tasks,
        now=now,
        clock_skew=clock_skew,
    )


def causes(found: ManualScreening) -> list[tuple[str | None, LeaveCause]]:
    return [(wish.task.id, cause) for wish, cause in found.refused]


def test_what_is_kept_from_a_person(harness: TriageHarness) -> None:
    """Protection, vetoes and what has no id hold against a person's hand as well."""
    harness.ledger.vetoes.add("kept", at=T0)
    found = sifted(
        harness,
        a_task(id="ok"),
        a_task(id="paper", description="board paper"),
        a_task(id="kept"),
        a_task(id=None),
        a_task(id="gone", status="approved"),
    )

    assert [wish.task.id for wish in found.accepted] == ["ok"]
    assert causes(found) == [
        ("paper", LeaveCause.PROTECTED),
        ("kept", LeaveCause.VETOED),
        (None, LeaveCause.MALFORMED),
        ("gone", LeaveCause.NOT_PENDING),
    ]


def dismissed(harness: TriageHarness, task_id: str, at: datetime) -> None:
    """Record that a person dismissed a task."""
    intent = Intent(
        task=a_task(id=task_id),
        rule=None,
        reason="testing",
        source=Source.HAND,
        cycle="c",
        decided_at=at,
        rules_sha256="0",
        trace="{}",
    )
    entry = harness.ledger.dismissals.record_intent(intent)
    harness.ledger.dismissals.record_outcome(entry, Outcome.CONFIRMED, at=at)


def test_the_day_has_an_end(harness: TriageHarness) -> None:
    """The cap of the day counts what was dismissed before, and the wishes in order."""
    dismissed(harness, "before", T0)
    today = sifted(harness, a_task(id="a"), a_task(id="b"), a_task(id="before"))
    later = T0 + timedelta(days=1)
    tomorrow = sifted(harness, a_task(id="a"), a_task(id="b"), now=later)

    assert [wish.task.id for wish in today.accepted] == ["a"]
    assert causes(today) == [
        ("b", LeaveCause.OVER_CAP),
        ("before", LeaveCause.NOT_PENDING),
    ]
    assert len(tomorrow.accepted) == 2


def test_the_day_is_the_servers(harness: TriageHarness) -> None:
    """A clock that is a little ahead begins no second day before the server does."""
    dismissed(harness, "before", T0 - timedelta(seconds=5))
    just_after = T0 + timedelta(seconds=5)
    behind = sifted(
        harness,
        a_task(id="a"),
        a_task(id="b"),
        now=just_after,
        clock_skew=timedelta(seconds=-90),
    )

    assert [wish.task.id for wish in behind.accepted] == ["a"]
    assert causes(behind) == [("b", LeaveCause.OVER_CAP)]


def test_an_id_that_is_listed_twice(harness: TriageHarness) -> None:
    """In two forms it is not clear which one is meant; in one form it is one task."""
    apart = sifted(harness, a_task(id="a"), a_task(id="a", description="board paper"))
    alike = sifted(harness, a_task(id="a"), a_task(id="a"))

    assert causes(apart) == [("a", LeaveCause.MALFORMED)] * 2
    assert len(alike.accepted) == 1
    assert causes(alike) == [("a", LeaveCause.MALFORMED)]
