"""Tests of what an error means for a dismissal, and of the totals it adds to."""

from collections.abc import Iterator

import pytest

from tests.builders import a_task
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
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome
from triaged.ledger.location import LedgerLocation
from triaged.triage.requests import (
    Attempt,
    DismissRequest,
    DispatchResult,
    outcome_of,
    record_attempt,
)


@pytest.fixture
def ledger(place: LedgerLocation) -> Iterator[Ledger]:
    with Ledger.open(place) as ledger:
        yield ledger


def an_attempt(outcome: Outcome) -> Attempt:
    """Return an attempt that ended so."""
    order = DismissRequest(
        task=a_task(), rule="clutter", reason="testing", rules_sha256="", trace="{}"
    )
    return Attempt(request=order, outcome=outcome)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotPending, Outcome.ALREADY_HANDLED),
        (TaskNotFound, Outcome.GONE),
        (RequestRejected, Outcome.REJECTED),
        (NoResponse, Outcome.UNKNOWN),
        (MalformedResponse, Outcome.UNKNOWN),
    ],
)
def test_an_answer_settles_the_dismissal(
    error: type[LexiError], outcome: Outcome
) -> None:
    """What the server said, or failed to say, has one meaning for the dismissal."""
    assert outcome_of(error("dismiss")) is outcome


@pytest.mark.parametrize("error", [Unreachable, RateLimited, KeyRejected, LexiError])
def test_what_was_never_carried_out_has_failed(error: type[LexiError]) -> None:
    """Where the server certainly did nothing, the task may simply be tried again."""
    assert outcome_of(error("dismiss")) is Outcome.FAILED


def test_attempts_are_counted_by_outcome() -> None:
    """Only the attempts that ended in just this outcome count."""
    ended = [Outcome.CONFIRMED, Outcome.UNKNOWN, Outcome.CONFIRMED, Outcome.FAILED]
    dispatched = DispatchResult(
        attempts=tuple(map(an_attempt, ended)), remaining=0, halt=None
    )

    counted = {outcome: dispatched.count_outcome(outcome) for outcome in Outcome}

    assert {outcome: n for outcome, n in counted.items() if n} == {
        Outcome.CONFIRMED: 2,
        Outcome.UNKNOWN: 1,
        Outcome.FAILED: 1,
    }


def test_a_confirmed_dismissal_counts_as_attempt_and_as_dismissal(
    ledger: Ledger,
) -> None:
    """The attempts count by outcome, the dismissals by rule and reason."""
    record_attempt(ledger, "clutter", "testing", Outcome.CONFIRMED)
    record_attempt(ledger, "clutter", "testing", Outcome.CONFIRMED)
    record_attempt(ledger, "old", "not_relevant", Outcome.CONFIRMED)

    assert ledger.counters.values("attempts") == {("confirmed", ""): 3}
    assert ledger.counters.values("dismissals") == {
        ("clutter", "testing"): 2,
        ("old", "not_relevant"): 1,
    }


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.CONFIRMED])
def test_an_attempt_that_was_not_confirmed_is_no_dismissal(
    ledger: Ledger, outcome: Outcome
) -> None:
    """Whatever is not confirmed adds to the attempts alone."""
    record_attempt(ledger, "clutter", "testing", outcome)

    assert ledger.counters.values("attempts") == {(outcome, ""): 1}
    assert ledger.counters.values("dismissals") == {}


def test_a_dismissal_by_hand_belongs_to_no_rule(ledger: Ledger) -> None:
    """What a person dismisses is an attempt, and no rule's dismissal."""
    record_attempt(ledger, None, "testing", Outcome.CONFIRMED)

    assert ledger.counters.values("attempts") == {("confirmed", ""): 1}
    assert ledger.counters.values("dismissals") == {}
