"""The dashboard against Grafana's own types, and its queries on a real Prometheus.

There is no Grafana here: that it looks as it should has never been seen.
"""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.external_tools import DEPLOY, HERE, PARTS, load_yaml, need_tool, run
from tests.deploy.stack import Stack
from tests.e2e.harness import eventually

DASHBOARD = DEPLOY / "grafana/triaged.json"

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
    """Give each query of the dashboard, as Grafana would send it, with its panel."""
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']}: {target['legendFormat']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        if "target" in annotation:
            yield annotation["name"], annotation["target"]["expr"]


def sent(expression: str) -> str:
    """Put in what Grafana would put in for its variables."""
    known = {"$__rate_interval": "30s", "$workspace": ".*", "$instance": ".*"}
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


def test_everything_asked_for_is_on_the_wall() -> None:
    """The panels, variables and annotations that an operator expects are there."""
    board = dashboard()
    asked = " ".join(expression for _, expression in expressions())
    kinds = {panel["type"] for panel in board["panels"]}

    assert {v["name"] for v in board["templating"]["list"]} == {
        *("datasource", "workspace", "instance")
    }
    assert [a["name"] for a in board["annotations"]["list"]][1:] == [
        *("Rules reloaded", "Rules rejected")
    ]
    assert {"stat", "timeseries", "gauge", "state-timeline"} <= kinds
    for name in ("dismissals_total", "tasks_left", "tasks_pending", "breaker_open"):
        assert f"triaged_{name}" in asked
    for name in ("quota_remaining", "rate_limited_total", "poll_interval_seconds"):
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
        assert "$workspace" in expression or "up{" in expression, name


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
@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_the_query_shows_something(stack: Stack, name: str, expression: str) -> None:
    """Asked of a real Prometheus that watches a real daemon, there is an answer."""
    asked = sent(expression)
    if name == "Rules rejected":
        # Empty as long as all is well: what it is about must be there all the same.
        asked = asked.removesuffix(" == 0")
    eventually(lambda: stack.query_range(asked), 30)


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
