"""Tests of an earlier attempt that takes effect after the list that missed it."""

from collections.abc import Iterator

import pytest

from tests.fakes import TriageHarness
from triaged.leadlex.errors import LexiError, NoResponse, NotPending, RateLimited
from triaged.ledger.dismissals import Outcome
from triaged.ledger.location import LedgerLocation
from triaged.triage.reconcile import EFFECT_TIMEOUT

NOT_PENDING = NotPending("dismiss", status=400)


@pytest.fixture
def harness(place: LedgerLocation) -> Iterator[TriageHarness]:
    harness = TriageHarness(place)
    harness.leadlex.add("a")
    yield harness
    harness.ledger.close()


def settle_late(harness: TriageHarness, status: str) -> None:
    """Let the task change after it was listed and before it is tried again."""
    harness.leadlex.tasks["a"]["status"] = status


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "outcome"),
    [("dismissed", Outcome.CONFIRMED), ("approved", Outcome.ALREADY_HANDLED)],
)
async def test_the_next_list_tells_whose_it_was(
    harness: TriageHarness, status: str, outcome: Outcome
) -> None:
    """A second attempt at a task that is gone from the list waits for the next one."""
    harness.leadlex.errors = [NoResponse("dismiss"), NOT_PENDING]
    await harness.cycle()
    harness.clock.advance(EFFECT_TIMEOUT.total_seconds())
    harness.leadlex.before_dismiss = lambda: settle_late(harness, status)
    await harness.cycle()
    between = harness.outcomes()
    await harness.cycle()

    assert set(between) == {("a", Outcome.FAILED), ("a", Outcome.UNKNOWN)}
    assert set(harness.outcomes()) == {("a", Outcome.FAILED), ("a", outcome)}
    confirmed = harness.ledger.counters.values("dismissals").get(
        ("clutter", "testing"), 0
    )
    assert confirmed == (outcome is Outcome.CONFIRMED)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "errors", [[NOT_PENDING], [RateLimited("dismiss"), NOT_PENDING]]
)
async def test_what_was_surely_not_done_is_not_asked_for(
    harness: TriageHarness, errors: list[LexiError]
) -> None:
    """An attempt after one that surely did nothing costs no list of the dismissed."""
    harness.leadlex.errors = list(errors)
    await harness.cycle()
    await harness.cycle()

    assert ("a", Outcome.ALREADY_HANDLED) in harness.outcomes()
    assert "list dismissed" not in harness.leadlex.calls
