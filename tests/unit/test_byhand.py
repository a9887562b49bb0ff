"""What a person may dismiss by hand, and what keeps them from it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from tests.builders import T0, a_task
from tests.house import House
from triaged.ledger.dismissals import Intent, Outcome, Source
from triaged.rules.task import Cause, Task
from triaged.triage.manual import Sifted, Wish, sift
from triaged.workspace import Workspace

RULES = """
version: 1
safety: {max_dismissals_per_day: 2}
protect: [{description: board}]
rules: [{name: x, match: {type: campaign_start}, leave: true}]
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.rules(RULES)
    yield house
    house.ledger.close()


def sifted(house: House, *tasks: Task, now: datetime = T0) -> Sifted:
    wishes = [Wish(task, "bulk_cleanup") for task in tasks]
    workspace = cast("Workspace", house)  # it looks at nothing but the ledger
    return sift(workspace, house.ready.ruleset, wishes, tasks, now=now)


def causes(found: Sifted) -> list[tuple[str | None, Cause]]:
    return [(wish.task.id, cause) for wish, cause in found.denied]


def test_what_is_kept_from_a_person(house: House) -> None:
    """Protection, vetoes and what has no id hold against a person's hand as well."""
    house.ledger.marks.veto("kept", at=T0)
    found = sifted(
        house,
        a_task(id="ok"),
        a_task(id="paper", description="board paper"),
        a_task(id="kept"),
        a_task(id=None),
        a_task(id="gone", status="approved"),
    )

    assert [wish.task.id for wish in found.granted] == ["ok"]
    assert causes(found) == [
        ("paper", Cause.PROTECTED),
        ("kept", Cause.VETOED),
        (None, Cause.MALFORMED),
        ("gone", Cause.NOT_PENDING),
    ]


def test_the_day_has_an_end(house: House) -> None:
    """The cap of the day counts what was dismissed before, and the wishes in order."""
    intent = Intent(
        task=a_task(id="before"),
        rule=None,
        reason="testing",
        source=Source.HAND,
        cycle="c",
        decided_at=T0,
        rules_sha256="0",
        trace="{}",
    )
    (entry,) = house.ledger.dismissals.intend([intent])
    house.ledger.dismissals.settle(entry, Outcome.CONFIRMED, at=T0)
    today = sifted(house, a_task(id="a"), a_task(id="b"), a_task(id="before"))
    later = T0 + timedelta(days=1)
    tomorrow = sifted(house, a_task(id="a"), a_task(id="b"), now=later)

    assert [wish.task.id for wish in today.granted] == ["a"]
    assert causes(today) == [("b", Cause.OVER_CAP), ("before", Cause.NOT_PENDING)]
    assert len(tomorrow.granted) == 2


def test_an_id_that_is_listed_twice_is_dismissed_once(house: House) -> None:
    """Nobody knows which of two tasks with one id is meant, so one call is enough."""
    found = sifted(house, a_task(id="a"), a_task(id="a", description="other"))

    assert len(found.granted) == 1
    assert causes(found) == [("a", Cause.MALFORMED)]
