"""Alert and recording rules: lint, unit tests, and real faults that are notified of."""

import re
from collections import defaultdict
from typing import Any

import pytest

from tests.deploy.external_tools import DEPLOY, HERE, load_yaml, need_program, run
from tests.deploy.stack import RULES_FILE, Stack
from tests.e2e.harness import KEY, a_listed, add, eventually
from triaged.sandbox.faults import parse_fault

README = DEPLOY / "README.md"
UNIT_TESTS = [HERE / "alerts_test.yaml", HERE / "alerts_days_test.yaml"]


def alerts() -> list[dict[str, Any]]:
    """Return all alert rules."""
    groups = load_yaml(RULES_FILE)["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_has_its_runbook(rule: dict[str, Any]) -> None:
    """Its section of the README begins with whether it can wait.

    It can: nothing is lost while tasks are left to people.  So none is critical, which
    means that a person must act at night.
    """
    anchor = f"deploy/README.md#{rule['alert'].lower()}"
    heading = f"\n### {rule['alert']}\n"
    section = README.read_text().partition(heading)[2].partition("\n### ")[0]

    assert rule["labels"]["severity"] in {"warning", "info"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == anchor
    assert section.strip().startswith("Can wait")


def test_each_alert_is_tested_both_ways() -> None:
    """Every alert has a unit test in which it fires and one in which it does not."""
    found = defaultdict(set)
    for path in UNIT_TESTS:
        for case in load_yaml(path)["tests"]:
            for test in case.get("alert_rule_test", []):
                found[test["alertname"]].add(bool(test.get("exp_alerts")))

    assert found == {rule["alert"]: {True, False} for rule in alerts()}


@pytest.mark.deploy
def test_promtool_finds_nothing() -> None:
    """Rules and configuration pass promtool's lint."""
    promtool = need_program("promtool")

    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES_FILE)
    run(promtool, "check", "config", DEPLOY / "prometheus/prometheus.yaml")


@pytest.mark.deploy
def test_the_unit_tests_of_the_rules_pass() -> None:
    """Each alert fires and stays silent as its unit tests expect."""
    run(need_program("promtool"), "test", "rules", *UNIT_TESTS)


@pytest.mark.deploy
def test_the_metrics_are_clean(stack: Stack) -> None:
    """Promtool finds nothing wrong with names, types and help of the metrics."""
    for daemon in (stack.daemon, stack.fleet):
        text = daemon.get("/metrics").text

        assert "triaged_build_info" in text
        run(need_program("promtool"), "check", "metrics", stdin=text)


@pytest.mark.deploy
def test_every_metric_in_a_rule_exists(stack: Stack) -> None:
    """No rule uses a metric that the daemon does not export."""
    text = stack.daemon.get("/metrics").text + stack.fleet.get("/metrics").text

    asked = set(re.findall(r"(?<![:\w])triaged_\w+", RULES_FILE.read_text()))
    assert {name for name in asked if name not in text} == set()


@pytest.mark.deploy
def test_a_refused_key_is_notified_and_resolved(stack: Stack) -> None:
    """A refused key reaches the webhook; a new key in the file resolves it."""
    stack.sandbox.world.faults.add(parse_fault("any:403:p=1"))
    stack.notified("TriagedKeyRefused", "firing")

    stack.sandbox.world.faults.clear()
    stack.key_file.write_text(KEY + "_rotated")

    stack.notified("TriagedKeyRefused", "resolved")


@pytest.mark.deploy
def test_unresolved_dismissals_are_notified_and_resolved(stack: Stack) -> None:
    """Dismissals cut off while lists fail are notified of; a list resolves it."""
    for fault in ("dismiss:drop-after-effect:2", "list:503:10000@2"):
        stack.sandbox.world.faults.add(parse_fault(fault))
    add(stack.sandbox, [a_listed("cut1"), a_listed("cut2")])
    stack.notified("TriagedDismissalsUnresolved", "firing")

    stack.sandbox.world.faults.clear()

    stack.notified("TriagedDismissalsUnresolved", "resolved")
    ends = stack.program.history()
    assert ends["cut1"] == ["confirmed"]
    assert ends["cut2"] == ["confirmed"]


@pytest.mark.deploy
def test_broken_rules_are_notified_and_resolved(stack: Stack) -> None:
    """A rules file that does not load reaches the webhook; a good one resolves it."""
    good = stack.program.rules.read_text()
    stack.program.rules.write_text("version: 1\nrules: []\n")
    stack.notified("TriagedRulesRejected", "firing")

    stack.program.rules.write_text(good)

    stack.notified("TriagedRulesRejected", "resolved")
    links = {alert["annotations"]["runbook_url"] for alert in stack.webhook.alerts}
    assert "deploy/README.md#triagedrulesrejected" in links


@pytest.mark.deploy
def test_all_rules_evaluate(stack: Stack) -> None:
    """Prometheus evaluates every group, and each recording rule has a value."""
    groups = load_yaml(RULES_FILE)["groups"]
    names = [r["record"] for g in groups for r in g["rules"] if "record" in r]

    for name in names:
        eventually(lambda name=name: stack.query(name), 30)
    failures = "sum(prometheus_rule_evaluation_failures_total)"
    assert all(r["value"][1] == "0" for r in stack.query(failures))
