"""The unit under a genuine systemd, booted as PID 1 of its own namespaces."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.parts import need

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/systemd/triaged.service"
HERE = Path(__file__).parent

pytestmark = pytest.mark.deploy

VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"
TARGET = """\
[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
"""


def test_the_unit_is_sound_and_hardened(tmp_path: Path) -> None:
    """Systemd finds nothing wrong with it, and its exposure is at most 1.5."""
    need("systemd-analyze")
    text = UNIT.read_text().replace("/opt/triaged/venv/bin/triaged", "/bin/true")
    unit = tmp_path / "triaged.service"
    unit.write_text(text)
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    rate = ["systemd-analyze", "security", "--offline=true", "--threshold=15"]

    subprocess.run([*verify, str(unit)], check=True)
    subprocess.run([*rate, "--no-pager", str(unit)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Boot, walk through the scenario, and return what was seen."""
    need("unshare", "nsenter", "systemctl", "ip", "pgrep", root=True)
    payload = tmp_path_factory.mktemp("payload")
    home = payload / "opt/triaged/venv"
    make_venv(home)
    units = payload / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "test.target").write_text(TARGET)
    text = UNIT.read_text().replace("WatchdogSec=60s", "WatchdogSec=5s")
    text = text.replace("RestartSec=10s", "RestartSec=1s")
    (units / "triaged.service").write_text(text)
    shutil.copy(HERE / "systemd_scenario.py", payload / "opt/triaged/scenario.py")
    command = [str(HERE / "with_systemd.sh"), str(payload)]
    inside = ["/opt/triaged/venv/bin/python", "/opt/triaged/scenario.py"]
    done = subprocess.run(
        [*command, *inside], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def make_venv(home: Path) -> None:
    """Make an environment that works at /opt/triaged/venv, for the system's Python."""
    system = "/usr/bin/python3"
    if Path(system).exists() and Path(sys.executable).resolve() != Path(system):
        subprocess.run([system, "-m", "venv", "--without-pip", str(home)], check=True)
    else:
        venv.create(home, with_pip=False)
    packages = next((home / "lib").glob("python3*/site-packages"))
    requirements = ROOT / "requirements.lock"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages)]
    version = subprocess.run(
        [
            str(home / "bin/python"),
            "-c",
            "import sys; print('%d.%d' % sys.version_info[:2])",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    pinned = ["--python-version", version, "--only-binary=:all:", "--require-hashes"]
    subprocess.run([*pip, *pinned, "-r", str(requirements)], check=True)
    shutil.copytree(ROOT / "triaged", packages / "triaged", dirs_exist_ok=True)
    script = home / "bin/triaged"
    script.write_text(
        "#!/opt/triaged/venv/bin/python\nfrom triaged.cli import main\nmain()\n"
    )
    script.chmod(0o755)


def test_start_blocks_until_ready(seen: dict[str, Any]) -> None:
    """After start returns the unit is active, works, and is not root."""
    assert (seen["start"], seen["active"]) == ("", "active")
    assert seen["dismissed"]
    assert seen["user"] not in {"root", ""}


def test_the_status_text_says_what_it_does(seen: dict[str, Any]) -> None:
    """Systemctl status shows the next poll and the calls left."""
    assert seen["status"], seen["status_text"]
    assert seen["status_text"].startswith("next poll ")


def test_reload(seen: dict[str, Any]) -> None:
    """Bad rules are refused and the unit stays active; good ones are taken."""
    assert seen["bad_reload"]
    assert seen["active_after_bad_reload"] == "active"
    assert seen["good_reload"]


def test_kill_restarts_and_loses_nothing(seen: dict[str, Any]) -> None:
    """Killed in mid-cycle it is started again, and no task is asked for twice."""
    assert seen["restarted"]
    assert seen["settled"]
    assert set(seen["times"]) == {1}


def test_a_hung_loop_is_killed(seen: dict[str, Any]) -> None:
    """A loop that does not come round is killed by the watchdog and restarted."""
    assert seen["watchdog"]
    assert seen["active_again"]


def test_stop_drains(seen: dict[str, Any]) -> None:
    """A stop ends with success, and the ledger agrees with the server."""
    assert seen["stop_result"] == "success"
    ends = {row["task_id"]: row["outcome"] for row in seen["history"]}
    assert set(ends.values()) == {"confirmed"}
    assert sorted(ends) == seen["effects"]


def test_a_refused_key_is_not_tried_again(seen: dict[str, Any]) -> None:
    """A wrong key ends with 77, and systemd leaves it at that."""
    assert seen["key_refused"]
    assert seen["exit_code"] == "77"
    assert seen["not_restarted"]


def test_the_key_is_not_in_the_journal(seen: dict[str, Any]) -> None:
    """Whatever happened, the key was never logged."""
    assert not seen["secret_in_journal"]
