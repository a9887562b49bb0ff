"""Write the dashboard: ``python source/dashboard.py > dashboards/triaged.json``.

The JSON is what Grafana reads; this is what people change.  A test holds the two alike.
"""
# ruff: noqa: INP001 - scripts, not a package

import json
import sys
from typing import Final

from panels import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    RED,
    Json,
    annotation,
    counted,
    laid_out,
    panel,
    quantile,
    query,
    ranges,
    s,
    series,
    stat,
    thresholds,
    variable,
)

LAST_GOOD: Final = (
    "max without (result) ("
    + s("triaged_last_cycle_timestamp_seconds", 'result=~"ok|incomplete"')
    + ")"
)
# Before the first answer the key counts as not accepted; that is no refusal yet.
REFUSED: Final = (
    f"({s('triaged_api_key_accepted')} == bool 0) * ((sum without (operation, status) ("
    + s("triaged_api_requests_total", 'status=~"401|403"')
    + f") or 0 * {s('triaged_api_key_accepted')}) > bool 0)"
)
STALE: Final = (
    f"(time() - {LAST_GOOD} > bool 3 * {s('triaged_poll_interval_seconds')} + 300)"
)
REJECTED: Final = f"({s('triaged_config_last_reload_successful')} == bool 0)"

# The worst trouble has the highest bit, so that a range of values names it.
STATE: Final = (
    f"16 * {REFUSED} + 8 * {STALE} + 4 * {REJECTED}"
    f" + 2 * {s('triaged_breaker_open')} + {s('triaged_paused')}"
)
STATES: Final = (
    (0, 0, "at work", GREEN),
    (1, 1, "paused", BLUE),
    (2, 3, "breaker open", AMBER),
    (4, 7, "rules file refused", AMBER),
    (8, 15, "no cycle succeeds", RED),
    (16, 31, "key refused", RED),
)


def now_row() -> list[Json]:
    """Return what a glance must tell."""
    remaining, limit = s("triaged_quota_remaining"), s("triaged_quota_limit")
    return [
        stat(
            "State",
            "The worst of: key refused, no cycle succeeds, rules file refused,"
            " breaker open, paused.",
            STATE,
            legend="{{workspace}}",
            width=5,
            mappings=ranges(STATES),
        ),
        stat(
            "Next poll",
            "The end of the last cycle and the poll interval in force.",
            "1000 * (max without (result) ("
            + s("triaged_last_cycle_timestamp_seconds")
            + f") + {s('triaged_poll_interval_seconds')})",
            legend="{{workspace}}",
            unit="dateTimeFromNow",
            width=4,
        ),
        stat(
            "Pending",
            "Tasks that wait for somebody, as last listed.",
            f"sum({s('triaged_tasks_pending')})",
            width=3,
        ),
        stat(
            "Dismissed in 24 h",
            "Confirmed dismissals of all rules.",
            f"sum(increase({s('triaged_dismissals_total')}[24h]))",
            unit="locale",
            width=3,
        ),
        panel(
            "gauge",
            "Calls left today",
            "Of the day's API calls; the reserve is not spent by triaged.",
            [query(f"{remaining} / ({limit} > 0)", "{{workspace}}", is_instant=True)],
            size=(4, 4),
            unit="percentunit",
            defaults={
                "min": 0,
                "max": 1,
                "noValue": "not known yet",
                "thresholds": thresholds((None, RED), (0.1, AMBER), (0.2, GREEN)),
                "color": {"mode": "thresholds"},
            },
            options={
                "reduceOptions": {
                    "calcs": ["lastNotNull"],
                    "fields": "",
                    "values": False,
                },
                "showThresholdLabels": False,
                "showThresholdMarkers": True,
            },
        ),
        stat(
            "Breaker",
            "Open: rules want too large a share of all tasks, or the clocks disagree;"
            " nothing is dismissed.",
            f"max({s('triaged_breaker_open')})",
            width=2,
            mappings=ranges([(0, 0, "closed", GREEN), (1, 1, "OPEN", RED)]),
        ),
        stat(
            "Unknown outcomes",
            "Dismissals sent whose outcome nobody knows; the next list settles them.",
            f"sum({s('triaged_dismissals_unsettled')})",
            width=3,
            colors=thresholds((None, GREEN), (1, AMBER)),
        ),
    ]


def dismissal_row() -> list[Json]:
    """Return what is dismissed, and by which rule."""
    return [
        series(
            "Dismissals by reason",
            "Confirmed dismissals in each step.",
            counted("triaged_dismissals_total", "reason"),
            width=8,
            is_bars=True,
            is_stacked=True,
        ),
        series(
            "Dismissals by rule",
            "Confirmed dismissals in each step.",
            counted("triaged_dismissals_total", "rule"),
            width=8,
            is_bars=True,
            is_stacked=True,
        ),
        series(
            "Dismissals asked for, by outcome",
            "Unknown ones are settled by a later list, and then count again as that.",
            counted("triaged_dismissal_attempts_total", "outcome"),
            width=8,
            is_bars=True,
            is_stacked=True,
        ),
    ]


def backlog_row() -> list[Json]:
    """Return what is not dismissed."""
    return [
        series(
            "Pending by type",
            "Tasks that wait, as last listed.",
            query(f"sum by (type) ({s('triaged_tasks_pending')})", "{{type}}"),
            width=8,
            is_stacked=True,
        ),
        series(
            "Left alone by cause",
            "Why the last cycle left tasks alone.",
            query(f"sum by (cause) ({s('triaged_tasks_left')}) > 0", "{{cause}}"),
            width=8,
            is_stacked=True,
        ),
        series(
            "Oldest pending task",
            "How long the oldest pending task has waited.",
            query(
                f"time() - ({s('triaged_oldest_pending_timestamp_seconds')} > 0)",
                "{{workspace}}",
            ),
            width=8,
            unit="s",
        ),
    ]


def trust_row() -> list[Json]:
    """Return what tells whether the rules deserve trust."""
    return [
        series(
            "Counter-examples by rule",
            "Tasks that people approved although the rule would dismiss them.",
            counted("triaged_counterexamples_total", "rule"),
            width=8,
            is_bars=True,
            is_stacked=True,
        ),
        series(
            "Observed by rule",
            "Tasks that an observing rule or a dry run would have dismissed.",
            counted("triaged_observed_total", "rule"),
            width=8,
            is_bars=True,
            is_stacked=True,
        ),
        panel(
            "table",
            "Since a rule last held",
            "A rule that has not held for weeks is perhaps no longer needed.",
            [
                query(
                    "sort(max by (workspace, rule) (time() - ("
                    + s("triaged_rule_last_match_timestamp_seconds")
                    + " > 0)))",
                    is_instant=True,
                    table=True,
                )
            ],
            size=(8, 8),
            unit="s",
            options={"showHeader": True, "cellHeight": "sm"},
            more={
                "transformations": [
                    {
                        "id": "organize",
                        "options": {
                            "excludeByName": {"Time": True},
                            "renameByName": {"Value": "Since"},
                            "indexByName": {},
                        },
                    }
                ]
            },
        ),
    ]


def quota_row() -> list[Json]:
    """Return what the calls are spent on."""
    reserved, limit = s("triaged_quota_reserved"), s("triaged_quota_limit")
    reset = s("triaged_quota_reset_timestamp_seconds")
    even = f"{reserved} + ({limit} - {reserved}) * ({reset} - time()) / 86400"
    return [
        series(
            "Calls left against the day",
            "Below the even pace more is spent than the day can carry.",
            query(s("triaged_quota_remaining"), "left {{workspace}}"),
            query(
                f"({even}) and {limit} > 0 and {reset} > time()",
                "even pace {{workspace}}",
            ),
            query(f"{reserved} and {limit} > 0", "reserve {{workspace}}"),
            width=8,
        ),
        series(
            "API calls by status",
            "All calls count against the quota, refused ones too.",
            query(
                "sum by (operation, status) (increase("
                + s("triaged_api_requests_total")
                + "[$__interval]))",
                "{{operation}} {{status}}",
            ),
            width=8,
            is_bars=True,
            is_stacked=True,
        ),
        series(
            "429 answers by window",
            "More than a few a day: the plan is smaller than told, or others use it.",
            counted("triaged_rate_limited_total", "window"),
            width=8,
            is_bars=True,
            is_stacked=True,
        ),
    ]


def pace_row() -> list[Json]:
    """Return how long things take."""
    calls, cycles = (
        "triaged_api_request_duration_seconds",
        "triaged_cycle_duration_seconds",
    )
    return [
        series(
            "API latency",
            "Over the last hour.",
            query(quantile(0.5, calls, "operation, "), "median {{operation}}"),
            query(quantile(0.95, calls, "operation, "), "95 % {{operation}}"),
            width=8,
            unit="s",
        ),
        series(
            "Cycle duration",
            "Over the last hour; dismissals wait for the minute's quota.",
            query(quantile(0.5, cycles, ""), "median"),
            query(quantile(0.95, cycles, ""), "95 %"),
            width=8,
            unit="s",
        ),
        series(
            "Poll interval",
            "In force; longer than wished where the quota cannot carry that.",
            query(s("triaged_poll_interval_seconds"), "{{workspace}}"),
            width=8,
            unit="s",
        ),
    ]


def health_row() -> list[Json]:
    """Return the daemon's own well-being."""
    timeline = panel(
        "state-timeline",
        "State over time",
        "As the first panel has it.",
        [query(STATE, "{{workspace}} {{instance}}")],
        size=(8, 8),
        defaults={
            "mappings": ranges(STATES),
            "color": {"mode": "thresholds"},
            "thresholds": thresholds((None, GREY)),
            "custom": {"fillOpacity": 70, "lineWidth": 0},
        },
        options={
            "mergeValues": True,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.9,
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": [],
            },
            "tooltip": {"mode": "single", "sort": "none"},
        },
        more={"interval": "1m"},
    )
    skew = series(
        "Clock skew",
        "LeadLex's clock less this machine's; from two minutes on the breaker opens.",
        query(s("triaged_clock_skew_seconds"), "{{workspace}}"),
        width=6,
        unit="s",
    )
    del skew["fieldConfig"]["defaults"]["min"]  # it has two directions
    return [
        timeline,
        series(
            "Cycles by result",
            "Incomplete: the quota, a cap, the breaker or a fault left something.",
            counted("triaged_cycles_total", "result"),
            width=6,
            is_bars=True,
            is_stacked=True,
        ),
        skew,
        panel(
            "table",
            "Versions",
            "Of the program, by instance.",
            [
                query(
                    "max by (workspace, instance, version) ("
                    + s("triaged_build_info")
                    + ")",
                    is_instant=True,
                    table=True,
                )
            ],
            size=(4, 8),
            options={"showHeader": True, "cellHeight": "sm"},
            more={
                "transformations": [
                    {
                        "id": "organize",
                        "options": {
                            "excludeByName": {"Time": True, "Value": True},
                            "renameByName": {},
                            "indexByName": {},
                        },
                    }
                ]
            },
        ),
    ]


def dashboard() -> Json:
    """Return the whole dashboard."""
    changed = s("triaged_config_last_reload_success_timestamp_seconds")
    return {
        "uid": "triaged",
        "title": "triaged",
        "description": "Rule-based auto-triage of pending LeadLex Lexi tasks.",
        "tags": ["triaged", "leadlex"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "links": [],
        "annotations": {
            "list": [
                annotation(
                    "Rules loaded",
                    f"changes({changed}[2m]) > 0",
                    "{{workspace}}: other rules are in force",
                    BLUE,
                ),
                annotation(
                    "Rules refused",
                    f"{s('triaged_config_last_reload_successful')} == 0",
                    "{{workspace}}: the rules file does not load",
                    RED,
                ),
            ]
        },
        "templating": {
            "list": [
                {
                    "type": "datasource",
                    "name": "datasource",
                    "label": "Prometheus",
                    "query": "prometheus",
                    "refresh": 1,
                    "regex": "",
                    "multi": False,
                    "includeAll": False,
                    "current": {
                        "selected": False,
                        "text": "Prometheus",
                        "value": "prometheus",
                    },
                    "options": [],
                    "hide": 0,
                    "skipUrlSync": False,
                },
                variable(
                    "workspace",
                    "Workspace",
                    "label_values(triaged_build_info, workspace)",
                ),
                variable(
                    "instance",
                    "Instance",
                    'label_values(triaged_build_info{workspace=~"$workspace"},'
                    " instance)",
                ),
            ]
        },
        "panels": laid_out(
            [
                ("", now_row()),
                ("Dismissed", dismissal_row()),
                ("Left", backlog_row()),
                ("Trust", trust_row()),
                ("Quota", quota_row()),
                ("Pace", pace_row()),
                ("Health", health_row()),
            ]
        ),
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
