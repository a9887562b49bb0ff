"""A refusal that tells of the day before must not close the gate for this one."""

import pytest

from tests.bench.quota.servers import DAY, START
from tests.unit.test_quota_machine import STARTER, a_word, send
from triaged.quota import Purpose, Quota

MIDNIGHT = START + DAY


@pytest.mark.parametrize("reset", [None, MIDNIGHT])
def test_a_late_refusal_of_yesterday_does_not_cost_today(reset: float | None) -> None:
    """The call left before midnight, so what was used up is yesterday's share."""
    quota = Quota(STARTER)
    ticket = send(quota, MIDNIGHT - 1)
    word = a_word(limit=100, remaining=0, reset=reset)

    assert quota.refused(MIDNIGHT + 3, ticket, word) == "day"
    assert quota.admit(MIDNIGHT + 4, Purpose.DISMISS).tickets == ()
    assert quota.admit(MIDNIGHT + 64, Purpose.DISMISS).tickets
    assert quota.view(MIDNIGHT + 64).minute_limit == 10


def test_a_refusal_of_today_costs_today() -> None:
    """A call that left after midnight tells of the new day."""
    quota = Quota(STARTER)
    quota.view(MIDNIGHT + 3)
    word = a_word(limit=100, remaining=0, reset=MIDNIGHT + DAY)
    quota.refused(MIDNIGHT + 4, send(quota, MIDNIGHT + 3), word)

    assert quota.admit(MIDNIGHT + DAY - 1, Purpose.DISMISS).tickets == ()


def test_a_late_answer_of_yesterday_does_not_spend_today() -> None:
    """Without a reset, too: the call left before midnight, so its count is over."""
    quota = Quota(STARTER)
    ticket = send(quota, MIDNIGHT - 1)
    quota.answered(MIDNIGHT + 5, ticket, a_word(limit=100, remaining=3))

    assert quota.view(MIDNIGHT + 5).remaining == 99
