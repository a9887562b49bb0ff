"""Prometheus metrics of one workspace: every label set is closed and there at start.

Contract section 5 fixes names and labels.  What was dismissed, attempted and observed
is counted in the ledger, in the transaction of what it counts; here it is only shown,
so that no crash loses an event or counts it twice.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from triaged import __version__
from triaged.leadlex.models import ApiCall
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome
from triaged.quota import QuotaSnapshot
from triaged.rules.rule import Ruleset
from triaged.rules.task import DOCUMENTED_TYPES, LeaveCause
from triaged.triage.report import CycleReport, CycleResult

M = TypeVar("M", Counter, Gauge)

OTHER: Final = "other"
OPERATIONS: Final = ("list", "dismiss")

# Totals are older than the process, so a moment of creation would be a wrong one.
disable_created_metrics()  # type: ignore[no-untyped-call]

_CYCLE_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_REQUEST_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one workspace on a registry of their own."""

    def __init__(self, workspace: str, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._workspace = workspace
        self._rules: dict[str, str] = {}
        self._shown: dict[tuple[object, ...], int] = {}
        self._config_sha256 = ""
        self._dismissals = self._counter(
            "dismissals", "Confirmed dismissals.", "rule", "reason"
        )
        self._attempts = self._counter(
            "dismissal_attempts", "Dismissals asked for, by what became.", "outcome"
        )
        self._observed = self._counter(
            "observed",
            "Tasks that an observing rule or a dry run would have dismissed.",
            "rule",
            "reason",
        )
        self._false_positives = self._counter(
            "rule_false_positives",
            "Tasks that people approved though the rule would have dismissed them.",
            "rule",
        )
        self._pending = self._gauge("tasks_pending", "Pending tasks listed.", "type")
        self._oldest = self._gauge(
            "oldest_pending_timestamp_seconds",
            "When the oldest pending task was made; 0 when there is none.",
        )
        self._left = self._gauge("tasks_left", "Tasks left in the last cycle.", "cause")
        self._cycles = self._counter("cycles", "Cycles run.", "result")
        self._cycle_seconds = Histogram(
            "triaged_cycle_duration_seconds",
            "Time a cycle took.",
            ["workspace"],
            registry=registry,
            buckets=_CYCLE_BUCKETS,
        )
        self._last_cycle = self._gauge(
            "last_cycle_timestamp_seconds", "When a cycle last ended so.", "result"
        )
        self._requests = self._counter(
            "api_requests", "Calls to LeadLex.", "operation", "status"
        )
        self._request_seconds = Histogram(
            "triaged_api_request_duration_seconds",
            "Time a call to LeadLex took.",
            ["workspace", "operation"],
            registry=registry,
            buckets=_REQUEST_BUCKETS,
        )
        self._rate_limited = self._counter("api_rate_limited", "429 answers.", "window")
        self._quota_limit = self._gauge("quota_limit", "Calls a day allowed.")
        self._quota_remaining = self._gauge("quota_remaining", "Calls left today.")
        self._quota_reserved = self._gauge("quota_reserved", "Calls never spent.")
        self._quota_reset = self._gauge(
            "quota_reset_timestamp_seconds", "When the day's quota is full again."
        )
        self._interval = self._gauge(
            "poll_interval_seconds", "The poll interval in force now."
        )
        self._reload_ok = self._gauge(
            "config_last_reload_successful", "Whether the last rules file loaded."
        )
        self._reload_at = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When rules last loaded."
        )
        self._config = self._gauge("config_info", "The rules in force.", "sha256")
        self._breaker = self._gauge("breaker_open", "Whether the breaker is open.")
        self._paused = self._gauge("paused", "Whether dismissing is paused.")
        self._key_accepted = self._gauge(
            "api_key_accepted", "Whether LeadLex accepted the key last time."
        )
        self._skew = self._gauge(
            "clock_skew_seconds", "The server's clock less this machine's."
        )
        self._unresolved = self._gauge(
            "dismissals_unresolved", "Dismissals whose outcome is not known yet."
        )
        self._last_match = self._gauge(
            "rule_last_match_timestamp_seconds", "When a rule last held.", "rule"
        )
        self._build = self._gauge("build_info", "The program's version.", "version")
        self._create_series()

    def rules_loaded(self, ruleset: Ruleset, *, at: datetime) -> None:
        """Give each rule its series and drop those of rules that are gone."""
        wanted = {r.name: r.reason for r in ruleset.rules if r.reason is not None}
        for rule, reason in self._rules.items():
            if wanted.get(rule) != reason:
                for counter in (self._dismissals, self._observed):
                    counter.remove(self._workspace, rule, reason)
                    self._shown.pop((counter, rule, reason), None)
            if rule not in wanted:
                self._last_match.remove(self._workspace, rule)
                self._false_positives.remove(self._workspace, rule)
                self._shown.pop((self._false_positives, rule), None)
        for rule, reason in wanted.items():
            self._series(self._dismissals, rule, reason)
            self._series(self._observed, rule, reason)
            self._series(self._last_match, rule)
            self._series(self._false_positives, rule)
        self._rules = wanted
        self._show_config(ruleset.sha256, at)

    def rules_rejected(self) -> None:
        """Say that the file on disk is not the one in force."""
        self._series(self._reload_ok).set(0)

    def sync_counters(self, ledger: Ledger) -> None:
        """Show the ledger's totals as they are now."""
        for (outcome, _), total in ledger.counters.values("attempts").items():
            self._raise_to(self._attempts, total, outcome)
        for name, counter in (
            ("dismissals", self._dismissals),
            ("observed", self._observed),
        ):
            for (rule, reason), total in ledger.counters.values(name).items():
                if self._rules.get(rule) == reason:
                    self._raise_to(counter, total, rule, reason)
        against = ledger.feedback.count_false_positives()
        for rule in self._rules.keys() & against.keys():
            self._raise_to(self._false_positives, against[rule], rule)

    def record_call(self, exchange: ApiCall) -> None:
        """Count one call to LeadLex."""
        status = str(exchange.status) if exchange.status is not None else "error"
        self._series(self._requests, exchange.operation, status).inc()
        self._request_seconds.labels(self._workspace, exchange.operation).observe(
            exchange.seconds
        )
        if exchange.status is not None:
            refused = exchange.status in {401, 403}
            self._series(self._key_accepted).set(0 if refused else 1)

    def record_rate_limited(self, window: str) -> None:
        """Count one 429 answer under the window it is blamed on."""
        self._series(self._rate_limited, window).inc()

    def record_cycle(self, report: CycleReport, *, at: datetime) -> None:
        """Take over what a cycle saw and did."""
        self._series(self._cycles, report.result).inc()
        self._cycle_seconds.labels(self._workspace).observe(report.duration_seconds)
        self._series(self._last_cycle, report.result).set(at.timestamp())
        if not report.listed:
            return
        self._show_tasks(report.pending, report.left_by_cause)
        oldest = report.oldest_at
        self._series(self._oldest).set(0 if oldest is None else oldest.timestamp())
        self._series(self._breaker).set(report.breaker is not None)
        for rule in report.matched_rules & self._rules.keys():
            self._series(self._last_match, rule).set(at.timestamp())

    def set_quota(self, view: QuotaSnapshot, *, interval: timedelta) -> None:
        """Show the day's quota and the poll interval in force."""
        self._series(self._quota_limit).set(view.daily_limit)
        self._series(self._quota_remaining).set(view.remaining)
        self._series(self._quota_reserved).set(view.reserved)
        self._series(self._quota_reset).set(view.reset_at)
        self._series(self._interval).set(interval.total_seconds())

    def set_state(
        self, *, paused: bool, unresolved: int, clock_skew: timedelta
    ) -> None:
        """Show what people and clocks did to the daemon."""
        self._series(self._paused).set(paused)
        self._series(self._unresolved).set(unresolved)
        self._series(self._skew).set(clock_skew.total_seconds())

    def _raise_to(self, counter: Counter, total: int, *labels: str) -> None:
        """Bring a counter up to a total; it may only grow."""
        key = (counter, *labels)
        growth = total - self._shown.get(key, 0)
        if growth > 0:
            self._series(counter, *labels).inc(growth)
            self._shown[key] = total

    def _show_tasks(
        self, pending: Mapping[str, int], left: Mapping[LeaveCause, int]
    ) -> None:
        by_type = dict.fromkeys((*DOCUMENTED_TYPES, OTHER), 0)
        for name, number in pending.items():
            by_type[name if name in DOCUMENTED_TYPES else OTHER] += number
        for name, number in by_type.items():
            self._series(self._pending, name).set(number)
        for cause in LeaveCause:
            self._series(self._left, cause).set(left.get(cause, 0))

    def _show_config(self, sha256: str, at: datetime) -> None:
        if self._config_sha256:
            self._config.remove(self._workspace, self._config_sha256)
        self._config_sha256 = sha256
        self._series(self._config, sha256).set(1)
        self._series(self._reload_ok).set(1)
        self._series(self._reload_at).set(at.timestamp())

    def _create_series(self) -> None:
        """Create every series, so that a rate sees the first event."""
        closed: tuple[tuple[Counter | Gauge, Iterable[str]], ...] = (
            (self._attempts, Outcome),
            (self._cycles, CycleResult),
            (self._last_cycle, CycleResult),
            (self._rate_limited, ("minute", "day")),
            (self._pending, (*DOCUMENTED_TYPES, OTHER)),
            (self._left, LeaveCause),
        )
        for metric, labels in closed:
            for label in labels:
                metric.labels(self._workspace, label)
        for operation in OPERATIONS:
            self._request_seconds.labels(self._workspace, operation)
            for status in ("200", "429", "error"):
                self._series(self._requests, operation, status)
        self._cycle_seconds.labels(self._workspace)
        for gauge in (self._breaker, self._paused, self._skew, self._unresolved):
            self._series(gauge).set(0)
        for gauge in (self._quota_limit, self._quota_remaining, self._quota_reserved):
            self._series(gauge).set(0)
        for gauge in (self._quota_reset, self._interval, self._reload_at, self._oldest):
            self._series(gauge).set(0)
        self._series(self._reload_ok).set(0)
        self._series(self._key_accepted).set(0)
        self._series(self._build, __version__).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(
            f"triaged_{name}", text, ["workspace", *labels], registry=self.registry
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(
            f"triaged_{name}", text, ["workspace", *labels], registry=self.registry
        )

    def _series(self, metric: M, *labels: str) -> M:
        return metric.labels(self._workspace, *labels)
