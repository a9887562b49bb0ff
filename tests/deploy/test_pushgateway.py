"""The variants for a Pushgateway: what they run gives a real one the metrics."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.external_tools import DEPLOY, free_port, load_yaml, need_program
from tests.e2e.harness import Program, a_listed, add, eventually
from tests.sandbox_server import running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.deploy

COMPONENT = DEPLOY / "kubernetes/kustomize/pushgateway"
WANTED = (
    r'triaged_dismissals_total\{instance="%s",job="triaged",'
    r'reason="testing",rule="clutter",workspace="default"\} 1'
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    """Run a Pushgateway that knows nothing until the test ends."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            need_program("prometheus-pushgateway"),
            f"--web.listen-address={address}",
            f"--persistence.file={tmp_path / 'gateway.data'}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: _is_ready(address), 30)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as sandbox:
        add(sandbox, [a_listed("t1")])
        yield Program(tmp_path, sandbox.api_url)


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_the_timers_unit_gives_its_metrics(
    program: Program, gateway: str, tmp_path: Path
) -> None:
    """The drop-in's command sends what the cycle wrote, and replaces the last one."""
    need_program("curl")
    state = tmp_path / "triaged"
    state.mkdir()
    text = (DEPLOY / "systemd/pushgateway.conf").read_text().replace("\\\n", " ")
    (command,) = re.findall(r"^ExecStopPost=-(.+)$", text, re.MULTILINE)
    for name, value in (("%S", tmp_path), ("%H", "here"), ("${PUSHGATEWAY}", gateway)):
        command = command.replace(name, str(value))
    for _ in range(2):
        program.run("run", "--once", "--metrics-file", str(state / "metrics.prom"))
        subprocess.run(command.split(), check=True)

    assert re.search(WANTED % "here", httpx.get(f"{gateway}/metrics").text)


@pytest.mark.parametrize("reachable", [True, False])
def test_the_cronjobs_script_gives_its_metrics(
    program: Program, gateway: str, tmp_path: Path, *, reachable: bool
) -> None:
    """The cycle's exit code is kept, whether or not the Pushgateway answers."""
    container = containers(load_yaml(COMPONENT / "cronjob.yaml"))[0]
    script = container["args"][0].replace("/var/lib/triaged", str(tmp_path))
    address = gateway if reachable else f"http://127.0.0.1:{free_port()}"
    program.settings["PUSHGATEWAY"] = address
    program.settings["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [shutil.which("python3") or sys.executable, "-c", script],
        env=program.environ(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert container["command"] == ["python3", "-c"]
    assert done.returncode == 0, done.stderr
    assert ("was not given the metrics" in done.stderr) is not reachable
    found = re.search(WANTED % "cronjob", httpx.get(f"{gateway}/metrics").text)
    assert bool(found) is reachable


def containers(cronjob: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cronjob["spec"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]["containers"]
    return found
