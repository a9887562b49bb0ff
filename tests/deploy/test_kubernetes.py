"""Manifests and chart: valid, alike, restricted; and the Deployment run for real.

There is no cluster here: schemas of several versions judge the objects, and podman runs
the Deployment as it is, with the test in the place of the kubelet.
"""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.manifests import (
    CHART,
    KUSTOMIZE,
    Objects,
    ask_helm,
    kustomized,
    plain,
    pod_of,
    rendered,
)
from tests.deploy.parts import HERE, load_yaml, need_part, need_program, run
from tests.deploy.stack import RULES_FILE
from triaged import __version__
from triaged.rulesfile.loader import load

pytestmark = pytest.mark.deploy

VERSIONS = ["1.25", "1.27", "1.29", "1.31", "1.33", "1.35", "1.37"]
MONITORED = {"monitoring": {"enabled": True}}
CRON = {"flavour": "cronjob"}


def write(directory: Path, objects: Objects) -> Path:
    """Write objects as one file of YAML documents, without those of others' kinds."""
    path = directory / "objects.yaml"
    known = [o for o in objects.values() if "coreos" not in o["apiVersion"]]
    path.write_text(yaml.safe_dump_all(known))
    return path


def everything() -> dict[str, Objects]:
    """Return each set of objects that somebody could apply."""
    return {
        "kustomize base": kustomized(KUSTOMIZE / "base"),
        "kustomize cronjob": kustomized(KUSTOMIZE / "cronjob"),
        "kustomize example": kustomized(KUSTOMIZE / "example"),
        "chart": rendered(**MONITORED),
        "chart cronjob": rendered(**CRON),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_objects_are_valid(version: str, tmp_path: Path) -> None:
    """The schemas of this version know every field, and ask for no other."""
    validate = need_part("venv/bin/kubernetes-validate")

    for objects in everything().values():
        run(validate, "--strict", "-k", version, write(tmp_path, objects))


def test_kustomize_and_helm_make_the_same_daemon() -> None:
    """Base with monitoring and chart with monitoring are the same objects."""
    base = kustomized(KUSTOMIZE / "example")
    # The example's own wishes: a namespace, an image and one more setting.
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
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert kinds == {"configMap", "secret", "persistentVolumeClaim", "emptyDir"}
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
    assert (
        CHART / "triaged.rulesfile.loader.yaml"
    ).read_text() == RULES_FILE.read_text()
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
    ],
    ids=str,
)
def test_the_chart_refuses_wrong_values(values: dict[str, Any], named: str) -> None:
    """Helm says which value is wrong before anything is installed."""
    error = ask_helm(values)["error"]

    assert error is not None
    assert named in error
    assert "wbk_secret" not in error


def test_the_chart_lints_and_says_how_to_go_on() -> None:
    """Lint has no warning; the notes name the Secret, the page and the ledger."""
    answer = ask_helm({"apiKey": {"existingSecret": "mine"}})
    notes = answer["manifests"]["triaged/templates/NOTES.txt"]
    cron = ask_helm(CRON)["manifests"]["triaged/templates/NOTES.txt"]

    assert [m for m in answer["lint"]["messages"] if m["severity"] > 1] == []
    assert "secret generic mine" in notes
    assert "port-forward deploy/triaged 9464" in notes
    assert "cronjob/triaged" in cron
