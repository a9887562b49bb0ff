"""The real program in a process of its own, against a sandbox in this one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.sandbox_server import RunningSandbox

KEY: Final = "wbk_test_0123456789"
# Seconds; a machine with other work to do may take half a minute to start Python.
PATIENCE: Final = 90.0

RULES: Final = r"""
version: 1
safety: {min_age: 1m, max_share_of_pending: 1.0}
protect:
  - description: '(?i)\bboard\b'
rules:
  - name: clutter
    match: {description: '^\[TEST\]'}
    dismiss: testing
  - name: campaigns
    match: {type: campaign_start}
    leave: true
tests:
  - name: clutter goes
    task: {type: contact_update, description: '[TEST] x'}
    expect: {decision: dismiss, rule: clutter}
  - name: the rest stays
    task: {type: contact_update, description: 'merge [TEST] contacts'}
    expect: {decision: leave, cause: no_rule}
"""


def a_listed(task_id: str, description: str = "", **fields: Any) -> dict[str, Any]:
    """Return a pending task as the API lists it; clutter unless told otherwise."""
    return {
        "id": task_id,
        "type": "contact_update",
        "status": "pending",
        "description": description or f"[TEST] {task_id}",
        "created_at": "2026-01-01T00:00:00Z",
        "metadata": {},
        **fields,
    }


@dataclass
class Program:
    """How to start triaged: its directory, its settings and its rules."""

    directory: Path
    api_url: str
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules.write_text(RULES)

    @property
    def rules(self) -> Path:
        return self.directory / "rules.yaml"

    def environ(self) -> Mapping[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TRIAGED_")}
        return {
            **kept,
            "PYTHONUNBUFFERED": "1",
            "TRIAGED_API_URL": self.api_url,
            "TRIAGED_API_KEY": KEY,
            "TRIAGED_STATE_DIR": str(self.directory / "state"),
            "TRIAGED_RULES": str(self.rules),
            "TRIAGED_RATE_LIMIT": "10000/1m",
            "TRIAGED_DAILY_LIMIT": "100000",
            "TRIAGED_POLL_INTERVAL": "1s",
            "TRIAGED_LISTEN": "127.0.0.1:0",
            **self.settings,
        }

    def run(
        self, *arguments: str, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "triaged", *arguments],
            env=self.environ(),
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
            timeout=2 * PATIENCE,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON, and read it."""
        return json.loads(self.run(*arguments, "--format", "json").stdout)

    def history(self) -> dict[str, list[str]]:
        """Return the outcomes in the ledger by task."""
        found: dict[str, list[str]] = {}
        for row in self.json("history"):
            found.setdefault(row["task_id"], []).append(row["outcome"])
        return found

    @contextmanager
    def daemon(self, *arguments: str) -> Iterator["RunningDaemon"]:
        """Run the daemon while the block lasts, then kill it if it still lives."""
        process = subprocess.Popen(
            [sys.executable, "-m", "triaged", "run", *arguments],
            env=self.environ(),
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


class RunningDaemon:
    """A daemon process and the events that it logs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            event = json.loads(line) if line.startswith("{") else {"event": line}
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    def close(self) -> None:
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def wait_for(self, name: str, *, times: int = 1) -> dict[str, Any]:
        """Wait until an event was logged so often; return the last of them."""
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: len(self.named(name)) >= times, PATIENCE
            )
            assert arrived, (name, self.events)
            return self.named(name)[-1]

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return all events of a name so far."""
        return [event for event in self.events if event["event"] == name]

    def url(self) -> str:
        """Return where the daemon serves metrics, health and page."""
        return f"http://127.0.0.1:{self.wait_for('http.listening')['port']}"

    def get(self, path: str) -> httpx.Response:
        """Ask the daemon for a page."""
        return httpx.get(self.url() + path, timeout=PATIENCE)

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of the daemon's metrics."""
        for line in self.get("/metrics").text.splitlines():
            sample, _, value = line.rpartition(" ")
            wanted = all(f'{key}="{text}"' in sample for key, text in labels.items())
            if sample.partition("{")[0] == name and wanted:
                return float(value)
        raise AssertionError(f"no sample {name} {labels}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def eventually(holds: Any, seconds: float = PATIENCE) -> None:
    """Wait until something holds; other processes need their time."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, holds
        time.sleep(0.02)  # noqa: TID251 - another process is at work


def add(sandbox: RunningSandbox, tasks: Sequence[dict[str, Any]]) -> None:
    """Put tasks into the sandbox."""
    sandbox.world.store.add(tasks)
