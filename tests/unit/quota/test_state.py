"""The state that is saved in the ledger and loaded by every process."""

import json
from typing import Any

import pytest

from tests.unit.quota.builders import (
    MIDNIGHT,
    NO_HEADERS,
    NOON,
    PRO,
    STARTER,
    call,
    fill,
    is_allowed,
    refuse,
    some_headers,
    spend,
    start,
)
from triaged.quota import QuotaLimiter, QuotaSettings

# What the release before this one wrote, with the parts that matter.
OLDER: dict[str, Any] = {
    "format": 2,
    "pace": {"ceiling": 10, "cap": 3, "settled": True},
    "day": {
        "given": 100,
        "began_at": NOON,
        "reset_at": MIDNIGHT,
        "said_limit": 100,
        "heard": 60,
        "spent": 37,
        "dismissed": 5,
        "before": 2.0,
    },
    "closing": {"until": NOON + 3_600},
}


def reloaded(limiter: QuotaLimiter, settings: QuotaSettings = STARTER) -> QuotaLimiter:
    """Return what another process loads."""
    return QuotaLimiter(settings, json.loads(json.dumps(limiter.to_dict())))


def test_restart_changes_nothing() -> None:
    """Calls, refusals and permits are the same after a restart."""
    limiter = QuotaLimiter(STARTER)
    now = spend(limiter, NOON, 4, some_headers(80, limit=100, reset=MIDNIGHT))
    permit = start(limiter, now)
    refuse(limiter, now + 1)
    again = reloaded(limiter)

    assert again.snapshot(now + 2) == limiter.snapshot(now + 2)
    assert again.to_dict() == limiter.to_dict()
    again.on_response(now + 2, permit, NO_HEADERS)
    assert again.snapshot(now + 2).used_today == 6


def test_fresh_state_is_loaded() -> None:
    """A limiter that was never used can be saved, too."""
    assert fill(reloaded(QuotaLimiter(STARTER)), NOON) == 10


def test_changed_minute_limit() -> None:
    """A measured limit is forgotten when the settings change; the calls are not."""
    limiter = QuotaLimiter(STARTER)
    fill(limiter, NOON)
    refuse(limiter, NOON + 61)
    again = reloaded(limiter, PRO)

    assert again.snapshot(NOON + 61).minute_limit == 50
    assert again.snapshot(NOON + 61).used_today == 11


def test_changed_daily_limit() -> None:
    """The daily limit is always that of the settings."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON)

    assert reloaded(limiter, PRO).snapshot(NOON).daily_limit == 1_000


def test_older_state_keeps_what_was_used() -> None:
    """Of an older version's state only today's calls are loaded."""
    snapshot = QuotaLimiter(STARTER, OLDER).snapshot(NOON + 60)

    assert (snapshot.used_today, snapshot.remaining) == (37, 63)
    assert (snapshot.minute_limit, snapshot.blocked_until) == (10, None)
    assert snapshot.reset_at == MIDNIGHT


def test_older_state_of_yesterday() -> None:
    """Yesterday's calls are not today's."""
    limiter = QuotaLimiter(STARTER, OLDER)

    assert limiter.snapshot(MIDNIGHT + 3_600).used_today == 0


@pytest.mark.parametrize(
    "state",
    [
        {"format": 2},
        {"format": 1, "day": None},
        {"spent": 3},
        {"format": 2, "day": {"spent": "many"}},
        {"format": 2, "day": {**OLDER["day"], "began_at": "noon"}},
    ],
)
def test_unreadable_state_is_ignored(state: dict[str, Any]) -> None:
    """What cannot be read is not guessed at."""
    limiter = QuotaLimiter(STARTER, state)

    assert limiter.snapshot(NOON).used_today == 0
    assert is_allowed(limiter, NOON)
