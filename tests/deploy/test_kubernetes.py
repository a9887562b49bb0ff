"""Manifests and chart: valid, alike, restricted.

There is no cluster here: schemas of several versions judge the objects.
"""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.external_tools import (
    DEPLOY,
    HERE,
    load_yaml,
    need_program,
    need_tool,
    run,
)
from tests.deploy.manifests import (
    CHART,
    KUSTOMIZE,
    Objects,
    ask_helm,
    kustomized,
    labels_of,
    plain,
    pod_of,
    rendered,
)
from tests.deploy.stack import RULES_FILE
from triaged import __version__
from triaged.rulesfile.loader import load

pytestmark = pytest.mark.deploy

VERSIONS = ["1.25", "1.27", "1.29", "1.31", "1.33", "1.35", "1.37"]
MONITORED = {"monitoring": {"enabled": True}}
CRON = {"flavour": "cronjob"}
AUTOSCALED = {"autoscaling": {"enabled": True}}
EVERYTHING: dict[str, Any] = {
    "settings": {
        "HTTPS_PROXY": "http://proxy.internal:3128",
        "TRIAGED_API_URL": "https://gateway.internal:8443/v1",
        "TRIAGED_LEDGER_URL": "postgresql://db.internal/triaged",
        "TRIAGED_LISTEN": "[::]:8080",
    },
    "extraEnv": [
        {
            "name": "ALL_PROXY",
            "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}},
        },
        {"name": "all_proxy", "value": "socks5://proxy.internal"},
    ],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "podAnnotations": {"example.com/team": "crm"},
    "imagePullSecrets": [{"name": "registry"}],
    "networkPolicy": {"extraEgress": [{"ports": [{"port": 587, "protocol": "TCP"}]}]},
}


def write(directory: Path, objects: Objects) -> Path:
    """Write objects as one file of YAML documents, without those of the operator."""
    path = directory / "objects.yaml"
    known = [o for o in objects.values() if "coreos" not in o["apiVersion"]]
    path.write_text(yaml.safe_dump_all(known))
    return path


def fleet_values() -> dict[str, Any]:
    """Return the values that the README offers for a fleet on PostgreSQL."""
    values: dict[str, Any] = load_yaml(DEPLOY / "kubernetes/fleet.values.yaml")
    return values


@functools.cache
def everything() -> dict[str, Objects]:
    """Return each set of objects that this project offers."""
    return {
        "kustomize base": kustomized(KUSTOMIZE / "base"),
        "kustomize cronjob": kustomized(KUSTOMIZE / "cronjob"),
        "kustomize pushgateway": kustomized(KUSTOMIZE / "pushgateway"),
        "kustomize example": kustomized(KUSTOMIZE / "example"),
        "chart": rendered(**MONITORED),
        "chart cronjob": rendered(**CRON),
        "chart with everything": rendered(**MONITORED, **EVERYTHING),
        "chart of a fleet": rendered(**MONITORED, **fleet_values(), **AUTOSCALED),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_objects_are_valid(version: str, tmp_path: Path) -> None:
    """The schemas of this version know every field, and ask for no other."""
    validate = need_tool("venv/bin/kubernetes-validate")

    for objects in everything().values():
        run(validate, "--strict", "-k", version, write(tmp_path, objects))


def test_kustomize_and_helm_make_the_same_daemon() -> None:
    """Base with monitoring and chart with monitoring are the same objects."""
    base = kustomized(KUSTOMIZE / "example")
    # What the example adds: a namespace, an image and one more setting.
    chart = rendered(
        **MONITORED,
        image={"repository": "registry.internal/triaged"},
        settings={"TRIAGED_API_PLAN": "pro"},
    )
    for each in (*base.values(), *chart.values()):
        each["metadata"].pop("namespace", None)
    for objects in (base, chart):
        pod_of(objects)["containers"][0]["env"].sort(key=lambda env: env["name"])

    assert plain(base) == plain(chart)


def test_kustomize_and_helm_make_the_same_cronjob() -> None:
    """The CronJob flavours are the same objects too."""
    assert plain(kustomized(KUSTOMIZE / "cronjob")) == plain(rendered(**CRON))


def test_without_the_switch_there_is_no_monitoring() -> None:
    """A cluster without the operator gets no object that it does not know."""
    assert plain(kustomized(KUSTOMIZE / "base")) == plain(rendered())
    assert not [o for o in rendered().values() if "coreos" in o["apiVersion"]]


def test_pods_meet_the_restricted_standard() -> None:
    """Every pod is what the restricted Pod Security Standard asks for, and more."""
    for name, objects in everything().items():
        pod = pod_of(objects)
        (container,) = pod["containers"]
        kinds = {next(key for key in v if key != "name") for v in pod["volumes"]}

        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in (container, *pod.get("initContainers", ())):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
        assert kinds <= {"configMap", "secret", "persistentVolumeClaim", "emptyDir"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["automountServiceAccountToken"] is False


def test_one_daemon_at_a_time_and_time_to_drain() -> None:
    """An update ends the old pod before the new one; ending may take its 70 s."""
    deployment = kustomized(KUSTOMIZE / "base")["Deployment/triaged"]["spec"]

    assert deployment["strategy"] == {"type": "Recreate"}
    assert deployment["replicas"] == 1
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] > 70


def test_the_rules_mount_can_change() -> None:
    """Rules and key are mounted as directories: by subPath they would never change."""
    for objects in everything().values():
        (container,) = pod_of(objects)["containers"]

        assert not [m for m in container["volumeMounts"] if "subPath" in m]
    assert "ConfigMap/triaged-rules" in kustomized(KUSTOMIZE / "base")


def test_the_network_policy_says_who_may_talk() -> None:
    """Out go DNS and https to outside addresses alone; in comes Prometheus."""
    policy = kustomized(KUSTOMIZE / "base")["NetworkPolicy/triaged"]["spec"]
    ports = {p["port"] for way in policy["egress"] for p in way["ports"]}

    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["podSelector"]["matchLabels"]
    assert ports == {53, 443}
    assert [way["ports"] for way in policy["ingress"]] == [
        [{"port": "http", "protocol": "TCP"}]
    ]


def test_the_ports_follow_the_settings() -> None:
    """The pod's port is that of TRIAGED_LISTEN; what a URL names may be reached."""
    objects = rendered(**EVERYTHING)
    (container,) = pod_of(objects)["containers"]
    policy = objects["NetworkPolicy/triaged"]["spec"]
    _, internet, anywhere, extra = policy["egress"]
    ports = [[p["port"] for p in way["ports"]] for way in (internet, anywhere, extra)]

    assert [p["containerPort"] for p in container["ports"]] == [8080]
    assert [p["port"] for p in policy["ingress"][0]["ports"]] == ["http"]
    assert ports == [[443, 8443], [3128, 1080, 5432], [587]]
    assert "to" not in anywhere
    notes = ask_helm(EVERYTHING)["manifests"]["triaged/templates/NOTES.txt"]
    assert "port-forward deploy/triaged 8080" in notes


def test_the_chart_passes_on_what_operators_add() -> None:
    """Variables, annotations and pull secrets arrive in the pod as they were given."""
    template = rendered(**EVERYTHING)["Deployment/triaged"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    names = [each["name"] for each in container["env"]]

    assert template["metadata"]["annotations"] == EVERYTHING["podAnnotations"]
    assert template["spec"]["imagePullSecrets"] == EVERYTHING["imagePullSecrets"]
    assert container["env"][-2:] == EVERYTHING["extraEnv"]
    assert container["envFrom"] == EVERYTHING["extraEnvFrom"]
    assert {"HTTPS_PROXY", "TRIAGED_LISTEN", "TRIAGED_WORKSPACE"} <= set(names)


def test_the_policy_is_for_each_of_our_pods() -> None:
    """Daemon, CronJob and the pod for commands by hand are all selected."""
    manual = load_yaml(DEPLOY / "kubernetes/manual.yaml")["metadata"]["labels"]
    for name, objects in everything().items():
        wanted = objects["NetworkPolicy/triaged"]["spec"]["podSelector"]["matchLabels"]

        assert wanted.items() <= labels_of(objects).items(), name
        assert wanted.items() <= manual.items(), name


def test_the_daemons_selectors_leave_the_manual_pod_alone() -> None:
    """Neither the Deployment nor the disruption budget counts the pod by hand."""
    manual = load_yaml(DEPLOY / "kubernetes/manual.yaml")["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        for objects in (kustomized(KUSTOMIZE / "base"), rendered()):
            selector = objects[f"{kind}/triaged"]["spec"]["selector"]["matchLabels"]

            assert selector.items() <= labels_of(objects).items()
            assert not selector.items() <= manual.items()


@pytest.mark.parametrize("path", ["", "/var/lib/node-exporter"])
def test_the_cronjob_writes_its_metrics(path: str) -> None:
    """They go into the ledger's volume, or where node_exporter reads them."""
    values = {"schedule": "0 * * * *", "interval": "1h", "metricsHostPath": path}
    objects = rendered(**CRON, **MONITORED, cronjob=values)
    (container,) = pod_of(objects)["containers"]
    *command, file = container["args"]

    assert command == ["run", "--once", "--poll-interval", "1h", "--metrics-file"]
    assert Path(file).parent.as_posix() in {
        mount["mountPath"] for mount in container["volumeMounts"]
    }
    assert ("hostPath" in pod_of(objects)["volumes"][-1]) is bool(path)
    assert ("PrometheusRule/triaged" in objects) is bool(path)


def test_grafanas_sidecar_finds_the_dashboard() -> None:
    """The ConfigMap has the sidecar's label and holds the dashboard as it is."""
    text = (DEPLOY / "grafana/triaged.json").read_text()
    labels = {"dashboards": "yes"}
    monitoring = {"enabled": True, "dashboard": {"labels": labels}}
    for objects in (kustomized(KUSTOMIZE / "example"), rendered(**MONITORED)):
        found = objects["ConfigMap/triaged-dashboard"]

        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(found["data"]["triaged.json"]) == json.loads(text)
    other = rendered(monitoring=monitoring)["ConfigMap/triaged-dashboard"]
    assert labels.items() <= other["metadata"]["labels"].items()
    without = rendered(monitoring={"enabled": True, "dashboard": {"enabled": False}})
    assert "ConfigMap/triaged-dashboard" not in without


def test_the_prometheus_rule_is_the_rules_file() -> None:
    """The operator's object and the chart hold the same groups as the plain file."""
    groups = load_yaml(RULES_FILE)["groups"]
    objects = kustomized(KUSTOMIZE / "example")
    linked = rendered(monitoring={"enabled": True, "runbookBase": "/docs/"})
    alerts = [
        rule["annotations"]["runbook_url"]
        for group in linked["PrometheusRule/triaged"]["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]

    assert objects["PrometheusRule/triaged"]["spec"]["groups"] == groups
    assert (CHART / "triaged.rules.yaml").read_text() == RULES_FILE.read_text()
    assert all(url.startswith("/docs/deploy/README.md#") for url in alerts)


def test_promtool_takes_the_prometheus_rule(tmp_path: Path) -> None:
    """What the operator would hand to Prometheus passes its lint."""
    rule = rendered(**MONITORED)["PrometheusRule/triaged"]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rule["spec"]))

    run(need_program("promtool"), "check", "rules", "--lint-fatal", path)


def test_the_operators_objects_have_known_fields() -> None:
    """PodMonitor and PrometheusRule have no field beyond those their API documents."""
    schemas = load_yaml(HERE / "operator_schemas.yaml")
    objects = rendered(**MONITORED)

    for kind in ("PodMonitor", "PrometheusRule"):
        jsonschema.validate(objects[f"{kind}/triaged"]["spec"], schemas[kind])


def test_the_version_is_the_products() -> None:
    """Chart, image tag and product are of one version."""
    chart = load_yaml(CHART / "Chart.yaml")
    (container,) = pod_of(kustomized(KUSTOMIZE / "base"))["containers"]

    assert chart["appVersion"] == __version__
    assert chart["version"] == __version__
    assert container["image"] == f"triaged:{__version__}"


def test_the_rules_to_begin_with_dismiss_nothing(tmp_path: Path) -> None:
    """The ConfigMap's rules load, pass their tests, and only observe."""
    path = tmp_path / "rules.yaml"
    maps = kustomized(KUSTOMIZE / "base")["ConfigMap/triaged-rules"]
    path.write_text(maps["data"]["rules.yaml"])

    rules = load(path).ruleset.rules
    assert {rule.mode for rule in rules} == {"observe"}


@pytest.mark.parametrize(
    "text",
    [
        "  \nversion: 1\nrules: []\n",
        "# a tab\t\n\n   # aside\nversion: 1\r\n  \n\n",
        "version: 1\nx: '\u00fc \U0001f600 <&> \\ \" {{ .Release.Name }}'",
    ],
    ids=["blank first", "blanks", "letters"],
)
def test_rules_arrive_as_they_are(text: str) -> None:
    """Whatever the rules file holds, the chart's ConfigMap holds the same."""
    assert rendered(rules=text)["ConfigMap/triaged-rules"]["data"] == {
        "rules.yaml": text
    }


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"flavour": "statefulset"}, "/flavour"),
        ({"settings": {"TRIAGED_API_KEY": "wbk_secret"}}, "'TRIAGED_API_KEY'"),
        ({"settings": {"TRIAGED_POLL_INTERVAL": 5}}, "/settings/TRIAGED_POLL_INTERVAL"),
        ({"rules": "rules: []"}, "/rules"),
        ({"rulez": ""}, "'rulez'"),
        ({"persistence": {"size": "lots"}}, "/persistence/size"),
        ({"networkPolicy": {"egress": []}}, "/networkPolicy/egress"),
        ({"networkPolicy": {"egress": [{"cidr": "leadlex"}]}}, "/egress/0/cidr"),
        (
            {"settings": {"TRIAGED_LISTEN": "127.0.0.1:9464"}},
            "/settings/TRIAGED_LISTEN",
        ),
        ({"settings": {"TRIAGED_LISTEN": "[::]:0"}}, "/settings/TRIAGED_LISTEN"),
        ({"settings": {"HTTPS_PROXY": "proxy:3128"}}, "/settings/HTTPS_PROXY"),
        ({"settings": {"HTTPX_PROXY": "x"}}, "'HTTPX_PROXY'"),
        ({"extraEnv": [{"name": "TRIAGED_API_KEY", "value": "wbk_secret"}]}, "/name"),
        ({"ledgerUrl": "postgresql://triaged:wbk_secret@db/triaged"}, "a password"),
        ({"ledgerUrl": "postgresql:///triaged?password=wbk_secret"}, "a password"),
        ({"ledgerUrl": "db.example"}, "/ledgerUrl"),
        ({"replicas": -1}, "/replicas"),
        ({"settings": {"TRIAGED_FLEET": "/x"}}, "'TRIAGED_FLEET'"),
    ],
    ids=str,
)
def test_the_chart_refuses_wrong_values(values: dict[str, Any], named: str) -> None:
    """Helm names the wrong value before anything is installed."""
    error = ask_helm(values)["error"]

    assert error is not None
    assert named in error
    assert "wbk_secret" not in error


def test_the_chart_lints_and_tells_the_next_steps() -> None:
    """Lint has no warning; the notes name the Secret, the page and the ledger."""
    answer = ask_helm({"apiKey": {"existingSecret": "mine"}})
    notes = answer["manifests"]["triaged/templates/NOTES.txt"]
    cron = ask_helm(CRON)["manifests"]["triaged/templates/NOTES.txt"]

    assert [m for m in answer["lint"]["messages"] if m["severity"] > 1] == []
    assert "secret generic mine" in notes
    assert "port-forward deploy/triaged 9464" in notes
    assert "cronjob/triaged" in cron
