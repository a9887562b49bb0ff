"""Prometheus metrics of one workspace, from one table of definitions.

Dismissals, attempts and observations are counted in the ledger, in the same transaction
as the event. A scrape reads these totals, so no crash loses an event or counts it
twice. Label sets are closed and exported from the start.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from triaged import __version__
from triaged.daemon.histogram import CYCLE_SECONDS, REQUEST_SECONDS, Histogram
from triaged.daemon.internal_errors import Where
from triaged.daemon.snapshot import LiveState, Snapshot
from triaged.leadlex.models import ApiCall
from triaged.ledger.dismissals import Outcome
from triaged.ledger.notifications import NotificationResult
from triaged.ledger.views import LedgerTotals
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import DOCUMENTED_TYPES, Change, LeaveCause
from triaged.triage.report import CycleReport, CycleResult

OTHER: Final = "other"
OPERATIONS: Final = ("list", "dismiss")
WINDOWS: Final = ("minute", "day")


class Definition(NamedTuple):
    """One metric: counters end in ``_total``, everything else is a gauge."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


DEFINITIONS: Final = (
    Definition("dismissals_total", "Confirmed dismissals.", ("rule", "reason")),
    Definition(
        "dismissal_attempts_total", "Dismissals sent, by outcome.", ("outcome",)
    ),
    Definition(
        "observed_total",
        "Tasks that an observing rule or a dry run would have dismissed.",
        ("rule", "reason"),
    ),
    Definition("tasks_pending", "Pending tasks in the last list.", ("type",)),
    Definition(
        "oldest_pending_timestamp_seconds",
        "When the oldest pending task was created; 0 when there is none.",
    ),
    Definition("tasks_left", "Tasks left in the last cycle.", ("cause",)),
    Definition("cycles_total", "Cycles run.", ("result",)),
    Definition(
        "last_cycle_timestamp_seconds",
        "When a cycle last ended with this result.",
        ("result",),
    ),
    Definition("api_requests_total", "Calls to LeadLex.", ("operation", "status")),
    Definition("api_rate_limited_total", "429 answers.", ("window",)),
    Definition("quota_limit", "Calls a day allowed."),
    Definition("quota_remaining", "Calls left today, the reserve included."),
    Definition("quota_reserved", "Calls of the day that are never spent."),
    Definition("quota_reset_timestamp_seconds", "When the day's quota is full again."),
    Definition("minute_limit", "Calls a minute allowed, given or learned."),
    Definition("poll_interval_seconds", "The poll interval in force now."),
    Definition(
        "config_last_reload_successful",
        "Whether rules, and fleet files, are in force as they are now.",
    ),
    Definition(
        "config_last_reload_success_timestamp_seconds", "When rules were last loaded."
    ),
    Definition("config_info", "The rules in force.", ("sha256",)),
    Definition("breaker_open", "Whether the breaker is open."),
    Definition("paused", "Whether dismissing is paused."),
    Definition("dry_run", "Whether this is a dry run, which dismisses nothing."),
    Definition("api_key_accepted", "Whether LeadLex accepted the key last time."),
    Definition("clock_skew_seconds", "The server's clock minus this machine's."),
    Definition("dismissals_unresolved", "Dismissals whose outcome is not known yet."),
    Definition(
        "rule_last_match_timestamp_seconds", "When a rule last matched.", ("rule",)
    ),
    Definition(
        "rule_false_positives_total",
        "Tasks that people approved though the rule would have dismissed them.",
        ("rule",),
    ),
    Definition("rule_mode", "1 for the mode in force.", ("rule", "mode")),
    Definition(
        "rule_changes_total", "Promotions and demotions of a rule.", ("rule", "change")
    ),
    Definition(
        "notifications_total",
        "Attempts to send a digest or an alert, by result.",
        ("result",),
    ),
    Definition("internal_errors_total", "Errors survived, by place.", ("where",)),
    Definition("build_info", "The program's version.", ("version",)),
)

CYCLE_DURATION: Final = Definition("cycle_duration_seconds", "Time a cycle took.")
REQUEST_DURATION: Final = Definition(
    "api_request_duration_seconds", "Time a call to LeadLex took.", ("operation",)
)
HISTOGRAMS: Final = (CYCLE_DURATION, REQUEST_DURATION)

Samples = Iterator[tuple[str, tuple[str, ...], float]]


class Metrics:
    """The metrics that this process counts itself, since its start."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self._calls = Counter(
            {(o, s): 0 for o in OPERATIONS for s in ("200", "429", "error")}
        )
        self._rate_limited = Counter(dict.fromkeys(WINDOWS, 0))
        self.cycles = Counter(dict.fromkeys(CycleResult, 0))
        self._last_cycle = dict.fromkeys(CycleResult, 0.0)
        self._last_match: dict[str, float] = {}
        self._key_accepted = False
        self._reloaded_at = 0.0
        self.cycle_seconds = Histogram(CYCLE_SECONDS)
        self.request_seconds = {name: Histogram(REQUEST_SECONDS) for name in OPERATIONS}

    def rules_loaded(self, at: datetime) -> None:
        self._reloaded_at = at.timestamp()

    def record_call(self, call: ApiCall) -> None:
        status = str(call.status) if call.status is not None else "error"
        self._calls[call.operation, status] += 1
        self.request_seconds[call.operation].observe(call.seconds)
        if call.status is not None:
            self._key_accepted = call.status not in {401, 403}

    def record_rate_limited(self, window: str) -> None:
        self._rate_limited[window] += 1

    def record_cycle(self, report: CycleReport, *, at: datetime) -> None:
        self.cycles[report.result] += 1
        self._last_cycle[report.result] = at.timestamp()
        self.cycle_seconds.observe(report.duration_seconds)
        for rule in report.matched_rules:
            self._last_match[rule] = at.timestamp()

    def samples(self, state: LiveState) -> Samples:
        """Yield name, labels and value of every counter and gauge.

        Those of the ledger are left out while its totals are not known.
        """
        yield from self._counted()
        if isinstance(state, Snapshot):
            yield from _totals(state.ruleset, state.totals)
        yield from _last_list(state.health.last_list)
        yield from _state(state)
        for rule in state.ruleset.rules:
            if rule.reason is not None:
                last = self._last_match.get(rule.name, 0.0)
                yield "rule_last_match_timestamp_seconds", (rule.name,), last

    def summable(self, last_list: CycleReport | None) -> Samples:
        """Yield the samples of which a sum over workspaces means something."""
        yield from self._counted()
        yield from _last_list(last_list)

    def _counted(self) -> Samples:
        for call, number in self._calls.copy().items():
            yield "api_requests_total", call, number
        for window, number in self._rate_limited.copy().items():
            yield "api_rate_limited_total", (window,), number
        for result in CycleResult:
            yield "cycles_total", (result,), self.cycles[result]
            yield "last_cycle_timestamp_seconds", (result,), self._last_cycle[result]
        yield "api_key_accepted", (), self._key_accepted
        yield "config_last_reload_success_timestamp_seconds", (), self._reloaded_at


def _totals(ruleset: Ruleset, totals: LedgerTotals) -> Samples:
    for outcome in Outcome:
        yield "dismissal_attempts_total", (outcome,), totals.attempts.get(outcome, 0)
    for rule in ruleset.rules:
        for mode in Mode:
            yield "rule_mode", (rule.name, mode), float(rule.mode is mode)
        if rule.reason is not None:
            key = (rule.name, rule.reason)
            yield "dismissals_total", key, totals.dismissals.get(key, 0)
            yield "observed_total", key, totals.observed.get(key, 0)
            false = totals.false_positives.get(rule.name, 0)
            yield "rule_false_positives_total", (rule.name,), false
            for change in Change:
                number = totals.rule_changes.get((rule.name, change), 0)
                yield "rule_changes_total", (rule.name, change), number
    for result in NotificationResult:
        yield "notifications_total", (result,), totals.notifications.get(result, 0)
    yield "dismissals_unresolved", (), totals.unresolved
    yield "paused", (), totals.paused is not None
    yield "breaker_open", (), totals.breaker is not None


def _last_list(report: CycleReport | None) -> Samples:
    """Return the gauges of the latest cycle with a list; all are 0 without one."""
    pending: Mapping[str, int] = report.pending if report else {}
    by_type = dict.fromkeys((*DOCUMENTED_TYPES, OTHER), 0)
    for name, number in pending.items():
        by_type[name if name in DOCUMENTED_TYPES else OTHER] += number
    for name, number in by_type.items():
        yield "tasks_pending", (name,), number
    for cause in LeaveCause:
        left = report.left_by_cause.get(cause, 0) if report else 0
        yield "tasks_left", (cause,), left
    oldest = report.oldest_at if report else None
    seconds = 0.0 if oldest is None else oldest.timestamp()
    yield "oldest_pending_timestamp_seconds", (), seconds


def _state(state: LiveState) -> Samples:
    quota = state.quota
    is_in_force = state.health.rules_rejected is None
    yield "config_last_reload_successful", (), is_in_force
    yield "quota_limit", (), quota.daily_limit
    yield "quota_remaining", (), quota.remaining
    yield "quota_reserved", (), quota.reserved
    yield "quota_reset_timestamp_seconds", (), quota.reset_at
    yield "minute_limit", (), quota.minute_limit
    yield "poll_interval_seconds", (), state.health.interval.total_seconds()
    yield "clock_skew_seconds", (), state.clock_skew.total_seconds()
    yield "dry_run", (), state.dry_run
    yield "config_info", (state.ruleset.sha256,), 1
    yield "build_info", (__version__,), 1
    for where in Where:
        yield "internal_errors_total", (where,), state.errors.get(where, 0)
