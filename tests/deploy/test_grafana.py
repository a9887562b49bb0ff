"""The dashboard against Grafana's own types, and its queries on a real Prometheus.

There is no Grafana here: the dashboard was never opened in one.
"""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.external_tools import (
    DEPLOY,
    HERE,
    PARTS,
    load_yaml,
    need_program,
    need_tool,
    run,
)
from tests.deploy.stack import Stack
from tests.e2e.harness import eventually

DASHBOARD = DEPLOY / "grafana/triaged.json"

# What has no workspace: the process's, and a fleet's own.
OF_THE_PROCESS = (
    *("up{", "process_", "triaged_workspaces{", "triaged_cycle_lateness_seconds"),
    *("triaged_leases_lost_total{", "triaged_fenced_total{"),
)

NO_DATA = " or vector(-1)"

# Of the Prometheus plug-in, and so unknown to the types of a dashboard.
PLUGINS_OWN = {"target", "titleFormat", "textFormat", "useValueForTime"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def without_plugins_own(board: dict[str, Any]) -> dict[str, Any]:
    """Leave out what no type describes."""
    board = copy.deepcopy(board)
    for annotation in board["annotations"]["list"]:
        for key in PLUGINS_OWN & annotation.keys():
            del annotation[key]
    return board


def expressions() -> Iterator[tuple[str, str]]:
    """Return each query of the dashboard with the name of its panel."""
    board = dashboard()
    for panel, target in targets():
        yield f"{panel['title']}: {target['legendFormat']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        if "target" in annotation:
            yield annotation["name"], annotation["target"]["expr"]


def targets() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each query of the panels, with its panel."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel, target


def sent(expression: str, interval: str = "30s") -> str:
    """Replace the variables as Grafana does."""
    known = {"$__rate_interval": "30s", "$workspace": ".*", "$instance": ".*"}
    known |= {"$__interval": interval, "$__range": "1h"}
    for name, value in known.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def type_errors(board: dict[str, Any], directory: Path) -> str:
    """Let the TypeScript compiler compare a dashboard with Grafana's types."""
    shutil.copy(HERE / "dashboard_types.ts", directory)
    text = json.dumps(without_plugins_own(board))
    (directory / "node_modules").symlink_to(need_tool("node_modules"))
    head = 'import type {Dashboard} from "./dashboard_types";\n'
    (directory / "board.ts").write_text(f"{head}export const d: Dashboard = {text};\n")
    flags = ["--strict", "--noEmit", "--skipLibCheck", "--ignoreConfig"]
    flags += ["--moduleResolution", "bundler", "--module", "esnext"]
    tsc = PARTS / "node_modules/.bin/tsc"
    return run(
        tsc, *flags, "--target", "es2022", "board.ts", cwd=directory, ok=(0, 1, 2)
    ).stdout


def lost_keys(board: dict[str, Any]) -> list[str]:
    """Let the official SDK read a dashboard, and name what it does not know."""
    script = HERE / "dashboard_roundtrip.py"
    text = json.dumps(without_plugins_own(board))
    lost: list[str] = json.loads(
        run(need_tool("venv/bin/python"), script, stdin=text).stdout
    )
    # Newer than the model; the types know it.
    return [key for key in lost if not key.endswith(".builtIn")]


def test_everything_asked_for_is_on_the_dashboard() -> None:
    """The panels, variables and annotations that an operator expects are there."""
    board = dashboard()
    asked = " ".join(expression for _, expression in expressions())
    kinds = {panel["type"] for panel in board["panels"]}
    titles = {panel["title"] for panel in board["panels"]}

    assert "Dry run" in titles
    assert {v["name"] for v in board["templating"]["list"]} == {
        *("datasource", "workspace", "instance")
    }
    assert [a["name"] for a in board["annotations"]["list"]][1:] == [
        *("Rules reloaded", "Rules rejected", "Paused", "Rule promoted or demoted")
    ]
    assert {"stat", "timeseries", "gauge", "state-timeline", "table"} <= kinds
    assert 'ALERTS{alertname=~"Triaged.+", alertstate="firing"' in asked
    for name in ("observed_total", "rule_false_positives_total", "rule_mode"):
        assert f"triaged_{name}" in asked
    for name in ("minute_limit", "dry_run", "internal_errors_total"):
        assert f"triaged_{name}" in asked
    for name in ("dismissals_total", "tasks_left", "tasks_pending", "breaker_open"):
        assert f"triaged_{name}" in asked
    for name in ("workspaces", "cycle_lateness_seconds_bucket", "fenced_total"):
        assert f"triaged_{name}{{" in asked
    for name in ("leases_lost_total", "rule_changes_total"):
        assert f"triaged_{name}{{" in asked
    for name in ("quota_remaining", "api_rate_limited_total", "poll_interval_seconds"):
        assert f"triaged_{name}" in asked


def test_panels_do_not_overlap() -> None:
    """No panel covers another, and none is wider than the grid."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_query_heeds_the_variables() -> None:
    """A query that ignored the chosen workspace would show another one's state."""
    for name, expression in expressions():
        selectors = re.findall(r"\{[^}]*\}", expression)

        assert selectors, name
        assert all("$instance" in selector for selector in selectors), name
        of_the_process = any(part in expression for part in OF_THE_PROCESS)
        assert "$workspace" in expression or of_the_process, name


def test_what_shows_the_present_is_asked_of_the_present() -> None:
    """Stats, gauges and tables are instant: none shows a value that is long gone."""
    for panel, target in targets():
        is_of_now = panel["type"] in {"stat", "gauge", "bargauge", "table"}

        assert target.get("instant", False) is is_of_now, panel["title"]


def test_no_data_is_red() -> None:
    """A stat or gauge without data says so, in red; it never keeps its last colour."""
    for panel, target in targets():
        if panel["type"] not in {"stat", "gauge"}:
            continue
        field = panel["fieldConfig"]
        overrides = [
            prop["value"]
            for override in field["overrides"]
            if override["matcher"]["options"] == target["legendFormat"]
            for prop in override["properties"]
            if prop["id"] == "mappings"
        ]

        assert target["expr"].endswith(NO_DATA), panel["title"]
        for (mapping,) in [field["defaults"]["mappings"], *overrides]:
            shown = mapping["options"]["-1"]
            assert (shown["text"], shown["color"]) == ("no data", "red")
        assert field["defaults"]["thresholds"]["steps"][0]["color"] == "red"


def test_events_are_counted_per_interval() -> None:
    """Bars show the increase over their own width, which has a minimum."""
    for panel, target in targets():
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if custom.get("drawStyle") == "bars" and "_total{" in target["expr"]:
            assert "[$__interval]" in target["expr"], panel["title"]
            assert target["interval"] == "30m", panel["title"]


@pytest.mark.deploy
def test_twenty_dismissals_show_as_twenty(tmp_path: Path) -> None:
    """Scraped every 30 s, 20 dismissals of one moment are one bar of 20."""
    (expression,) = [
        target["expr"]
        for panel, target in targets()
        if panel["title"] == "Dismissals by rule and reason"
    ]
    labels = 'rule="r", reason="testing"'
    series = f'triaged_dismissals_total{{workspace="w", instance="i", {labels}}}'
    values = "7x150 27x300"  # they come after 75 minutes
    case = {
        "interval": "30s",
        "input_series": [{"series": series, "values": values}],
        "promql_expr_test": [
            {
                "expr": sent(expression, "30m"),
                "eval_time": f"{minutes}m10s",
                "exp_samples": [{"labels": f"{{{labels}}}", "value": shown}],
            }
            for minutes, shown in ((30, 0), (60, 0), (90, 20), (120, 0), (150, 0))
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(json.dumps({"rule_files": [], "tests": [case]}))

    run(need_program("promtool"), "test", "rules", path)


def test_provisioning_names_what_is_there() -> None:
    """The provisioning files are of the version Grafana reads, and name one source."""
    directory = DEPLOY / "grafana/provisioning"
    sources = load_yaml(directory / "datasources/prometheus.yaml")
    boards = load_yaml(directory / "dashboards/triaged.yaml")
    (source,) = sources["datasources"]
    chosen = dashboard()["templating"]["list"][0]

    assert sources["apiVersion"] == boards["apiVersion"] == 1
    assert source["type"] == chosen["query"] == "prometheus"
    assert source["uid"] == chosen["current"]["value"]
    assert boards["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"


@pytest.mark.deploy
def test_it_is_of_grafanas_types(tmp_path: Path) -> None:
    """The official types find no unknown key and no wrong value."""
    assert type_errors(dashboard(), tmp_path) == ""


@pytest.mark.deploy
def test_the_types_would_find_a_typo(tmp_path: Path) -> None:
    """The check above is worth something: an unknown key in a panel is found."""
    board = dashboard()
    board["panels"][1]["descriptoin"] = "x"

    assert "descriptoin" in type_errors(board, tmp_path)


@pytest.mark.deploy
def test_the_official_model_knows_every_key() -> None:
    """Read into the SDK's model and written again, nothing is lost."""
    assert lost_keys(dashboard()) == []


@pytest.mark.deploy
def test_the_model_would_find_a_typo_in_a_query() -> None:
    """The check above is worth something: an unknown key in a query is found."""
    board = dashboard()
    board["panels"][1]["targets"][0]["exprr"] = "x"

    assert lost_keys(board) == [".panels[1].targets[0].exprr"]


@pytest.mark.deploy
@pytest.mark.parametrize(
    "expression",
    [pytest.param(expression, id=name) for name, expression in expressions()],
)
def test_the_query_shows_something(stack: Stack, expression: str) -> None:
    """Asked of a real Prometheus that watches a real daemon, there is an answer."""
    asked = sent(expression)
    for condition in (" == 0", " == 1", " > 0", NO_DATA):
        # Without these it must have a value, however well everything is.
        asked = asked.removesuffix(condition)
    asked = asked.replace(" > 0)", ")")  # nothing was observed in so short a time
    promotions = "triaged_rule_changes_total"
    if promotions in asked and promotions not in stack.daemon.get("/metrics").text:
        pytest.skip("this version changes no rule's mode by itself")
    if not asked.startswith("ALERTS"):
        eventually(lambda: stack.query_range(asked), 30)


@pytest.mark.deploy
def test_firing_alerts_are_shown(stack: Stack) -> None:
    """An alert that fires is in the table, whether or not it has every label."""
    (expression,) = [e for _, e in expressions() if e.startswith("ALERTS")]
    good = stack.program.rules.read_text()
    stack.program.rules.write_text("version: 1\nrules: []\n")
    try:
        eventually(lambda: stack.query(sent(expression)), 60)
        (shown,) = stack.query(sent(expression))
    finally:
        stack.program.rules.write_text(good)

    assert shown["metric"]["alertname"] == "TriagedRulesRejected"
    assert shown["metric"]["severity"] == "warning"


@pytest.mark.deploy
def test_the_variables_have_values(stack: Stack) -> None:
    """Workspace and instance can be chosen."""
    for variable in dashboard()["templating"]["list"][1:]:
        found = re.fullmatch(
            r"label_values\((\w+)(\{.*\})?, (\w+)\)", variable["query"]["query"]
        )
        assert found is not None
        match = found[1] + sent(found[2] or "")

        assert stack.label_values(found[3], match) != []
