"""Metrics of a fleet: sums that mean something, and series that are always there."""

from dataclasses import replace
from typing import Any

from prometheus_client import Metric

from tests.builders import T0
from triaged.daemon.fleet_metrics import FleetMetrics, collect_sums
from triaged.daemon.internal_errors import Where
from triaged.daemon.metrics import Metrics
from triaged.leadlex.models import ApiCall
from triaged.ledger.fleet_views import FleetTotals
from triaged.quota import RateLimitHeaders
from triaged.triage.fleet_state import WorkspaceState
from triaged.triage.report import CycleReport, CycleResult

REPORT = CycleReport(
    id="c",
    started_at=T0,
    duration_seconds=0.4,
    result=CycleResult.OK,
    listed=True,
    pending={"prospect_search": 3, "unheard_of": 2},
)
TOTALS = FleetTotals(
    attempts={"confirmed": 7}, dismissals={"testing": 7}, observed={}, unresolved=1
)


def values(metrics: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return each sample by its name and labels."""
    found: list[Metric] = list(metrics)
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for metric in found
        for s in metric.samples
    }


def a_workspace(name: str, *, cycles: int) -> tuple[Metrics, CycleReport]:
    metrics = Metrics(name)
    for _ in range(cycles):
        metrics.record_cycle(REPORT, at=T0)
        metrics.record_call(
            ApiCall(
                operation="list",
                status=200,
                seconds=0.2,
                request_id=None,
                rate_limit=RateLimitHeaders(),
            )
        )
    return metrics, REPORT


def test_sums_are_those_of_all_workspaces() -> None:
    """Counters, tasks and histograms add up; no series names a workspace or a rule."""
    members = [a_workspace("a", cycles=1), a_workspace("b", cycles=3)]
    found = values(
        collect_sums(members, TOTALS, {Where.LOG: 2}, dry_run=False, is_rejected=False)
    )

    assert found["triaged_cycles_total", (("result", "ok"),)] == 4
    assert found["triaged_tasks_pending", (("type", "prospect_search"),)] == 6
    assert found["triaged_tasks_pending", (("type", "other"),)] == 4
    calls = ("operation", "list"), ("status", "200")
    assert found["triaged_api_requests_total", calls] == 4
    assert found["triaged_cycle_duration_seconds_count", ()] == 4
    assert round(found["triaged_cycle_duration_seconds_sum", ()], 6) == 1.6
    by_list = (("operation", "list"),)
    assert found["triaged_api_request_duration_seconds_count", by_list] == 4
    assert found["triaged_dismissals_total", (("reason", "testing"),)] == 7
    assert found["triaged_dismissals_unresolved", ()] == 1
    assert found["triaged_internal_errors_total", (("where", "log"),)] == 2
    assert found["triaged_config_last_reload_successful", ()] == 1
    labels = {label for _, pairs in found for label, _ in pairs}
    assert labels.isdisjoint({"workspace", "rule"})


def test_an_empty_fleet_has_all_series() -> None:
    """Each state and outcome is there from the start, so rates see the first event."""
    fleet = FleetMetrics()
    found = values(fleet.collect({"a": WorkspaceState.PAUSED}))
    fleet.lateness.observe(0.3)
    late = values(fleet.collect({}))
    none = replace(TOTALS, attempts={}, dismissals={})
    sums = values(collect_sums([], none, {}, dry_run=True, is_rejected=False))

    for state in WorkspaceState:
        expected = 1 if state is WorkspaceState.PAUSED else 0
        assert found["triaged_workspaces", (("state", state),)] == expected
    assert found["triaged_leases_lost_total", ()] == 0
    assert found["triaged_fenced_total", ()] == 0
    assert late["triaged_cycle_lateness_seconds_bucket", (("le", "0.25"),)] == 0
    assert late["triaged_cycle_lateness_seconds_bucket", (("le", "0.5"),)] == 1
    assert late["triaged_cycle_lateness_seconds_bucket", (("le", "+Inf"),)] == 1
    assert sums["triaged_dismissal_attempts_total", (("outcome", "confirmed"),)] == 0
    assert sums["triaged_dismissals_total", (("reason", "not_relevant"),)] == 0
    assert sums["triaged_dry_run", ()] == 1


def test_sums_without_the_ledger() -> None:
    """Its counters are left out, rather than set to zero; all else goes on."""
    members = [a_workspace("a", cycles=1)]
    found = values(collect_sums(members, None, {}, dry_run=False, is_rejected=True))

    names = {name for name, _ in found}
    assert found["triaged_cycles_total", (("result", "ok"),)] == 1
    assert found["triaged_config_last_reload_successful", ()] == 0
    assert names.isdisjoint(
        {
            "triaged_dismissals_total",
            "triaged_observed_total",
            "triaged_dismissal_attempts_total",
            "triaged_dismissals_unresolved",
        }
    )
