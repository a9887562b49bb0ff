"""Metrics: closed label sets from the start, totals that no restart loses."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.builders import T0
from tests.snapshots import a_snapshot
from triaged.daemon.exposition import collect, make_registry
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.snapshot import LiveState
from triaged.leadlex.models import ApiCall
from triaged.ledger import Ledger
from triaged.ledger.location import LedgerLocation
from triaged.ledger.views import open_views
from triaged.quota import RateLimitHeaders
from triaged.rules.rule import Ruleset
from triaged.rules.task import LeaveCause
from triaged.rulesfile.loader import parse
from triaged.triage.report import CycleReport, CycleResult

RULES = """
version: 1
rules:
  - {name: clutter, match: {description: ^TEST}, dismiss: testing}
  - {name: people, match: {type: campaign_start}, leave: true}
"""
TYPE = "campaign_start"
# Contract section 5; histograms and counters by the name of their family.
CONTRACT = {
    "triaged_dismissals",
    "triaged_dismissal_attempts",
    "triaged_observed",
    "triaged_tasks_pending",
    "triaged_tasks_left",
    "triaged_cycles",
    "triaged_cycle_duration_seconds",
    "triaged_last_cycle_timestamp_seconds",
    "triaged_api_requests",
    "triaged_api_request_duration_seconds",
    "triaged_api_rate_limited",
    "triaged_quota_limit",
    "triaged_quota_remaining",
    "triaged_quota_reserved",
    "triaged_quota_reset_timestamp_seconds",
    "triaged_poll_interval_seconds",
    "triaged_config_last_reload_successful",
    "triaged_config_last_reload_success_timestamp_seconds",
    "triaged_config_info",
    "triaged_breaker_open",
    "triaged_paused",
    "triaged_api_key_accepted",
    "triaged_clock_skew_seconds",
    "triaged_rule_last_match_timestamp_seconds",
    "triaged_rule_false_positives",
    "triaged_rule_mode",
    "triaged_dismissals_unresolved",
    "triaged_oldest_pending_timestamp_seconds",
    "triaged_dry_run",
    "triaged_minute_limit",
    "triaged_internal_errors",
    "triaged_build_info",
    "process_resident_memory_bytes",
    "python_info",
}


def ruleset(text: str = RULES) -> Ruleset:
    return parse(text.encode(), "rules.yaml").ruleset


def exported(metrics: Metrics | None = None, **given: Any) -> CollectorRegistry:
    given.setdefault("ruleset", ruleset())
    counted = metrics or Metrics("acme")
    return make_registry(
        lambda: collect([(counted, a_snapshot(**given))]), process=True
    )


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"workspace": "acme", **labels})


def test_every_series_is_there_before_the_first_event() -> None:
    """A rate sees the first event, because the zero before it was scraped."""
    registry = exported()

    label = {"rule": "clutter", "reason": "testing"}
    assert value(registry, "triaged_dismissals_total", **label) == 0
    assert value(registry, "triaged_observed_total", **label) == 0
    assert value(registry, "triaged_rule_false_positives_total", rule="clutter") == 0
    assert value(registry, "triaged_api_rate_limited_total", window="day") == 0
    assert value(registry, "triaged_cycles_total", result="failed") == 0
    for cause in LeaveCause:
        assert value(registry, "triaged_tasks_left", cause=cause) == 0
    for where in Where:
        assert value(registry, "triaged_internal_errors_total", where=where) == 0


def test_all_of_the_contract_is_exported() -> None:
    """Each name of the contract's section 5 is there, ours with the workspace."""
    text = generate_latest(exported()).decode()
    families = list(text_string_to_metric_families(text))

    assert {family.name for family in families} >= CONTRACT
    for family in families:
        if family.name.startswith("triaged_"):
            assert all(s.labels["workspace"] == "acme" for s in family.samples)


def test_rules_that_dismiss_nothing_are_scraped_too() -> None:
    """A file without a dismissing rule leaves families without samples, no error."""
    leaving = "version: 1\nrules:\n  - {name: a, match: {type: x}, leave: true}\n"
    text = generate_latest(exported(ruleset=ruleset(leaving.replace("x", TYPE))))

    assert b"# TYPE triaged_dismissals_total counter" in text
    assert b"triaged_dismissals_total{" not in text


def test_totals_follow_the_ledger_over_restarts(place: LedgerLocation) -> None:
    """A counter shows the ledger's total: nothing lost, nothing twice."""
    label = {"rule": "clutter", "reason": "testing"}
    with Ledger.open(place) as ledger:
        ledger.counters.increment("dismissals", "clutter", "testing", by=3)
        ledger.counters.increment("dismissals", "renamed", "testing")
        ledger.counters.increment("attempts", "confirmed", by=4)
    with open_views(place, "default") as views:
        totals = views.totals()
    for registry in (exported(totals=totals), exported(totals=totals)):
        assert value(registry, "triaged_dismissals_total", **label) == 3
        attempts = "triaged_dismissal_attempts_total"
        assert value(registry, attempts, outcome="confirmed") == 4


def test_a_removed_rule_takes_its_series_along() -> None:
    """Label sets stay closed: what no rule of today is called is gone."""
    metrics = Metrics("acme")
    registry = exported(metrics, ruleset=ruleset(RULES.replace("clutter", "litter")))

    gone = {"rule": "clutter", "reason": "testing"}
    stamp = "triaged_rule_last_match_timestamp_seconds"
    assert value(registry, "triaged_dismissals_total", **gone) is None
    assert value(registry, stamp, rule="litter") == 0


def test_the_mode_of_each_rule() -> None:
    """Each rule has a series for each mode, and 1 for the one in force."""
    observing = RULES.replace("{name: clutter,", "{name: clutter, mode: observe,")
    registry = exported(ruleset=ruleset(observing))

    shown = {
        (rule, mode): value(registry, "triaged_rule_mode", rule=rule, mode=mode)
        for rule in ("clutter", "people")
        for mode in ("enforce", "observe", "off")
    }
    assert [key for key, on in shown.items() if on == 1] == [
        ("clutter", "observe"),
        ("people", "enforce"),
    ]
    assert list(shown.values()).count(0) == 4


def test_a_cycle_is_shown() -> None:
    """What was listed and left is there; unknown types count as other."""
    metrics = Metrics("acme")
    report = CycleReport(
        id="c",
        started_at=T0,
        duration_seconds=2.0,
        result=CycleResult.INCOMPLETE,
        listed=True,
        pending={"prospect_search": 3, "invented": 2},
        left_by_cause={LeaveCause.YOUNG: 4},
        matched_rules=frozenset({"clutter"}),
    )
    metrics.record_cycle(report, at=T0)
    health = Health(heartbeat_at=0.0, interval=timedelta(0), last_list=report)
    registry = exported(metrics, health=health)

    assert value(registry, "triaged_tasks_pending", type="prospect_search") == 3
    assert value(registry, "triaged_tasks_pending", type="other") == 2
    assert value(registry, "triaged_tasks_left", cause="young") == 4
    assert value(registry, "triaged_cycles_total", result="incomplete") == 1
    stamp = "triaged_rule_last_match_timestamp_seconds"
    assert value(registry, stamp, rule="clutter") == T0.timestamp()


def test_calls_and_quota_are_shown() -> None:
    """A refused key, a call without answer and the quota each have their series."""
    metrics = Metrics("acme")
    for status in (200, 401, None):
        metrics.record_call(
            ApiCall(
                operation="list",
                status=status,
                seconds=0.1,
                request_id=None,
                rate_limit=RateLimitHeaders(),
            )
        )
    metrics.record_rate_limited("minute")
    registry = exported(metrics, dry_run=True, errors={Where.LOG: 7})
    calls = "triaged_api_requests_total"

    assert value(registry, calls, operation="list", status="error") == 1
    assert value(registry, calls, operation="list", status="401") == 1
    assert value(registry, "triaged_api_rate_limited_total", window="minute") == 1
    assert value(registry, "triaged_api_key_accepted") == 0
    assert value(registry, "triaged_quota_limit") == 100
    assert value(registry, "triaged_minute_limit") == 10
    assert value(registry, "triaged_poll_interval_seconds") == 1080
    assert value(registry, "triaged_dry_run") == 1
    assert value(registry, "triaged_internal_errors_total", where="log") == 7


@pytest.mark.parametrize("good", [True, False])
def test_a_reload_is_shown(*, good: bool) -> None:
    """A refused file shows at once, and the time of the last good one stays."""
    metrics = Metrics("acme")
    metrics.rules_loaded(T0)
    health = a_snapshot().health
    health.rules_rejected = None if good else "rules.yaml:1:1: wrong"
    registry = exported(metrics, health=health)

    at = "triaged_config_last_reload_success_timestamp_seconds"
    assert value(registry, "triaged_config_last_reload_successful") == good
    assert value(registry, at) == T0.timestamp()


def test_without_the_ledger_its_series_are_left_out() -> None:
    """A counter that fell to zero would look like events once the ledger is back."""
    known = a_snapshot(ruleset=ruleset())
    names = LiveState.__dataclass_fields__
    live = LiveState(**{name: getattr(known, name) for name in names})
    registry = make_registry(lambda: collect([(Metrics("acme"), live)]), process=False)

    assert value(registry, "triaged_quota_limit") == 100
    assert value(registry, "triaged_cycles_total", result="ok") == 0
    for name in ("dismissals_unresolved", "paused", "breaker_open"):
        assert value(registry, f"triaged_{name}") is None
