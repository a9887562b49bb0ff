"""A machine that genuine systemd has booted, with triaged installed on it."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.deploy.external_tools import (
    DEPLOY,
    HERE,
    ROOT,
    Completed,
    need_program,
    need_root,
    run,
)
from tests.e2e.harness import RULES, eventually

KEY: Final = "wbk_machine"
SANDBOX: Final = "http://127.0.0.1:9465"
_STATE: Final = "/var/lib/triaged"

_TARGET: Final = """
[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
"""

_SANDBOX_UNIT: Final = f"""
[Service]
ExecStart=/opt/triaged/venv/bin/triaged sandbox --tasks 0 --plan unlimited --key {KEY}
"""

_ENVIRONMENT: Final = f"""
TRIAGED_API_URL={SANDBOX}/functions/v1/api-gateway
TRIAGED_POLL_INTERVAL=1s
TRIAGED_RATE_LIMIT=10000/1m
TRIAGED_DAILY_LIMIT=100000
"""

# The unit's own times are for production; a test cannot wait a minute for a stuck loop.
_QUICK: Final = """
[Service]
WatchdogSec=3s
RestartSec=100ms
"""

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class SystemdMachine:
    """Runs commands on the machine; nothing of it survives the test."""

    pid: str

    def run(self, *command: str, ok: tuple[int, ...] = (0,), stdin: str = "") -> str:
        """Run a command as root and return what it printed."""
        return self.finish(*command, ok=ok, stdin=stdin).stdout

    def finish(
        self, *command: str, ok: tuple[int, ...] = (0,), stdin: str = ""
    ) -> Completed:
        """Run a command as root to its end."""
        inside = ["nsenter", "-t", self.pid, "-m", "-p", "-C", "-u", "-i", "-n"]
        # Its own programs, not those of an environment that is active outside.
        return run(*inside, "env", _PATH, *command, ok=ok, stdin=stdin)

    def show(self, name: str, unit: str = "triaged.service") -> str:
        """Return one property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def get(self, path: str) -> str:
        """Ask the daemon for a page."""
        return self.run("curl", "-sS", "--max-time", "5", f"127.0.0.1:9464{path}")

    def state(self) -> Any:
        """Return the state of the sandbox."""
        return json.loads(self.run("curl", "-sS", f"{SANDBOX}/sandbox/state"))

    def tell(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change something in the sandbox."""
        text = json.dumps(body)
        return json.loads(self.run("curl", "-sS", "-d", text, f"{SANDBOX}{path}"))

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        self.run("tee", path, stdin=text)

    def history(self) -> dict[str, list[str]]:
        """Return the outcomes in the ledger by task, by a command beside the daemon."""
        text = self.run("triaged", "history", "--format", "json")
        found: dict[str, list[str]] = {}
        for row in json.loads(text):
            found.setdefault(row["task_id"], []).append(row["outcome"])
        return found

    def follow(self, block: str, stdin: str = "") -> None:
        """Run a block of the operators' page from the project's root."""
        self.run("sh", "-ec", f"cd /root/source\n{block}", stdin=stdin)

    def journal(self) -> str:
        """Return what the daemon logged."""
        return self.run("journalctl", "-u", "triaged", "-o", "cat", "--no-pager")

    def reset(self) -> None:
        """Put everything back to how it was after installation."""
        self.run("systemctl", "stop", "triaged", ok=(0, 1))
        self.run("systemctl", "reset-failed", ok=(0, 1))
        self.run("systemctl", "restart", "sandbox")
        self.run("rm", "-rf", _STATE, "/var/lib/private/triaged")
        self.write("/etc/triaged/rules.yaml", RULES)
        self.write("/etc/triaged/api-key", KEY)
        self.write("/etc/triaged/triaged.env", _ENVIRONMENT)
        eventually(
            lambda: self.finish("curl", "-sS", SANDBOX, ok=(0, 7)).returncode == 0
        )


@contextmanager
def booted(installed: Path, directory: Path) -> Iterator[SystemdMachine]:
    """Boot a machine that has the product, and switch it off at the end."""
    need_root()
    need_program("nsenter")
    need_program("curl")
    if not Path("/lib/systemd/systemd").exists():
        need_program("/lib/systemd/systemd")
    payload = _payload(installed, directory)
    running = subprocess.Popen(
        [HERE / "with_systemd.sh", payload, "sh", "-c", "echo $MACHINE_PID; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SYSTEMD_LOG": f"{directory}/log",
        },
        text=True,
    )
    with running:
        assert running.stdin is not None
        assert running.stdout is not None
        pid = running.stdout.readline().strip()
        assert pid, "systemd did not start"
        yield SystemdMachine(pid)
        running.stdin.close()
        running.wait(30)


def _payload(installed: Path, directory: Path) -> Path:
    payload = directory / "payload"
    units, etc = payload / "etc/systemd/system", payload / "etc/triaged"
    quick = units / "triaged.service.d"
    quick.mkdir(parents=True)
    etc.mkdir()
    shutil.copytree(installed, payload / "opt/triaged/venv", symlinks=True)
    for unit in (DEPLOY / "systemd").glob("*.*"):
        shutil.copy(unit, units)
    (payload / "usr/local/bin").mkdir(parents=True)
    shutil.copy(DEPLOY / "systemd/triaged", payload / "usr/local/bin")
    source = payload / "root/source"
    shutil.copytree(DEPLOY / "systemd", source / "deploy/systemd")
    shutil.copy(ROOT / "rules.example.yaml", source)
    (units / "test.target").write_text(_TARGET)
    (units / "sandbox.service").write_text(_SANDBOX_UNIT)
    (quick / "quick.conf").write_text(_QUICK)
    (etc / "triaged.env").write_text(_ENVIRONMENT)
    (etc / "api-key").touch(mode=0o600)
    return payload
