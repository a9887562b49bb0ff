"""Alive means that the loop beats; ready means that the work gets done."""

from dataclasses import replace
from datetime import timedelta

from tests.builders import T0
from triaged.daemon.health import Health
from triaged.leadlex.errors import Unreachable
from triaged.triage.report import CycleReport, CycleResult

MINUTE = timedelta(minutes=1)


def a_health(**given: object) -> Health:
    return replace(Health(heartbeat_at=T0, interval=5 * MINUTE), **given)  # type: ignore[arg-type]


def test_alive_while_the_loop_beats() -> None:
    """Thirty seconds without a beat, or half an hour in one cycle, is a hang."""
    assert a_health().is_alive(T0 + MINUTE / 2)
    assert not a_health().is_alive(T0 + MINUTE)
    hanging = a_health(cycle_since=T0 - 31 * MINUTE)
    assert not hanging.is_alive(T0)
    hanging.cycle_since = None
    hanging.heartbeat(T0 + MINUTE)
    assert hanging.is_alive(T0 + MINUTE)


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
    shown = health.to_dict(T0)

    assert shown["ready"] is False
    said = "; ".join(shown["reasons"])
    for word in ("API key", "quota is spent", "cannot be reached"):
        assert word in said
