"""Volumes as a kubelet makes them, which podman does not: owners, modes, swapped links.

The daemon is started as the Deployment's user, without capabilities, on directories
that look as the kubelet leaves them: a volume of the fsGroup, a Secret of root's that
only the group may read, and links that are swapped when something changes.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.external_tools import DEPLOY, need_program, need_root
from tests.deploy.manifests import KUSTOMIZE, kustomized, pod_of
from tests.e2e.harness import RULES, RunningDaemon, a_listed, add, eventually
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.faults import parse_fault
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.deploy


@dataclass(frozen=True)
class Mounted:
    """A directory of files that is changed as the kubelet changes it."""

    path: Path
    group: int
    mode: int

    def __post_init__(self) -> None:
        self.path.mkdir()
        self._give(self.path, 0o3777)

    def write(self, name: str, text: str) -> None:
        """Write into a new directory, then point to it in one step."""
        version = self.path / f"..{len([*self.path.iterdir()])}"
        version.mkdir()
        self._give(version, 0o2755)
        (version / name).write_text(text)
        self._give(version / name, self.mode)
        fresh = self.path / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.rename(self.path / "..data")
        if not (self.path / name).is_symlink():
            (self.path / name).symlink_to(f"..data/{name}")

    def _give(self, path: Path, mode: int) -> None:
        os.chown(path, 0, self.group)
        path.chmod(mode)


@dataclass(frozen=True)
class Node:
    """The node that a pod of the base runs on, with its volumes."""

    pod: Any
    directory: Path
    sandbox: RunningSandbox
    rules: Mounted
    api_key: Mounted

    @property
    def ledger(self) -> Path:
        return self.directory / "ledger"

    @contextmanager
    def daemon(self) -> Iterator[RunningDaemon]:
        """Run the daemon as the pod's user until the block ends."""
        process = subprocess.Popen(
            self._python("-m", "triaged", *self.pod["containers"][0]["args"]),
            cwd="/",
            env=self._environ(),
            stderr=subprocess.PIPE,
            text=True,
        )
        daemon = RunningDaemon(process)
        try:
            yield daemon
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            daemon.close()

    def execute(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run Python as the pod's user, as ``kubectl exec`` does."""
        return subprocess.run(
            self._python(*words),
            cwd="/",
            env=self._environ(),
            input=stdin,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout

    def _python(self, *words: str) -> list[str]:
        context = self.pod["securityContext"]
        return [
            need_program("setpriv"),
            f"--reuid={context['runAsUser']}",
            f"--regid={context['runAsGroup']}",
            f"--groups={context['fsGroup']}",
            *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *(str(self.directory / "venv/bin/python"), *words),
        ]

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "TRIAGED_API_KEY_FILE": str(self.api_key.path / "api-key"),
            "TRIAGED_API_URL": self.sandbox.api_url,
            "TRIAGED_DAILY_LIMIT": "100000",
            "TRIAGED_POLL_INTERVAL": "1s",
            "TRIAGED_LISTEN": "127.0.0.1:0",
            "TRIAGED_LOG_FORMAT": "json",
            "TRIAGED_RATE_LIMIT": "10000/1m",
            "TRIAGED_RULES": str(self.rules.path / "rules.yaml"),
            "TRIAGED_STATE_DIR": str(self.ledger),
        }


@pytest.fixture
def node(installed: Path) -> Iterator[Node]:
    """Mount what the Deployment of the base mounts."""
    need_root()
    pod = pod_of(kustomized(KUSTOMIZE / "base"))
    group = pod["securityContext"]["fsGroup"]
    modes = {
        v["name"]: v["secret"]["defaultMode"] for v in pod["volumes"] if "secret" in v
    }
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    # Not below pytest's own directory, which other users may not enter.
    with (
        tempfile.TemporaryDirectory() as name,
        running_sandbox(settings, SystemClock()) as sandbox,
    ):
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copytree(installed, directory / "venv", symlinks=True)
        made = Node(
            pod,
            directory,
            sandbox,
            rules=Mounted(directory / "rules", group, 0o644),
            api_key=Mounted(directory / "api-key", group, modes["api-key"]),
        )
        made.rules.write("rules.yaml", RULES)
        made.api_key.write("api-key", "wbk_first\n")
        made.ledger.mkdir()
        os.chown(made.ledger, 0, group)
        made.ledger.chmod(0o2775)
        yield made


def test_the_mounts_are_where_the_image_looks() -> None:
    """Rules, key and ledger are mounted where the image's environment says."""
    text = (DEPLOY / "container/Containerfile").read_text()
    paths = dict(re.findall(r"(TRIAGED_(?:RULES|API_KEY_FILE|STATE_DIR))=(\S+)", text))
    (container,) = pod_of(kustomized(KUSTOMIZE / "base"))["containers"]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}

    assert paths == {
        "TRIAGED_RULES": mounts["rules"] + "/rules.yaml",
        "TRIAGED_API_KEY_FILE": mounts["api-key"] + "/api-key",
        "TRIAGED_STATE_DIR": mounts["ledger"],
    }


def test_it_works_on_volumes_of_its_group(node: Node) -> None:
    """Group rights to volume and Secret are enough; the ledger is its own alone."""
    add(node.sandbox, [a_listed("t1")])
    with node.daemon() as daemon:
        assert daemon.wait_for("task.dismissed")["task"] == "t1"

        assert daemon.end() == 0
    modes = {each.stat().st_mode & 0o777 for each in node.ledger.iterdir()}
    assert modes == {0o600}


def test_what_the_kubelet_swaps_is_picked_up(node: Node) -> None:
    """A changed ConfigMap and a changed Secret need no restart."""
    with node.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        node.rules.write("rules.yaml", RULES.replace("clutter", "rubbish"))
        daemon.wait_for("rules.reloaded")
        node.sandbox.world.faults.add(parse_fault("list:401:1"))
        eventually(lambda: daemon.get("/readyz").status_code == 503)

        node.api_key.write("api-key", "wbk_second\n")

        daemon.wait_for("api_key.rotated")
        eventually(lambda: daemon.get("/readyz").status_code == 200)
        assert daemon.metric("triaged_api_key_accepted") == 1


def test_a_second_pod_is_refused(node: Node) -> None:
    """Of two pods on one ledger, the second ends and the first continues."""
    with node.daemon() as first:
        first.wait_for("cycle.finished")
        with node.daemon() as second:
            assert second.process.wait(20) == 1

        assert first.get("/healthz").status_code == 200


def test_the_readme_backs_up_and_restores(node: Node) -> None:
    """What a daemon's ledger held is there again after the README's commands."""
    text = (DEPLOY / "kubernetes/README.md").read_text()
    text = text.replace("/var/lib/triaged", str(node.ledger))
    backup = re.findall(r"-- (triaged backup --overwrite \S+)", text)[0].split()
    verify = re.findall(r"-- (triaged backup --verify \S+)", text)[0].split()
    (restore,) = re.findall(r"python3 -c '\n(.+?)'", text, re.DOTALL)
    add(node.sandbox, [a_listed("t1")])
    with node.daemon() as daemon:
        daemon.wait_for("task.dismissed")
        node.execute("-m", *backup)
        saved = Path(backup[-1]).read_bytes()
    for file in node.ledger.glob("ledger.sqlite3*"):
        file.write_bytes(b"broken")

    node.execute("-c", restore, stdin=saved)

    node.execute("-m", *verify)
    history = node.execute("-m", "triaged", "history", "--format", "csv")
    assert b"t1" in history
    with node.daemon() as daemon:
        daemon.wait_for("cycle.finished")
