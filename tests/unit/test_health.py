"""Alive means that the loop runs and a poll is due; ready that the work gets done."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import T0
from triaged.daemon.health import Health
from triaged.leadlex.errors import Unreachable
from triaged.triage.report import CycleReport, CycleResult

MINUTE = timedelta(minutes=1)


def a_health(**given: object) -> Health:
    planned = Health(heartbeat_at=0.0, interval=5 * MINUTE, poll_due=60.0)
    return replace(planned, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("health", "at", "why"),
    [
        (a_health(), 30.0, None),
        (a_health(), 30.1, "the event loop is stuck"),
        (a_health(heartbeat_at=90.0), 90.0, None),
        (a_health(heartbeat_at=90.1), 90.1, "the planned poll is overdue"),
        (a_health(poll_due=None), 0.0, "no poll is planned"),
        (a_health(poll_due=None, cycle_since=0.0), 0.0, None),
        (a_health(heartbeat_at=1800.0, cycle_since=0.0), 1800.0, None),
        (a_health(heartbeat_at=1801.0, cycle_since=0.0), 1801.0, "a cycle is stuck"),
    ],
)
def test_alive_while_a_poll_is_due(health: Health, at: float, why: str | None) -> None:
    """A heartbeat within 30 s, and a cycle that is not stuck or a poll to come."""
    assert health.why_not_alive(at) == why


def test_ready_after_a_success_for_three_intervals() -> None:
    """A cycle that succeeded makes it ready, for three intervals and no longer."""
    health = a_health(last_success_at=T0)

    assert a_health().reasons_not_ready(T0) == ["no cycle has succeeded yet"]
    assert health.reasons_not_ready(T0 + 15 * MINUTE) == []
    assert health.reasons_not_ready(T0 + 16 * MINUTE) != []


def test_it_says_why_it_is_not_ready() -> None:
    """Key, quota and the last error are named."""
    report = CycleReport(
        id="c",
        started_at=T0,
        duration_seconds=1.0,
        result=CycleResult.FAILED,
        error=Unreachable("list"),
    )
    health = a_health(
        key_accepted=False, waiting_for_quota_until=T0 + MINUTE, last_report=report
    )
    document = health.to_dict(T0)

    assert document["ready"] is False
    reasons = "; ".join(document["reasons"])
    for words in ("API key", "quota is spent", str(report.error)):
        assert words in reasons


def test_a_ledger_that_is_away_makes_it_not_ready() -> None:
    """At once, whatever succeeded before; and it stays alive."""
    health = a_health(last_success_at=T0, ledger_problem="db: connection refused")

    assert health.reasons_not_ready(T0) == [
        "the ledger cannot be used: db: connection refused"
    ]
    assert health.why_not_alive(30.0) is None
