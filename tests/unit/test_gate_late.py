"""Tests of the gate: an earlier try carried out after the list that missed it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House
from triaged.leadlex.errors import LexiError, NotPending, RateLimited, Unanswered
from triaged.ledger.dismissals import Outcome

NOT_PENDING = NotPending("dismiss", status=400)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.lexi.add("a")
    yield house
    house.ledger.close()


def settle_late(house: House, status: str) -> None:
    """Let the task change after it was listed and before it is tried again."""
    house.lexi.tasks["a"]["status"] = status


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "outcome"),
    [("dismissed", Outcome.CONFIRMED), ("approved", Outcome.ALREADY_HANDLED)],
)
async def test_the_next_list_tells_whose_it_was(
    house: House, status: str, outcome: Outcome
) -> None:
    """Not pending any more at a second try is ours if the first was carried out."""
    house.lexi.errors = [Unanswered("dismiss"), NOT_PENDING]
    await house.cycle()
    house.clock.advance(60)
    house.lexi.before = lambda: settle_late(house, status)
    await house.cycle()
    between = house.outcomes()
    await house.cycle()

    assert set(between) == {("a", Outcome.FAILED), ("a", Outcome.UNKNOWN)}
    assert set(house.outcomes()) == {("a", Outcome.FAILED), ("a", outcome)}
    confirmed = house.ledger.marks.totals("dismissals").get(("clutter", "testing"), 0)
    assert confirmed == (outcome is Outcome.CONFIRMED)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "errors", [[NOT_PENDING], [RateLimited("dismiss"), NOT_PENDING]]
)
async def test_what_was_surely_not_done_is_not_asked_for(
    house: House, errors: list[LexiError]
) -> None:
    """A task that nobody may have dismissed for us costs no list of the dismissed."""
    house.lexi.errors = errors
    await house.cycle()
    await house.cycle()

    assert ("a", Outcome.ALREADY_HANDLED) in house.outcomes()
    assert "list dismissed" not in house.lexi.calls
