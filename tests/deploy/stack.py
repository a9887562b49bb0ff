"""A daemon on a sandbox, watched by a real Prometheus and a real Alertmanager."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final, Self

import httpx

from tests.deploy.external_tools import DEPLOY, free_port, need_program
from tests.e2e.harness import KEY, Program, RunningDaemon, a_listed, add, eventually
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

RULES_FILE: Final = DEPLOY / "prometheus/triaged.rules.yaml"
PATIENCE: Final = 60.0

_PROMETHEUS: Final = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%(rules)s]
scrape_configs:
  - job_name: triaged
    static_configs: [{targets: ["127.0.0.1:%(triaged)s", "127.0.0.1:%(fleet)s"]}]
alerting:
  alertmanagers:
    - static_configs: [{targets: ["127.0.0.1:%(alertmanager)s"]}]
"""

_FLEET: Final = """
version: 1
workspaces:
  - {name: globex, rules: [rules.yaml], key: {file: globex.key}}
"""

_ALERTMANAGER: Final = """
route: {receiver: test, group_by: [alertname], group_wait: 1s, group_interval: 1s}
receivers:
  - name: test
    webhook_configs: [{url: "http://127.0.0.1:%s/", send_resolved: true}]
"""


class Webhook:
    """Receives what Alertmanager sends."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.alerts: list[Mapping[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805 - of another class
                length = int(handler.headers["Content-Length"])
                for alert in json.loads(handler.rfile.read(length))["alerts"]:
                    self.alerts.append(alert)
                    self.seen.append((alert["labels"]["alertname"], alert["status"]))
                handler.send_response(200)
                handler.end_headers()

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class Stack:
    """The parts, all running."""

    sandbox: RunningSandbox
    program: Program
    daemon: RunningDaemon
    fleet: RunningDaemon
    webhook: Webhook
    prometheus: str
    key_file: Path

    def query(self, expression: str) -> list[Any]:
        """Ask Prometheus for an instant vector."""
        answer = self._ask("query", query=expression)
        result: list[Any] = answer["result"]
        return result

    def query_range(self, expression: str, seconds: float = 10) -> list[Any]:
        """Ask Prometheus for the last seconds, as a panel does."""
        now = self.query("time()")[0]
        answer = self._ask(
            "query_range", query=expression, start=now - seconds, end=now, step=1
        )
        result: list[Any] = answer["result"]
        return result

    def label_values(self, label: str, match: str) -> list[str]:
        """Ask Prometheus for a label's values, as a dashboard variable does."""
        found: list[str] = self._ask(f"label/{label}/values", **{"match[]": match})
        return found

    def _ask(self, path: str, **params: Any) -> Any:
        url = f"{self.prometheus}/api/v1/{path}"
        answer = httpx.get(url, params=params, timeout=PATIENCE).json()
        assert answer["status"] == "success", (params, answer)
        return answer["data"]

    def notified(self, alert: str, status: str) -> None:
        """Wait until the webhook heard of an alert."""
        eventually(lambda: (alert, status) in self.webhook.seen, PATIENCE)


def quick_rules(directory: Path) -> Path:
    """Return a copy of the rules whose alerts do not wait."""
    text, number = re.subn(r"(?m)^( +for: )\S+$", r"\g<1>2s", RULES_FILE.read_text())
    assert number > 0
    path = directory / "rules.yaml"
    path.write_text(text)
    return path


@contextmanager
def running_stack(directory: Path) -> Iterator[Stack]:
    """Run all of it on free ports of loopback until the block ends."""
    prometheus = need_program("prometheus")
    alertmanager = need_program("prometheus-alertmanager")
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with ExitStack() as stack:
        sandbox = stack.enter_context(running_sandbox(settings, SystemClock()))
        program = _program(directory, sandbox)
        _fill(sandbox)
        daemon = stack.enter_context(program.daemon())
        daemon.wait_for("cycle.finished", times=2)
        # With a LeadLex of its own: what the tests do to the other is not felt here.
        other = stack.enter_context(running_sandbox(settings, SystemClock()))
        fleet = stack.enter_context(_fleet(directory / "fleet", other).daemon())
        fleet.wait_for("cycle.finished", times=2)
        webhook = stack.enter_context(Webhook())
        am_port, port = free_port(), free_port()
        am = directory / "am.yaml"
        am.write_text(_ALERTMANAGER % webhook.port)
        command = [
            alertmanager,
            f"--config.file={am}",
            f"--storage.path={directory}/am",
        ]
        command += [f"--web.listen-address=127.0.0.1:{am_port}"]
        stack.enter_context(_server(*command, "--cluster.listen-address="))
        config = directory / "prometheus.yaml"
        config.write_text(
            _PROMETHEUS
            % {
                "rules": quick_rules(directory),
                "triaged": daemon.wait_for("http.listening")["port"],
                "fleet": fleet.wait_for("http.listening")["port"],
                "alertmanager": am_port,
            }
        )
        command = [prometheus, f"--config.file={config}", "--log.level=warn"]
        command += [f"--storage.tsdb.path={directory}/tsdb"]
        stack.enter_context(_server(*command, f"--web.listen-address=127.0.0.1:{port}"))
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _is_ready(url), PATIENCE)
        key_file = directory / "triaged/api-key"
        made = Stack(sandbox, program, daemon, fleet, webhook, url, key_file)
        up = 'up{job="triaged"} == 1'
        eventually(lambda: len(made.query(up)) == 2, PATIENCE)
        yield made


def _program(directory: Path, sandbox: RunningSandbox) -> Program:
    home = directory / "triaged"
    home.mkdir()
    (home / "api-key").touch(mode=0o600)
    (home / "api-key").write_text(KEY)
    settings = {
        "TRIAGED_API_KEY": "",
        "TRIAGED_API_KEY_FILE": str(home / "api-key"),
        "TRIAGED_WORKSPACE": "acme",
    }
    return Program(home, sandbox.api_url, settings)


def _fleet(directory: Path, sandbox: RunningSandbox) -> Program:
    """Return a fleet of one workspace."""
    directory.mkdir()
    (directory / "globex.key").touch(mode=0o600)
    (directory / "globex.key").write_text(KEY)
    (directory / "fleet.yaml").write_text(_FLEET)
    settings = {"TRIAGED_API_KEY": "", "TRIAGED_FLEET": str(directory)}
    return Program(directory, sandbox.api_url, settings)


def _fill(sandbox: RunningSandbox) -> None:
    """Put in something for each panel to show."""
    add(sandbox, [a_listed(f"clutter{number}") for number in range(3)])
    add(sandbox, [a_listed("kept", "Find 20 CEOs", type="prospect_search")])
    add(sandbox, [a_listed("theirs", "Spring mail", type="campaign_start")])


@contextmanager
def _server(*command: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False
