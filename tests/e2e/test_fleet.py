"""A fleet in one process: daemon and commands, against a sandbox of many keys."""

import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from docs.log_events import OF_A_DAEMON
from tests.e2e.harness import RULES, Program, RunningDaemon, a_listed, eventually
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.webhook_server import webhook_server
from triaged.sandbox.settings import SandboxSettings

NAMES = ("acme", "bolt", "corp")
SETTINGS = SandboxSettings(
    key="wbk_fleet",
    workspaces=3,
    task_count=0,
    minute_limit=None,
    day_limit=None,
)


class FleetProgram:
    """A program whose fleet files have three workspaces."""

    def __init__(self, directory: Path, sandbox: RunningSandbox) -> None:
        self.directory = directory
        self.sandbox = sandbox
        self.program = Program(directory, sandbox.api_url)
        self.program.settings |= {"TRIAGED_FLEET": str(directory)}
        (directory / "keys").mkdir()
        for number, name in enumerate(NAMES, start=1):
            self.write_key(name, f"wbk_fleet_{number}")
        self.write_fleet(*NAMES)

    def write_key(self, name: str, key: str) -> None:
        file = self.directory / "keys" / name
        file.touch(mode=0o600)
        file.write_text(key)

    def write_fleet(self, *names: str) -> None:
        lines = ["version: 1", "defaults: {rules: [rules.yaml]}", "workspaces:"]
        for name in names:
            region = "eu" if name == "acme" else "us"
            lines.append(
                f"  - {{name: {name}, key: {{file: keys/{name}}},"
                f" labels: {{region: {region}}}}}"
            )
        (self.directory / "fleet.yaml").write_text("\n".join(lines))

    def add(self, number: int, *ids: str) -> None:
        """Add clutter to the n-th workspace of the sandbox."""
        self.sandbox.worlds[number].store.add([a_listed(task_id) for task_id in ids])

    def dismissed(self, number: int) -> list[str]:
        store = self.sandbox.worlds[number].store
        return sorted(effect.task_id for effect in store.effects)

    def states(self) -> dict[str, str]:
        rows = self.program.json("workspaces")
        return {row["workspace"]: row["state"] for row in rows}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProgram]:
    with running_sandbox(SETTINGS) as running:
        yield FleetProgram(tmp_path, running)


def test_one_process_runs_all(fleet: FleetProgram) -> None:
    """Each workspace dismisses its own tasks, and every line says whose it is."""
    for number, name in enumerate(NAMES):
        fleet.add(number, f"{name}-1")
    with fleet.program.daemon() as daemon:
        daemon.wait_for("task.dismissed", times=3)
        eventually(lambda: set(fleet.states().values()) == {"working"})
        served = {path: daemon.get(path) for path in ("/", "/sd", "/readyz")}
        page = daemon.get("/workspaces/acme").text
        task = daemon.get("/workspaces/acme/tasks/acme-1").text
        own = daemon.get("/metrics?workspace=bolt").text

        assert [fleet.dismissed(number) for number in range(3)] == [
            [f"{name}-1"] for name in NAMES
        ]
        dismissals = daemon.named("task.dismissed")
        assert {each["task"].partition("-")[0] for each in dismissals} == set(NAMES)
        for event in dismissals + daemon.named("cycle.finished"):
            assert event["workspace"] in NAMES
        assert all(f"/workspaces/{name}" in served["/"].text for name in NAMES)
        assert "form-action 'self'" in served["/"].headers["content-security-policy"]
        targets = {t["labels"]["__param_workspace"] for t in served["/sd"].json()}
        assert targets == set(NAMES)
        assert served["/readyz"].json()["ready"]
        assert "acme-1" in page
        assert 'href="/workspaces/acme"' in task
        assert 'workspace="bolt"' in own
        assert 'workspace="acme"' not in own
        assert daemon.get("/workspaces/nobody").status_code == 404
        assert daemon.get("/metrics?workspace=nobody").status_code == 404
        assert daemon.metric("triaged_workspaces", state="working") == 3
        assert daemon.metric("triaged_cycle_lateness_seconds_count") >= 3
        assert daemon.metric("triaged_leases_lost_total") == 0
        assert daemon.metric("triaged_fenced_total") == 0
        confirmed = {"outcome": "confirmed", "workspace": "corp"}
        assert daemon.metric("triaged_dismissal_attempts_total", **confirmed) == 1
        assert daemon.get("/healthz").text == "ok\n"
        assert daemon.end() == 0
        for event in daemon.events:
            is_of_all = any(fnmatch(event["event"], each) for each in OF_A_DAEMON)
            assert "workspace" in event or is_of_all, event
    assert fleet.states() == dict.fromkeys(NAMES, "stopped")


def test_one_bad_workspace_costs_itself_only(fleet: FleetProgram) -> None:
    """A refused key, and rules that are wrong, stop one workspace each."""
    fleet.write_key("acme", "wbk_wrong")
    bad = fleet.directory / "bad.yaml"
    bad.write_text("version: 7")
    text = (fleet.directory / "fleet.yaml").read_text()
    text = text.replace("{name: bolt,", "{name: bolt, rules: [bad.yaml],")
    (fleet.directory / "fleet.yaml").write_text(text)
    fleet.add(1, "b-1")
    fleet.add(2, "c-1")
    with fleet.program.daemon() as daemon:
        daemon.wait_for("task.dismissed")
        daemon.wait_for("workspace.unusable")
        expected = {"acme": "key_refused", "bolt": "unusable", "corp": "working"}
        eventually(lambda: fleet.states() == expected)
        page = daemon.get("/workspaces/bolt").text
        told = fleet.program.run("workspaces")

        assert "bad.yaml" in page
        assert "1 unusable, 1 key refused, 1 working" in told.stdout
        assert told.returncode == 1
        bad.write_text(RULES)
        fleet.write_key("acme", "wbk_fleet_1")
        eventually(lambda: set(fleet.states().values()) == {"working"})
        assert fleet.dismissed(1) == ["b-1"]
        assert daemon.get("/readyz").status_code == 200
        assert daemon.end() == 0


def test_a_file_that_cannot_be_read_costs_nothing_else(fleet: FleetProgram) -> None:
    """A workspace whose file is wrong keeps its last good form, and all is said."""
    with fleet.program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=3)
        text = (fleet.directory / "fleet.yaml").read_text()
        wrong = text.replace("name: corp,", "name: corp, poll_intervall: 5m,")
        (fleet.directory / "fleet.yaml").write_text(wrong)
        daemon.wait_for("fleet.rejected")
        fleet.add(2, "c-1")
        daemon.wait_for("task.dismissed")
        kept = {row["workspace"]: row for row in fleet.program.json("workspaces")}
        named = fleet.program.run("status", "--workspace", "corp")
        labelled = fleet.program.run("pause", "-l", "region=us")
        fleet.add(2, "c-2")
        finished = len(daemon.named("cycle.finished"))
        daemon.wait_for("cycle.finished", times=finished + 6)
        page = daemon.get("/").text
        (fleet.directory / "fleet.yaml").write_text("version: 1")
        daemon.wait_for("fleet.rejected", times=2)
        listed = fleet.states()
        broken = daemon.get("/").text
        paused = fleet.program.run("pause", "--workspace", "corp")
        unknown = fleet.program.run("pause", "--workspace", "nobody")

        assert kept["corp"]["state"] == "working"
        assert "poll_intervall" in kept["corp"]["error"]
        assert named.returncode == 0
        assert labelled.returncode == 0
        assert "workspace corp" in labelled.stdout
        assert fleet.dismissed(2) == ["c-1"]
        assert "poll_intervall" in named.stderr
        assert "poll_intervall" in page
        assert listed == {"acme": "working", "bolt": "paused", "corp": "paused"}
        assert "workspaces" in broken
        assert paused.returncode == 0
        assert "workspace corp" in paused.stdout
        assert unknown.returncode == 78
        assert daemon.end() == 0


def test_files_that_are_not_in_force_raise_the_alarm(fleet: FleetProgram) -> None:
    """The daemon goes on, and metric, readiness and commands say why and for whom."""
    with fleet.program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=3)
        eventually(lambda: set(fleet.states().values()) == {"working"})
        good = reloaded(daemon)
        (fleet.directory / "fleet.yaml").write_text("")
        daemon.wait_for("fleet.rejected")
        empty, ready = reloaded(daemon), daemon.get("/readyz")
        table, rows = fleet.program.run("workspaces"), fleet.program.json("workspaces")
        page = daemon.get("/workspaces/acme").text
        fleet.write_fleet(*NAMES)
        daemon.wait_for("fleet.restored")
        restored = reloaded(daemon)
        (fleet.directory / "rules.yaml").write_text("version: 7")
        daemon.wait_for("rules.rejected")
        wrong, told = reloaded(daemon), fleet.program.json("workspaces")

        assert (good, empty, restored, wrong) == ({1}, {0}, {1}, {0})
        assert ready.status_code == 200
        assert "fleet.yaml:1:1" in ready.json()["rules_rejected"]
        assert table.returncode == 0
        assert "3 workspaces: 3 working. 3 in an earlier form" in table.stdout
        for row in rows:
            assert (row["state"], row["error"]) == ("working", row["rejected"])
            assert "fleet.yaml:1:1" in row["error"]
        assert "fleet.yaml:1:1" in page
        for row in told:
            assert row["state"] == "working"
            assert "rules.yaml:1:" in row["error"]
        assert daemon.end() == 0


def reloaded(daemon: RunningDaemon) -> set[float]:
    """Return whether the files of the workspaces are in force as they are now."""
    name = "triaged_config_last_reload_successful"
    return {daemon.metric(name, workspace=workspace) for workspace in NAMES}


def test_the_fleet_changes_while_it_runs(fleet: FleetProgram) -> None:
    """A new workspace is run, and one that is gone dismisses nothing more."""
    fleet.write_fleet("acme", "bolt")
    fleet.add(2, "c-1")
    with fleet.program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=2)
        fleet.write_fleet("bolt", "corp")
        daemon.wait_for("workspace.removed")
        daemon.wait_for("task.dismissed")
        fleet.add(0, "a-1")
        finished = len(daemon.named("cycle.finished"))
        daemon.wait_for("cycle.finished", times=finished + 4)

        assert fleet.dismissed(0) == []
        assert fleet.dismissed(2) == ["c-1"]
        assert set(fleet.states()) == {"bolt", "corp"}
        assert daemon.end() == 0


def test_the_stop_of_all(fleet: FleetProgram) -> None:
    """After `pause --all` nothing is dismissed, and commands say who stopped it."""
    with fleet.program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=3)
        paused = fleet.program.run("pause", "--all", "--note", "fire")
        for number in range(3):
            fleet.add(number, "t-1")
        finished = len(daemon.named("cycle.finished"))
        daemon.wait_for("cycle.finished", times=finished + 6)
        refused = fleet.program.run(
            "dismiss", "--all", "--reason", "testing", "--yes", "--workspace", "acme"
        )
        states = fleet.states()
        page = daemon.get("/").text
        own = fleet.program.run("resume", "--workspace", "acme")
        before = [fleet.dismissed(number) for number in range(3)]
        resumed = fleet.program.run("resume", "--all")
        daemon.wait_for("task.dismissed", times=3)

        assert paused.returncode == resumed.returncode == 0
        assert "triaged resume --all ends it" in paused.stdout
        assert before == [[], [], []]
        assert "triaged resume --all ends it" in refused.stderr
        assert set(states.values()) == {"paused"}
        assert "paused for the whole fleet" in page
        assert "the whole fleet is paused" in own.stderr
        assert daemon.end() == 0


def test_a_command_outside_the_fleet_does_not_touch_its_ledger(
    fleet: FleetProgram,
) -> None:
    """It would write a workspace that nobody runs, and then seem to pause it."""
    alone = dict(fleet.program.settings)
    del alone["TRIAGED_FLEET"]
    key = fleet.directory / "keys" / "acme"
    others = Program(fleet.directory, fleet.sandbox.api_url, settings=alone)
    others.settings |= {"TRIAGED_API_KEY_FILE": str(key)}
    with fleet.program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=3)
        refused = [others.run("plan"), others.run("pause"), others.run("veto", "t-1")]
        paused = others.run("pause", "--all")
        states = fleet.states()
        assert daemon.end() == 0
    refused += [others.run("run", "--once"), others.run("pause")]
    named = fleet.program.run("run", "--once", "--workspace", "bolt")

    assert [each.returncode for each in refused] == [78] * 5
    assert all("set TRIAGED_FLEET" in each.stderr for each in refused)
    assert (paused.returncode, named.returncode) == (0, 0)
    assert states == dict.fromkeys(NAMES, "paused")
    assert set(fleet.states()) == set(NAMES)


def test_once(fleet: FleetProgram) -> None:
    """For cron: one cycle of each workspace, or of the one that is named."""
    for number in range(3):
        fleet.add(number, "t-1")
    named = fleet.program.run("run", "--once", "--workspace", "bolt")
    after_one = [fleet.dismissed(number) for number in range(3)]
    all_of_them = fleet.program.run("run", "--once")
    fleet.write_key("corp", "wbk_wrong")
    partly = fleet.program.run("run", "--once")

    assert (named.returncode, all_of_them.returncode, partly.returncode) == (0, 0, 4)
    assert after_one == [[], ["t-1"], []]
    assert [fleet.dismissed(number) for number in range(3)] == [["t-1"]] * 3


def test_commands_choose_workspaces(fleet: FleetProgram) -> None:
    """By name, by label, or all; what is not clear is refused first."""
    run = fleet.program.run
    run("run", "--once")
    unclear = run("status")
    unknown = run("plan", "--workspace", "acmee")
    both = run("pause", "--all", "--workspace", "acme")
    no_label = run("history", "-l", "region=moon")
    wrong_label = run("history", "-l", "region")
    csv = run("history", "--all", "--format", "csv")
    watched = run("status", "--all", "--watch")
    copied = run("backup", str(fleet.directory / "copy"))
    labelled = run("pause", "-l", "region=us")
    status = json.loads(run("status", "--all", "--format", "json").stdout)
    history = run("history", "--all")
    vetoes = run("veto", "--list", "-l", "region=us", "--format", "json")
    one = json.loads(run("status", "--workspace", "bolt", "--format", "json").stdout)
    eu = fleet.program.json("workspaces", "-l", "region=eu")

    assert unclear.returncode == 2
    assert "3 workspaces (acme, bolt, corp); name one" in unclear.stderr
    assert unknown.returncode == 78
    assert "did you mean 'acme'" in unknown.stderr
    assert both.returncode == no_label.returncode == wrong_label.returncode == 2
    assert "csv is for one workspace" in csv.stderr
    assert "--watch is for one workspace" in watched.stderr
    assert labelled.returncode == copied.returncode == 0
    assert {name: bool(each["paused"]) for name, each in status.items()} == {
        "acme": False,
        "bolt": True,
        "corp": True,
    }
    assert history.stdout.count("0 dismissals.") == 3
    assert json.loads(vetoes.stdout) == {"bolt": [], "corp": []}
    assert one["workspace"] == "bolt"
    assert [row["workspace"] for row in eu] == ["acme"]


def test_each_workspace_of_a_fleet_has_its_digest(fleet: FleetProgram) -> None:
    """It names the workspace, links to its page, and is sent once."""
    fleet.add(1, "b-1")
    with webhook_server() as webhook:
        urls = fleet.directory / "urls"
        urls.touch(mode=0o600)
        urls.write_text(webhook.url)
        fleet.program.settings |= {
            "TRIAGED_NOTIFY_FILE": str(urls),
            "TRIAGED_NOTIFY_AT": "00:00",
            "TRIAGED_PAGE_URL": "https://triaged.example.com",
        }
        with fleet.program.daemon() as daemon:
            daemon.wait_for("notification.sent", times=len(NAMES))
            before = len(daemon.named("cycle.finished"))
            daemon.wait_for("cycle.finished", times=before + 2 * len(NAMES))
            assert daemon.end() == 0
        texts = [json.dumps(each) for each in webhook.received]

    assert len(texts) == len(NAMES)
    (of_bolt,) = [text for text in texts if "bolt" in text]
    assert "https://triaged.example.com/workspaces/bolt" in of_bolt


def test_a_fleet_with_unusable_notifications_does_not_start(
    fleet: FleetProgram,
) -> None:
    """A file of URLs that others can read is refused, as for one workspace."""
    urls = fleet.directory / "urls"
    urls.write_text("json://127.0.0.1")
    urls.chmod(0o644)
    fleet.program.settings |= {"TRIAGED_NOTIFY_FILE": str(urls)}
    done = fleet.program.run("run")

    assert done.returncode == 78
    assert "chmod 600" in done.stderr


def test_a_key_that_is_copied_to_another_workspace(fleet: FleetProgram) -> None:
    """It keeps its own: no workspace lists or dismisses in the account of another."""
    with fleet.program.daemon() as daemon:
        daemon.wait_for("cycle.finished", times=3)
        fleet.program.run("pause", "--workspace", "acme")
        fleet.write_key("bolt", "wbk_fleet_1")
        fleet.add(0, "acme-1")
        fleet.add(1, "bolt-1")
        problem = daemon.wait_for("api_key.unreadable")["problem"]
        eventually(lambda: fleet.dismissed(1) == ["bolt-1"])
        fleet.write_key("bolt", "wbk_fleet_2")
        assert daemon.end() == 0

    assert "it holds the key of workspace acme" in problem
    assert fleet.dismissed(0) == []
