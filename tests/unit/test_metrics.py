"""Metrics: closed label sets from the start, totals that no restart loses."""

from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.builders import T0
from triaged.daemon.metrics import Metrics
from triaged.leadlex.models import ApiCall
from triaged.ledger import Ledger
from triaged.quota import QuotaLimiter, QuotaSettings, RateLimitHeaders
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


def ruleset(text: str = RULES) -> Ruleset:
    return parse(text.encode(), "rules.yaml").ruleset


def a_telemetry() -> Metrics:
    telemetry = Metrics("acme", CollectorRegistry())
    telemetry.rules_loaded(ruleset(), at=T0)
    return telemetry


def value(telemetry: Metrics, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, {"workspace": "acme", **labels})


def test_every_series_is_there_before_the_first_event() -> None:
    """A rate sees the first event, because the zero before it was scraped."""
    telemetry = a_telemetry()

    label = {"rule": "clutter", "reason": "testing"}
    assert value(telemetry, "triaged_dismissals_total", **label) == 0
    assert value(telemetry, "triaged_observed_total", **label) == 0
    assert value(telemetry, "triaged_tasks_left", cause="breaker") == 0
    assert value(telemetry, "triaged_cycles_total", result="failed") == 0
    assert value(telemetry, "triaged_api_rate_limited_total", window="day") == 0


def test_all_of_the_contract_is_exported() -> None:
    """Each name of the contract's section 5 is there, under the workspace's label."""
    text = generate_latest(a_telemetry().registry).decode()
    families = {family.name for family in text_string_to_metric_families(text)}

    assert families >= {
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
        "triaged_build_info",
    }


def test_totals_follow_the_ledger_over_restarts(tmp_path: Path) -> None:
    """A counter shows the ledger's total: nothing lost, nothing twice."""
    label = {"rule": "clutter", "reason": "testing"}
    with Ledger(tmp_path) as ledger:
        first = a_telemetry()
        ledger.counters.increment("dismissals", "clutter", "testing", by=3)
        ledger.counters.increment("dismissals", "renamed", "testing")
        ledger.counters.increment("attempts", "confirmed", by=4)
        first.sync_counters(ledger)
        first.sync_counters(ledger)
        again = a_telemetry()
        again.sync_counters(ledger)

    for telemetry in (first, again):
        assert value(telemetry, "triaged_dismissals_total", **label) == 3
        attempts = "triaged_dismissal_attempts_total"
        assert value(telemetry, attempts, outcome="confirmed") == 4


def test_a_removed_rule_takes_its_series_along() -> None:
    """Label sets stay closed: what no rule of today is called is gone."""
    telemetry = a_telemetry()
    telemetry.rules_loaded(ruleset(RULES.replace("clutter", "litter")), at=T0)

    gone = {"rule": "clutter", "reason": "testing"}
    assert value(telemetry, "triaged_dismissals_total", **gone) is None
    assert (
        value(telemetry, "triaged_rule_last_match_timestamp_seconds", rule="litter")
        == 0
    )


def test_a_cycle_is_shown() -> None:
    """What was listed and left is there; unknown types count as other."""
    telemetry = a_telemetry()
    report = CycleReport(
        id="c",
        started_at=T0,
        duration_seconds=2.0,
        result=CycleResult.INCOMPLETE,
        listed=True,
        pending={"prospect_search": 3, "invented": 2},
        left_by_cause={LeaveCause.YOUNG: 4},
        matched_rules=frozenset({"clutter"}),
        breaker="why",
    )
    telemetry.record_cycle(report, at=T0)

    assert value(telemetry, "triaged_tasks_pending", type="prospect_search") == 3
    assert value(telemetry, "triaged_tasks_pending", type="other") == 2
    assert value(telemetry, "triaged_tasks_left", cause="young") == 4
    assert value(telemetry, "triaged_breaker_open") == 1
    stamp = "triaged_rule_last_match_timestamp_seconds"
    assert value(telemetry, stamp, rule="clutter") == T0.timestamp()


def test_calls_and_quota_are_shown() -> None:
    """A refused key, a call without answer and the quota each have their series."""
    telemetry = a_telemetry()
    for status in (200, 401, None):
        telemetry.record_call(
            ApiCall(
                operation="list",
                status=status,
                seconds=0.1,
                request_id=None,
                rate_limit=RateLimitHeaders(),
            )
        )
    view = QuotaLimiter(QuotaSettings.for_plan("starter")).snapshot(T0.timestamp())
    telemetry.set_quota(view, interval=timedelta(minutes=18))
    calls = "triaged_api_requests_total"

    assert value(telemetry, calls, operation="list", status="error") == 1
    assert value(telemetry, calls, operation="list", status="401") == 1
    assert value(telemetry, "triaged_api_key_accepted") == 0
    assert value(telemetry, "triaged_quota_limit") == 100
    assert value(telemetry, "triaged_poll_interval_seconds") == 1080
