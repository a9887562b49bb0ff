"""What happens to the unit under a genuine systemd; prints what was seen as JSON.

Run inside the booted system, as root, by ``test_systemd.py``.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

UNIT: Final = "triaged.service"
TRIAGED: Final = [sys.executable, "-m", "triaged"]
API: Final = "http://127.0.0.1:9465"
RULES: Final = """\
version: 1
safety: {min_age: 1m, max_share_of_pending: 1.0}
rules:
  - name: clutter
    match: {description: '^TEST'}
    dismiss: testing
"""
CONFIG: Final = Path("/etc/triaged")


def run(*command: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def show(name: str) -> str:
    """Return a property of the unit."""
    return run("systemctl", "show", "--value", "--property", name, UNIT)


def until(holds: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait until something holds; say whether it did in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)  # noqa: TID251 - another process is at work
    return False


def post(path: str, body: Any) -> None:
    """Tell the sandbox something."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        API + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).close()  # noqa: S310


def state() -> Any:
    """Ask the sandbox what it saw."""
    with urllib.request.urlopen(f"{API}/sandbox/state") as answer:  # noqa: S310
        return json.load(answer)


def tasks(*ids: str) -> dict[str, Any]:
    """Make clutter for the sandbox."""
    return {
        "tasks": [
            {
                "id": task_id,
                "type": "contact_update",
                "status": "pending",
                "description": f"TEST {task_id}",
                "created_at": "2026-01-01T00:00:00Z",
                "metadata": {},
            }
            for task_id in ids
        ]
    }


def flying() -> bool:
    """Say whether the ledger has a dismissal under way."""
    rows = json.loads(
        run(*TRIAGED, "history", "--format", "json", "--state-dir", "/var/lib/triaged")
    )
    return any(row["task_id"] == "g" for row in rows)


def journal() -> str:
    """Return the unit's log."""
    return run("journalctl", "--no-pager", "--output", "cat", "--unit", UNIT)


def main() -> None:  # noqa: PLR0915 - one story, told in order
    """Walk through the life of the unit."""
    CONFIG.mkdir(exist_ok=True)
    (CONFIG / "rules.yaml").write_text(RULES)
    (CONFIG / "api-key").write_text("wbk_systemd_secret\n")
    (CONFIG / "api-key").chmod(0o600)
    (CONFIG / "triaged.env").write_text(
        f"TRIAGED_API_URL={API}/functions/v1/api-gateway\n"
        "TRIAGED_INTERVAL=1s\nTRIAGED_RATE_LIMIT=1000/1m\nTRIAGED_DAILY_LIMIT=100000\n"
    )
    sandbox = subprocess.Popen(
        [*TRIAGED, "sandbox", "--tasks", "0", "--plan", "unlimited"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sandbox.stdout is not None
    sandbox.stdout.readline()
    seen: dict[str, Any] = {}
    post("/sandbox/tasks", tasks("a", "b"))
    seen["start"] = run("systemctl", "start", UNIT)
    seen["active"] = show("ActiveState")
    seen["dismissed"] = until(lambda: state()["tasks"]["dismissed"] == 2)
    seen["status"] = until(lambda: "calls left" in show("StatusText"))
    seen["status_text"] = show("StatusText")
    seen["user"] = run("stat", "-c", "%U", f"/proc/{show('MainPID')}")

    (CONFIG / "rules.yaml").write_text("version: 1\nrules: []\n")
    run("systemctl", "reload", UNIT)
    seen["bad_reload"] = until(lambda: "rules.rejected" in journal())
    seen["active_after_bad_reload"] = show("ActiveState")
    (CONFIG / "rules.yaml").write_text(RULES + "# better\n")
    run("systemctl", "reload", UNIT)
    seen["good_reload"] = until(lambda: "rules.reloaded" in journal())

    post("/sandbox/faults", {"faults": ["dismiss:slow-after=3:4"]})
    post("/sandbox/tasks", tasks("c", "d", "e", "f"))
    until(lambda: state()["tasks"]["dismissed"] > 2)
    run("systemctl", "kill", "--signal=KILL", UNIT)
    seen["restarted"] = until(lambda: show("NRestarts") == "1", 40)
    seen["settled"] = until(lambda: state()["tasks"]["pending"] == 0)
    seen["times"] = [effect["times"] for effect in state()["effects"]]

    run("systemctl", "kill", "--signal=STOP", UNIT)
    seen["watchdog"] = until(lambda: int(show("NRestarts")) >= 2, 60)
    seen["active_again"] = until(lambda: show("ActiveState") == "active")

    until(lambda: state()["tasks"]["pending"] == 0)
    post("/sandbox/faults", {"faults": ["dismiss:slow=2:8"]})
    post("/sandbox/tasks", tasks("g"))
    until(lambda: "dismiss" in state()["calls"] and bool(flying()), 10)
    run("systemctl", "stop", UNIT)
    seen["stop_result"] = show("Result")
    seen["history"] = json.loads(
        run(*TRIAGED, "history", "--format", "json", "--state-dir", "/var/lib/triaged")
    )
    seen["effects"] = sorted(effect["task_id"] for effect in state()["effects"])

    (CONFIG / "api-key").write_text("not_a_key\n")
    run("systemctl", "start", UNIT)
    seen["key_refused"] = until(lambda: show("ActiveState") == "failed")
    seen["exit_code"] = show("ExecMainStatus")
    restarts = show("NRestarts")
    seen["not_restarted"] = not until(lambda: show("NRestarts") != restarts, 12)
    seen["secret_in_journal"] = "wbk_systemd_secret" in journal()
    sandbox.terminate()
    print(json.dumps(seen))  # noqa: T201 - this is its answer


if __name__ == "__main__":
    main()
