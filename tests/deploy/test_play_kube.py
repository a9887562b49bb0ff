"""The Deployment run for real by podman, with the test in the place of the kubelet."""

import base64
import copy
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy import containers
from tests.deploy.containers import podman
from tests.deploy.external_tools import free_port, need_program
from tests.deploy.manifests import KUSTOMIZE, Objects, kustomized, pod_of
from tests.e2e.harness import KEY, RULES, a_listed, add, eventually
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.deploy

OTHER_RULES = RULES.replace("clutter", "rubbish")

# As a manifest has it; this podman mounts it so, and does not decode it.
SECRET = base64.b64encode(KEY.encode()).decode()
VOLUMES = ["triaged-rules", "triaged-ledger", "triaged-api-key"]


@dataclass
class Pod:
    """A pod that runs, and what a kubelet would do with it."""

    spec: Any
    port: int
    sandbox: RunningSandbox

    def probe(self, name: str) -> int:
        """Return the status that a probe gets; 0 without an answer."""
        get = self.spec["containers"][0][f"{name}Probe"]["httpGet"]
        assert get["port"] == "http"
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{get['path']}").status_code
        except httpx.TransportError:
            return 0

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics").text

    def change_rules(self, text: str) -> None:
        """Swap the directory behind the mount, as the kubelet does for a ConfigMap."""
        shown = podman("volume", "inspect", "-f", "{{.Mountpoint}}", "triaged-rules")
        mount = Path(shown.stdout.strip())
        version = mount / f"..{len(list(mount.iterdir()))}"
        version.mkdir()
        (version / "rules.yaml").write_text(text)
        fresh = mount / "..fresh"
        fresh.symlink_to(version.name)
        fresh.rename(mount / "..data")
        if not (mount / "rules.yaml").is_symlink():
            (mount / "rules.yaml").unlink()
            (mount / "rules.yaml").symlink_to("..data/rules.yaml")


@pytest.fixture(scope="module")
def pod(built_image: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    del built_image
    need_program("catatonit")
    settings = SandboxSettings(
        task_count=0, minute_limit=None, day_limit=None, key=SECRET
    )
    with running_sandbox(settings, SystemClock()) as sandbox:
        directory, port = tmp_path_factory.mktemp("kube"), free_port()
        objects = kustomized(overlay(directory, sandbox, port))
        manifest = directory / "objects.yaml"
        manifest.write_text(yaml.safe_dump_all(played(objects)))
        add(sandbox, [a_listed("t1"), a_listed("t2", "keep me")])
        with playing(manifest):
            yield Pod(pod_of(objects), port, sandbox)


def overlay(directory: Path, sandbox: RunningSandbox, port: int) -> Path:
    """Write what an operator would: an image, rules and settings over the base."""
    (directory / "rules.yaml").write_text(RULES)
    settings = {
        "TRIAGED_API_URL": sandbox.api_url,
        "TRIAGED_DAILY_LIMIT": "100000",
        "TRIAGED_POLL_INTERVAL": "1s",
        "TRIAGED_LISTEN": f"127.0.0.1:{port}",
        "TRIAGED_RATE_LIMIT": "10000/1m",
    }
    env = [{"name": name, "value": value} for name, value in settings.items()]
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "triaged"},
        "spec": {
            "template": {"spec": {"containers": [{"name": "triaged", "env": env}]}}
        },
    }
    name, _, tag = containers.IMAGE.rpartition(":")
    base = os.path.relpath(KUSTOMIZE / "base", directory.resolve())
    kustomization = {
        "resources": [base],
        "images": [{"name": "triaged", "newName": name, "newTag": tag}],
        "patches": [{"patch": yaml.safe_dump(patch)}],
        "configMapGenerator": [
            {"name": "triaged-rules", "behavior": "replace", "files": ["rules.yaml"]}
        ],
        "generatorOptions": {"disableNameSuffixHash": True},
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return directory


def played(objects: Objects) -> list[Any]:
    """Choose what podman knows to play, and add the Secret."""
    kinds = {"ConfigMap", "PersistentVolumeClaim", "Deployment"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "triaged-api-key"},
        "data": {"api-key": SECRET},
    }
    chosen = copy.deepcopy([o for o in objects.values() if o["kind"] in kinds])
    (container,) = pod_of({o["kind"]: o for o in chosen})["containers"]
    # On the host's network podman takes no list of ports; and this machine has no
    # controller that could hold a container to its memory.
    del container["ports"], container["resources"]
    return [secret, *chosen]


@contextmanager
def playing(manifest: Path) -> Iterator[None]:
    """Play a manifest until the block ends, and leave nothing."""
    _clear(manifest)
    podman("play", "kube", "--network=host", "--start=false", manifest, view="v1")
    _give_the_secret()
    podman("pod", "start", "triaged-pod-0", view="v1")
    try:
        yield
    finally:
        _clear(manifest)
        for controller in Path("/sys/fs/cgroup").iterdir():
            shutil.rmtree(controller / "libpod_parent", ignore_errors=True)


def _give_the_secret() -> None:
    """Do what the manifest says and this podman does not: a group and a mode."""
    shown = podman("volume", "inspect", "-f", "{{.Mountpoint}}", "triaged-api-key")
    key = Path(shown.stdout.strip()) / "api-key"
    pod = pod_of(kustomized(KUSTOMIZE / "base"))
    (secret,) = (v["secret"] for v in pod["volumes"] if "secret" in v)
    os.chown(key, 0, pod["securityContext"]["fsGroup"])
    key.chmod(secret["defaultMode"])


def _clear(manifest: Path) -> None:
    podman("play", "kube", "--down", manifest, view="v1", ok=(0, 125))
    podman("volume", "rm", "-f", *VOLUMES, ok=(0, 1))
    podman("secret", "rm", "triaged-api-key", ok=(0, 1, 125))


def test_the_pod_starts_and_gets_ready(pod: Pod) -> None:
    """All probes succeed, and the pod does its work on the sandbox."""
    for probe in ("startup", "liveness", "readiness"):
        eventually(lambda probe=probe: pod.probe(probe) == 200)

    eventually(lambda: pod.sandbox.world.store.counts()["dismissed"] == 1)


def test_it_runs_as_the_manifest_says(pod: Pod) -> None:
    """No root, no capability, no writable root; the key is in a file it can read."""
    eventually(lambda: pod.probe("startup") == 200)
    shown = containers.inspect("container", "triaged-pod-0-triaged")
    status = Path(f"/proc/{shown['State']['Pid']}/status").read_text()

    assert "Uid:\t65532\t65532" in status
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert shown["HostConfig"]["ReadonlyRootfs"] is True


def test_rules_change_under_it(pod: Pod) -> None:
    """Changed rules are in force within 15 s; broken ones never get there."""
    eventually(lambda: pod.probe("readiness") == 200)

    pod.change_rules(OTHER_RULES)
    eventually(lambda: 'rule="rubbish"' in pod.metrics(), 15)
    pod.change_rules("version: 1\nrules: []\n")
    rejected = 'triaged_config_last_reload_successful{workspace="default"} 0.0'
    eventually(lambda: rejected in pod.metrics(), 15)

    assert 'rule="rubbish"' in pod.metrics()
    assert pod.probe("liveness") == 200
    pod.change_rules(OTHER_RULES)
    eventually(lambda: rejected not in pod.metrics(), 15)


def test_readiness_and_liveness_are_not_the_same(pod: Pod) -> None:
    """While LeadLex fails the pod is not ready, but alive: no restart would help."""
    eventually(lambda: pod.probe("readiness") == 200)
    settings = {"faults": ["list:503:p=1"]}
    httpx.post(f"{pod.sandbox.url}/sandbox/faults", json=settings)

    eventually(lambda: pod.probe("readiness") == 503)
    assert pod.probe("liveness") == 200

    httpx.delete(f"{pod.sandbox.url}/sandbox/faults")
    eventually(lambda: pod.probe("readiness") == 200, 40)


def test_ending_the_pod_drains(pod: Pod) -> None:
    """SIGTERM ends it with 0, well within its grace period."""
    eventually(lambda: pod.probe("startup") == 200)
    seconds = str(pod.spec["terminationGracePeriodSeconds"])

    podman("stop", "-t", seconds, "triaged-pod-0-triaged", view="v1")

    shown = containers.inspect("container", "triaged-pod-0-triaged")
    assert shown["State"]["ExitCode"] == 0
