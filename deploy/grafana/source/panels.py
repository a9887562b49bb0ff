"""What a dashboard is made of: queries, panels, variables and their layout."""
# ruff: noqa: INP001 - scripts, not a package

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
ALIKE: Final = 'workspace=~"$workspace", instance=~"$instance"'
WIDTH: Final = 24

GREEN, AMBER, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"


def s(metric: str, more: str = "") -> str:
    """Select a metric of the chosen workspaces and instances."""
    return f"{metric}{{{ALIKE}{', ' if more else ''}{more}}}"


def query(
    expression: str, legend: str = "", *, is_instant: bool = False, table: bool = False
) -> Json:
    """Return one query of a panel."""
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend or "__auto",
        "instant": is_instant,
        "range": not is_instant,
        "format": "table" if table else "time_series",
    }


def thresholds(*steps: tuple[float | None, str]) -> Json:
    """Return colours by value; the first step has no lower bound."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in steps],
    }


def ranges(named: Sequence[tuple[int, int, str, str]]) -> list[Json]:
    """Return words for ranges of values."""
    return [
        {
            "type": "range",
            "options": {
                "from": low,
                "to": high,
                "result": {"text": text, "color": color, "index": index},
            },
        }
        for index, (low, high, text, color) in enumerate(named)
    ]


def panel(  # noqa: PLR0913 - a panel has as many sides
    kind: str,
    title: str,
    text: str,
    queries: Sequence[Json],
    *,
    size: tuple[int, int],
    unit: str = "short",
    defaults: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Json:
    """Return one panel; where it goes is told later."""
    width, height = size
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": [
            {**each, "refId": chr(ord("A") + index)}
            for index, each in enumerate(queries)
        ],
        "fieldConfig": {
            "defaults": {"unit": unit, **(defaults or {})},
            "overrides": [],
        },
        "options": dict(options or {}),
        **(more or {}),
    }


def stat(  # noqa: PLR0913 - a panel has as many sides
    title: str,
    text: str,
    expression: str,
    *,
    width: int,
    unit: str = "short",
    legend: str = "",
    colors: Json | None = None,
    mappings: Sequence[Json] = (),
    missing: str = "no answer",
    is_name: bool = False,
) -> Json:
    """Return a number, or a word, to be read across a room."""
    return panel(
        "stat",
        title,
        text,
        [query(expression, legend, is_instant=True)],
        size=(width, 4),
        unit=unit,
        defaults={
            "mappings": list(mappings),
            "noValue": missing,
            "thresholds": colors or thresholds((None, GREY)),
            "color": {"mode": "thresholds"},
        },
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "name" if is_name else "auto",
        },
    )


def series(
    title: str,
    text: str,
    *queries: Json,
    width: int,
    unit: str = "short",
    is_bars: bool = False,
    is_stacked: bool = False,
) -> Json:
    """Return curves over time, or bars of what was counted in each step."""
    custom: Json = {
        "drawStyle": "bars" if is_bars else "line",
        "fillOpacity": 80 if is_bars else 10,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": True,
        "stacking": {"mode": "normal" if is_stacked else "none", "group": "A"},
    }
    return panel(
        "timeseries",
        title,
        text,
        queries,
        size=(width, 8),
        unit=unit,
        defaults={"custom": custom, "min": 0, "color": {"mode": "palette-classic"}},
        options={
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["sum"] if is_bars else ["lastNotNull"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        # Events are rare: a bar of minutes shows them, a rate of seconds would not.
        more={"interval": "10m"} if is_bars else {"interval": "1m"},
    )


def counted(metric: str, by: str) -> Json:
    """Return what a counter grew by in each step, summed by a label."""
    grown = f"sum by ({by}) (increase({s(metric)}[$__interval]))"
    return query(grown, f"{{{{{by}}}}}")


def laid_out(rows: Sequence[tuple[str, Sequence[Json]]]) -> list[Json]:
    """Give each panel its place and number: rows from the top, panels from the left."""
    panels: list[Json] = []
    y = 0
    for title, row in rows:
        if title:
            grid = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            panels.append(
                {
                    "type": "row",
                    "title": title,
                    "collapsed": False,
                    "gridPos": grid,
                    "panels": [],
                }
            )
            y += 1
        x = 0
        for each in row:
            each["gridPos"] = {"x": x, "y": y, **each["gridPos"]}
            x += each["gridPos"]["w"]
            panels.append(each)
        y += max(each["gridPos"]["h"] for each in row)
    return [{"id": number, **each} for number, each in enumerate(panels, 1)]


def variable(name: str, text: str, definition: str) -> Json:
    """Return a choice of label values, all of them unless somebody chooses."""
    return {
        "type": "query",
        "name": name,
        "label": text,
        "datasource": SOURCE,
        "query": {"query": definition, "refId": f"variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
        "regex": "",
    }


def annotation(name: str, expression: str, text: str, color: str) -> Json:
    """Return marks on the time axis."""
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "target": {"expr": expression, "interval": "60s", "refId": "Anno"},
        # The same as Grafana up to version 10 reads it.
        "expr": expression,
        "step": "60s",
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "workspace,instance",
    }


def quantile(share: float, metric: str, by: str) -> str:
    """Return a quantile over an hour: calls are minutes apart."""
    buckets = f"sum by ({by}le) (increase({s(metric + '_bucket')}[1h]))"
    return f"histogram_quantile({share}, {buckets})"
