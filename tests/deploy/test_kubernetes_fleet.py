"""The chart with several daemons, with PostgreSQL and with a fleet."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.external_tools import DEPLOY, ROOT, load_yaml
from tests.deploy.manifests import ask_helm, pod_of, rendered
from tests.deploy.stack import RULES_FILE

pytestmark = pytest.mark.deploy

URL = "postgresql://triaged@db.example:6432/triaged"
FILES = {"fleet.yaml": "version: 1\nworkspaces: []\n", "base.yaml": "version: 1\n"}
NOTES = "triaged/templates/NOTES.txt"


def fleet_values() -> dict[str, Any]:
    """Return the values that the README offers for a fleet on PostgreSQL."""
    values: dict[str, Any] = load_yaml(DEPLOY / "kubernetes/fleet.values.yaml")
    return values


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a container."""
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"replicas": 3}, "replicas above 1"),
        ({"replicas": 3, "fleet": {"files": FILES}}, "replicas above 1"),
        ({"autoscaling": {"enabled": True}}, "autoscaling"),
        (
            {
                "replicas": 9,
                "ledgerUrl": URL,
                "autoscaling": {"enabled": True, "maxReplicas": 6},
            },
            "maxReplicas",
        ),
        (
            {"replicas": 0, "ledgerUrl": URL, "autoscaling": {"enabled": True}},
            "replicas of 1",
        ),
        (
            {"ledgerUrl": URL, "settings": {"TRIAGED_LEDGER_URL": URL}},
            "not both",
        ),
        ({"ledgerSecret": "x"}, "needs ledgerUrl"),
        ({"fleet": {"keysSecret": "keys"}}, "needs fleet.files"),
        ({"fleet": {"files": {"base.yaml": "version: 1"}}}, "needs fleet.yaml"),
        ({"flavour": "cronjob", "fleet": {"files": FILES}}, "flavour: deployment"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], why: str) -> None:
    """Two daemons on one file, and the like: Helm says why and makes nothing."""
    error = ask_helm(values)["error"]

    assert error is not None
    assert why in error


@pytest.mark.parametrize("url", ["ledgerUrl", "settings"])
def test_several_daemons_roll_and_spread(url: str) -> None:
    """On PostgreSQL they overlap, one at a time may go, and nodes share them."""
    given = {"TRIAGED_LEDGER_URL": URL} if url == "settings" else {}
    objects = rendered(
        replicas=3, ledgerUrl="" if given else URL, settings=given, persistence={}
    )
    deployment = objects["Deployment/triaged"]["spec"]
    selector = deployment["selector"]["matchLabels"]
    spread = pod_of(objects)["topologySpreadConstraints"]
    budget = objects["PodDisruptionBudget/triaged"]["spec"]

    assert deployment["replicas"] == 3
    assert deployment["strategy"]["type"] == "RollingUpdate"
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == selector
    assert [each["topologyKey"] for each in spread] == [
        *("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
    assert all(each["labelSelector"]["matchLabels"] == selector for each in spread)


def test_the_ledgers_place_follows_its_url() -> None:
    """With PostgreSQL there is no volume to wait for, and its port may be reached."""
    objects = rendered(replicas=2, ledgerUrl=URL)
    (container,) = pod_of(objects)["containers"]
    volumes = {each["name"]: each for each in pod_of(objects)["volumes"]}
    egress = objects["NetworkPolicy/triaged"]["spec"]["egress"]

    assert variables(container)["TRIAGED_LEDGER_URL"] == URL
    assert "emptyDir" in volumes["ledger"]
    assert not [name for name in objects if name.startswith("PersistentVolumeClaim")]
    assert {"port": 6432, "protocol": "TCP"} in egress[-1]["ports"]
    assert "PersistentVolumeClaim/triaged-ledger" in rendered()


def test_operators_may_spread_pods_otherwise() -> None:
    """Constraints of one's own replace the chart's."""
    own = [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]

    pod = pod_of(rendered(ledgerUrl=URL, topologySpreadConstraints=own))
    assert pod["topologySpreadConstraints"] == own
    assert "topologySpreadConstraints" not in pod_of(rendered())


def test_the_password_file_is_private(tmp_path: Path) -> None:
    """What the pod runs before the daemon makes a file that libpq does not ignore."""
    pod = pod_of(rendered(**fleet_values()))
    (container,) = pod["containers"]
    (first,) = pod["initContainers"]
    mounts = {each["name"]: each["mountPath"] for each in first["volumeMounts"]}
    given, copy = mounts["ledger-secret"], mounts["ledger-secret-copy"]
    *command, script = first["command"]
    for path in (given, copy):
        (tmp_path / path[1:]).mkdir(parents=True)
        script = script.replace(f'"{path}', f'"{tmp_path}{path}')
    version = tmp_path / given[1:] / "..version"  # as the kubelet mounts it
    version.mkdir()
    (version / "pgpass").write_text("db:5432:triaged:triaged:x\n")
    (version / "ca.crt").write_text("certificate")
    for name in ("pgpass", "ca.crt"):
        (version.parent / name).symlink_to(f"..version/{name}")
    for _ in range(2):  # a pod that is started again finds its copy
        subprocess.run([sys.executable, "-c", script], check=True)
    made = tmp_path / variables(container)["PGPASSFILE"][1:]

    assert command == ["python3", "-c"]
    assert made.read_text() == "db:5432:triaged:triaged:x\n"
    assert made.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in made.parent.iterdir()) == ["ca.crt", "pgpass"]
    assert f"sslrootcert={copy}/ca.crt" in variables(container)["TRIAGED_LEDGER_URL"]
    assert first["image"] == container["image"]


def test_a_fleet_comes_from_a_config_map_and_a_secret_of_keys() -> None:
    """Its files and its keys are two directories; the fleet files name the keys."""
    values = fleet_values()
    objects = rendered(**values)
    (container,) = pod_of(objects)["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod_of(objects)["volumes"]}
    environ = variables(container)
    files = values["fleet"]["files"]
    keys = re.findall(r"key: \{file: (\S+)/\w+\}", files["fleet.yaml"])

    assert objects["ConfigMap/triaged-fleet"]["data"] == files
    assert "ConfigMap/triaged-rules" not in objects
    assert environ["TRIAGED_FLEET"] == mounts["rules"]
    assert "TRIAGED_WORKSPACE" not in environ
    assert volumes["rules"]["configMap"]["name"] == "triaged-fleet"
    assert volumes["api-key"]["secret"]["secretName"] == "triaged-keys"
    assert set(keys) == {mounts["api-key"]}


def test_a_fleet_of_one_daemon_keeps_its_volume() -> None:
    """A fleet needs no database: without one its ledger is the file."""
    objects = rendered(fleet={"files": FILES, "keysSecret": "keys"})

    assert objects["Deployment/triaged"]["spec"]["strategy"] == {"type": "Recreate"}
    assert "PersistentVolumeClaim/triaged-ledger" in objects
    assert "initContainers" not in pod_of(objects)


def test_the_autoscaler_is_off_and_asks_for_what_the_adapter_serves() -> None:
    """It scales by the metric that the adapter makes of a recording rule."""
    values = {**fleet_values(), "autoscaling": {"enabled": True}}
    objects = rendered(**values)
    scaler = objects["HorizontalPodAutoscaler/triaged"]["spec"]
    (metric,) = scaler["metrics"]
    (rule,) = load_yaml(DEPLOY / "kubernetes/prometheus-adapter.yaml")["rules"][
        "external"
    ]
    recorded = {
        each.get("record")
        for group in load_yaml(RULES_FILE)["groups"]
        for each in group["rules"]
    }

    assert scaler["scaleTargetRef"]["name"] == "triaged"
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 6)
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    assert rule["seriesQuery"].partition("{")[0] in recorded
    assert "replicas" not in objects["Deployment/triaged"]["spec"]
    assert "HorizontalPodAutoscaler/triaged" not in rendered(**fleet_values())


def test_the_image_can_use_postgresql() -> None:
    """What the image installs has the driver, which is an extra elsewhere."""
    build = (DEPLOY / "container/Containerfile").read_text()
    (lock,) = re.findall(r"--require-hashes -r (requirements\S*\.lock)", build)
    pinned = (ROOT / lock).read_text()

    assert re.search(r"^psycopg==", pinned, re.MULTILINE)
    assert re.search(r"^psycopg-binary==", pinned, re.MULTILINE)


def test_the_notes_fit_what_was_installed() -> None:
    """They name the Secrets, and warn where several daemons poll one workspace."""
    fleet = ask_helm(fleet_values())["manifests"][NOTES]
    alone = ask_helm({"replicas": 2, "ledgerUrl": URL})["manifests"][NOTES]

    assert "generic triaged-keys --from-file=DIRECTORY" in fleet
    assert "generic triaged-ledger --from-file=pgpass=FILE" in fleet
    assert "triaged history --all" in fleet
    assert "triaged ledger init" in fleet
    assert "WARNING" not in fleet
    assert "WARNING: without fleet.files each of the 2 daemons" in alone
