"""Other clients of the same key: a limit that falls, and rises again."""

from collections.abc import Callable

import pytest

from tests.quota_servers import (
    WINDOW,
    Api,
    FixedWindow,
    Limiter,
    SlidingLog,
    TokenBucket,
)
from tests.unit.quota.builders import (
    MIDNIGHT,
    NOON,
    STARTER,
    Caller,
    call,
    some_headers,
)
from triaged.quota import QuotaLimiter, QuotaSettings

LIMIT = 50
KNOWN = QuotaSettings(minute_limit=LIMIT, daily_limit=1_000_000, reserve=0.0)


def a_caller(server: Limiter, *, others: int = 0) -> Caller:
    api = Api(server, day_limit=1_000_000, headers=False)
    return Caller(QuotaLimiter(KNOWN), api, others=others)


@pytest.mark.parametrize("kind", [FixedWindow, SlidingLog, TokenBucket])
def test_what_is_left_is_used(kind: Callable[[int], Limiter]) -> None:
    """Beside a client that takes 30 %, nearly all of the other 70 % are used."""
    caller = a_caller(kind(LIMIT), others=15)
    caller.run(until=NOON + 20 * WINDOW)
    made, refused = caller.made, caller.refused
    caller.run(until=NOON + 80 * WINDOW)

    assert caller.made - made >= 0.85 * 35 * 60
    assert caller.refused - refused <= 0.01 * (caller.made - made)


def test_limit_recovers() -> None:
    """When the other client has stopped, the plan's limit is used again."""
    caller = a_caller(SlidingLog(LIMIT), others=40)
    caller.run(until=NOON + 20 * WINDOW)
    assert caller.limiter.snapshot(caller.now).minute_limit <= 30
    caller.others = 0
    caller.run(until=NOON + 140 * WINDOW)

    assert caller.limiter.snapshot(caller.now).minute_limit == LIMIT


def test_few_calls_are_refused() -> None:
    """At a limit that stays lower than the plan's, one call in a hundred is refused."""
    caller = a_caller(SlidingLog(35))
    caller.run(until=NOON + 240 * WINDOW)

    assert caller.refused <= 0.01 * caller.made
    assert caller.made >= 0.9 * 35 * 240


def test_calls_of_others_are_shown() -> None:
    """The headers tell how many of the day's calls other clients have made."""
    limiter = QuotaLimiter(STARTER)
    call(limiter, NOON, some_headers(22, limit=100, reset=MIDNIGHT))

    snapshot = limiter.snapshot(NOON)
    assert (snapshot.remaining, snapshot.used_by_others) == (22, 77)
