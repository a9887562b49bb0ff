"""Tests of the ledger's notifications: what was sent is never sent again."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.ledger import Ledger
from triaged.ledger.notifications import COUNTER, NotificationOutcome
from triaged.ledger.views import open_views

DAY = timedelta(days=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path) as opened:
        yield opened


def test_an_intent_without_outcome_is_never_repeated(ledger: Ledger) -> None:
    """A crash while sending leaves it in the dark whether the message arrived."""
    first = ledger.notifications.begin(["digest 2026-03-01"], at=T0)
    again = ledger.notifications.begin(["digest 2026-03-01"], at=T0 + DAY)

    assert (first, again) == (True, False)
    stored = ledger.notifications.get("digest 2026-03-01")
    assert stored is not None
    assert (stored.attempts, stored.outcome, stored.created_at) == (1, None, T0)


@pytest.mark.parametrize("outcome", NotificationOutcome)
def test_only_what_failed_may_be_tried_again(
    ledger: Ledger, outcome: NotificationOutcome
) -> None:
    """Sent, quiet and unknown are final; the attempts are counted."""
    ledger.notifications.begin(["a"], at=T0)
    ledger.notifications.settle(["a"], outcome, at=T0)
    again = ledger.notifications.begin(["a"], at=T0 + DAY)
    stored = ledger.notifications.get("a")

    failed = outcome in {NotificationOutcome.FAILED, NotificationOutcome.PARTIAL}
    assert again is failed
    assert stored is not None
    assert stored.attempts == 1 + failed
    assert stored.outcome == (None if failed else outcome)


def test_a_message_of_several_events_is_begun_as_a_whole(ledger: Ledger) -> None:
    """If one of them was sent already, none is begun, and nothing is counted."""
    ledger.notifications.begin(["a"], at=T0)
    begun = ledger.notifications.begin(["b", "a", "c"], at=T0)

    assert begun is False
    assert ledger.notifications.get("b") is None
    assert ledger.counters.values(COUNTER) == {}


def test_attempts_are_counted_by_result(ledger: Ledger, tmp_path: Path) -> None:
    """One message counts once, however many events it tells; metrics read that."""
    ledger.notifications.begin(["a", "b"], at=T0)
    ledger.notifications.settle(["a", "b"], NotificationOutcome.FAILED, at=T0)
    ledger.notifications.begin(["a", "b"], at=T0)
    ledger.notifications.settle(["a", "b"], NotificationOutcome.SENT, at=T0)
    with open_views(tmp_path, "default") as views:
        counted = views.totals().notifications

    assert counted == {"failed": 1, "sent": 1}


def test_the_latest_digest_is_found_among_others(ledger: Ledger) -> None:
    """By prefix and outcome, whatever else was sent since."""
    store = ledger.notifications
    store.begin(["digest 2026-03-01"], at=T0)
    store.settle(["digest 2026-03-01"], NotificationOutcome.SENT, at=T0)
    store.record_quiet("digest 2026-03-02", at=T0 + DAY)
    store.begin(["key 1"], at=T0 + 2 * DAY)
    latest = store.latest("digest ")
    sent = store.latest("digest ", [NotificationOutcome.SENT])

    assert latest is not None
    assert sent is not None
    assert (latest.name, sent.name) == ("digest 2026-03-02", "digest 2026-03-01")
    assert store.latest("promoted ") is None


def test_a_quiet_day_replaces_nothing(ledger: Ledger) -> None:
    """A digest that was begun stays as it is."""
    ledger.notifications.begin(["digest 2026-03-01"], at=T0)
    ledger.notifications.record_quiet("digest 2026-03-01", at=T0)
    stored = ledger.notifications.get("digest 2026-03-01")

    assert stored is not None
    assert stored.outcome is None


def test_rows_are_kept_for_longer_than_other_data(ledger: Ledger) -> None:
    """Otherwise the shortest retention would permit the same digest twice."""
    ledger.notifications.begin(["old"], at=T0 - 31 * DAY)
    ledger.notifications.begin(["new"], at=T0 - 29 * DAY)

    assert ledger.prune(before=T0) == 1
    assert ledger.notifications.get("new") is not None


def test_workspaces_do_not_share_notifications(tmp_path: Path) -> None:
    """What was sent for one says nothing about another."""
    with Ledger.open(tmp_path, workspace="one") as one:
        one.notifications.begin(["a"], at=T0)
    with Ledger.open(tmp_path, workspace="two") as two:
        assert two.notifications.get("a") is None
        assert two.notifications.begin(["a"], at=T0)


@given(st.lists(st.sampled_from([*NotificationOutcome, "crash"]), max_size=8))
def test_at_most_one_attempt_may_have_arrived(
    tmp_path_factory: pytest.TempPathFactory, ends: list[str]
) -> None:
    """However attempts end, none follows one that may have reached everybody."""
    arrived = 0
    with Ledger.open(tmp_path_factory.mktemp("ledger")) as ledger:
        for end in ends:
            if not ledger.notifications.begin(["a"], at=T0):
                continue
            assert arrived == 0
            if end == "crash":
                arrived += 1
                continue
            outcome = NotificationOutcome(end)
            ledger.notifications.settle(["a"], outcome, at=T0)
            arrived += outcome not in {
                NotificationOutcome.FAILED,
                NotificationOutcome.PARTIAL,
            }

    assert arrived <= 1
