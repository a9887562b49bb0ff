"""The unit under genuine systemd: start, status, reload, crash, hang, stop, refusal."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.external_tools import DEPLOY, need_program, run
from tests.deploy.systemd_machine import KEY, SystemdMachine, booted
from tests.e2e.harness import PATIENCE, RULES, a_listed, eventually
from triaged.triage.dispatcher import MAX_CONCURRENT
from triaged.triage.reconcile import EFFECT_TIMEOUT

pytestmark = pytest.mark.deploy

BAD_RULES = "version: 1\nrules: []\n"
OTHER_RULES = RULES.replace("clutter", "rubbish")
SERVICES = ["triaged.service", "triaged-once.service"]
PAGE = (DEPLOY / "README.md").read_text()
FLEET = """version: 1
workspaces:
  - {name: acme, rules: [rules.yaml], key: {file: keys/acme}}
"""
GLOBEX = "  - {name: globex, rules: [rules.yaml], key: {file: keys/globex}}\n"
STAND_IN = """#!/bin/sh
cat "$PGPASSFILE"; echo; stat -c %a "$PGPASSFILE"
"""
LATE_ADDRESS = """
[Service]
Environment=TRIAGED_LISTEN=192.0.2.7:9464
"""


@pytest.fixture(scope="module")
def booted_machine(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SystemdMachine]:
    with booted(installed, tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture
def machine(booted_machine: SystemdMachine) -> SystemdMachine:
    booted_machine.reset()
    return booted_machine


def blocks(title: str) -> list[str]:
    """Return the command blocks below a heading of the operators' page."""
    section = re.split(rf"\n#+ {title}\n", PAGE)[1]
    section = re.split(r"\n#+ ", section)[0]
    return re.findall(r"```sh\n(.+?)```", section, re.DOTALL)


@pytest.mark.parametrize("unit", SERVICES)
def test_the_exposure_is_low(unit: str) -> None:
    """Systemd rates the exposure of the unit 1.5 at most."""
    analyze = need_program("systemd-analyze")
    options = ("--offline=true", "--threshold=15", "--no-pager")

    run(analyze, "security", *options, DEPLOY / "systemd" / unit)


def test_the_units_are_sound(machine: SystemdMachine) -> None:
    """Systemd finds nothing wrong in the units where they are installed."""
    names = [*SERVICES, "triaged-once.timer"]
    paths = [f"/etc/systemd/system/{name}" for name in names]

    machine.run(
        "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths
    )


def test_start_blocks_until_ready(machine: SystemdMachine) -> None:
    """When systemctl start returns, the daemon answers, as a user of its own."""
    machine.run("systemctl", "start", "triaged")

    assert machine.get("/healthz") == "ok\n"
    assert machine.show("ActiveState") == "active"
    pid = machine.show("MainPID")
    status = machine.run("cat", f"/proc/{pid}/status")
    uid = int(re.findall(r"Uid:\t(\d+)", status)[0])
    assert 61184 <= uid <= 65519
    assert re.search(r"CapEff:\t0+\n", status)
    assert "NoNewPrivs:\t1" in status


def test_the_status_text_says_what_it_is_doing(machine: SystemdMachine) -> None:
    """``systemctl status`` shows the next poll and what the day has left."""
    machine.run("systemctl", "start", "triaged")

    eventually(
        lambda: re.fullmatch(
            r"next poll \d\d:\d\d:\d\d UTC, \d+ of 100000 calls left",
            machine.show("StatusText"),
        )
    )


def test_the_state_is_its_own_and_survives_a_restart(machine: SystemdMachine) -> None:
    """The ledger lies in the state directory and is still there after a restart."""
    machine.tell("/sandbox/tasks", {"tasks": [a_listed("t1")]})
    machine.run("systemctl", "start", "triaged")
    eventually(lambda: machine.history() == {"t1": ["confirmed"]})

    machine.run("systemctl", "restart", "triaged")

    assert machine.history() == {"t1": ["confirmed"]}
    listed = machine.run("stat", "-c", "%a %U", "/var/lib/private/triaged")
    assert listed == "700 triaged\n"


def test_the_key_comes_as_a_credential(machine: SystemdMachine) -> None:
    """The key is in neither environment nor arguments; its file is root's alone."""
    machine.run("systemctl", "start", "triaged")
    pid = machine.show("MainPID")

    seen = machine.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline")
    assert "CREDENTIALS_DIRECTORY" in seen
    assert "wbk_machine" not in seen
    eventually(lambda: "triaged_api_key_accepted" in machine.get("/metrics"))
    assert machine.run("stat", "-c", "%a %U", "/etc/triaged/api-key") == "600 root\n"


def test_a_good_reload_is_taken(machine: SystemdMachine) -> None:
    """After a reload the new rules decide, in the same process."""
    machine.run("systemctl", "start", "triaged")
    pid = machine.show("MainPID")

    machine.write("/etc/triaged/rules.yaml", OTHER_RULES)
    machine.run("systemctl", "reload", "triaged")

    eventually(lambda: 'rule="rubbish"' in machine.get("/metrics"))
    assert machine.show("MainPID") == pid


def test_a_bad_reload_is_refused(machine: SystemdMachine) -> None:
    """A reload of broken rules fails, says why, and the old rules stay in force."""
    machine.run("systemctl", "start", "triaged")
    pid = machine.show("MainPID")

    machine.write("/etc/triaged/rules.yaml", BAD_RULES)
    machine.run("systemctl", "reload", "triaged", ok=(1,))

    assert "rules.yaml:2:8" in machine.journal()
    eventually(
        lambda: (
            'config_last_reload_successful{workspace="default"} 0.0'
            in machine.get("/metrics")
        )
    )
    assert 'rule="clutter"' in machine.get("/metrics")
    assert machine.show("MainPID") == pid
    assert machine.show("ActiveState") == "active"


def test_kill_9_restarts_and_loses_nothing(machine: SystemdMachine) -> None:
    """Killed amid dismissals it comes back and settles each task exactly once."""
    machine.tell("/sandbox/faults", {"faults": [f"dismiss:slow=5:{MAX_CONCURRENT}"]})
    names = [f"t{number}" for number in range(12)]
    machine.tell("/sandbox/tasks", {"tasks": [a_listed(name) for name in names]})
    machine.run("systemctl", "start", "triaged")
    # A slow answer is recorded at once; so all of these are in flight.
    eventually(lambda: machine.state()["tasks"]["dismissed"] >= MAX_CONCURRENT)

    machine.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "triaged")

    eventually(lambda: machine.show("NRestarts") == "1")
    eventually(lambda: set(machine.history()) == set(names))
    # One that was recorded but not sent is tried again once it can have no effect.
    eventually(
        lambda: all("confirmed" in o for o in machine.history().values()),
        EFFECT_TIMEOUT.total_seconds() + PATIENCE,
    )
    assert all(o.count("confirmed") == 1 for o in machine.history().values())
    assert machine.state()["tasks"]["dismissed"] == len(names)


def test_a_stuck_loop_is_killed_by_the_watchdog(machine: SystemdMachine) -> None:
    """A process whose main loop is stuck is killed and started again."""
    machine.run("systemctl", "start", "triaged")
    pid = machine.show("MainPID")

    machine.run("kill", "-STOP", pid)

    eventually(lambda: machine.show("NRestarts") == "1")
    eventually(lambda: machine.show("ActiveState") == "active")
    assert machine.show("MainPID") not in {pid, "0"}
    assert machine.get("/healthz") == "ok\n"


def test_stop_drains(machine: SystemdMachine) -> None:
    """A stop awaits the dismissals in flight and ends well."""
    machine.tell("/sandbox/faults", {"faults": ["dismiss:slow=2:20"]})
    names = [f"t{number}" for number in range(20)]
    machine.tell("/sandbox/tasks", {"tasks": [a_listed(name) for name in names]})
    machine.run("systemctl", "start", "triaged")
    eventually(lambda: machine.state()["tasks"]["dismissed"] > 0)

    machine.run("systemctl", "stop", "triaged")

    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    done = [task for task, ends in machine.history().items() if ends == ["confirmed"]]
    assert len(done) == machine.state()["tasks"]["dismissed"]
    assert 0 < len(done) < len(names)


def test_a_refused_key_ends_with_77_for_good(machine: SystemdMachine) -> None:
    """Started with a key that LeadLex does not know it ends, and is not restarted."""
    machine.write("/etc/triaged/api-key", "wbk_another")
    machine.run("systemctl", "start", "triaged", ok=(0, 1))

    eventually(lambda: machine.show("ActiveState") == "failed")
    assert machine.show("ExecMainStatus") == "77"
    assert machine.show("NRestarts") == "0"
    assert "wbk_another" not in machine.journal()


def test_broken_rules_at_start_end_with_78_for_good(machine: SystemdMachine) -> None:
    """Started with rules that do not load it says why, and is not restarted."""
    machine.write("/etc/triaged/rules.yaml", BAD_RULES)
    machine.run("systemctl", "start", "triaged", ok=(1,))

    assert machine.show("ExecMainStatus") == "78"
    assert machine.show("NRestarts") == "0"
    assert "rules.yaml:2:8" in machine.journal()


def test_an_address_that_comes_up_late(machine: SystemdMachine) -> None:
    """A daemon whose address is not up yet is started again until it is."""
    place = "/run/systemd/system/triaged.service.d"
    machine.run("mkdir", "-p", place)
    machine.write(f"{place}/late.conf", LATE_ADDRESS)
    machine.run("systemctl", "daemon-reload")
    try:
        machine.run("systemctl", "start", "triaged", ok=(0, 1))
        eventually(lambda: int(machine.show("NRestarts")) > 1)
        eventually(lambda: machine.show("ExecMainStatus") == "1")

        machine.run("ip", "address", "add", "192.0.2.7/32", "dev", "lo")

        eventually(lambda: machine.show("ActiveState") == "active")
        assert machine.run("curl", "-sS", "192.0.2.7:9464/healthz") == "ok\n"
    finally:
        machine.run("rm", "-r", place)
        machine.run("systemctl", "daemon-reload")


def test_the_page_installs_the_daemon(machine: SystemdMachine) -> None:
    """The commands of the operators' page, as they are, end in a running daemon."""
    block, _ = blocks("systemd")
    # What takes the network: these three installed the venv that the machine has.
    commands = [line for line in block.splitlines() if "/venv" not in line]
    assert len(commands) == len(block.splitlines()) - 3

    machine.follow("\n".join(commands), stdin="wbk_pasted")

    assert machine.show("ActiveState") == "active"
    assert machine.run("cat", "/etc/triaged/api-key") == "wbk_pasted"
    assert machine.run("stat", "-c", "%a", "/etc/triaged/api-key") == "600\n"


def test_the_page_installs_the_timer(machine: SystemdMachine) -> None:
    """The timer's unit does a cycle, and node_exporter shows what it did."""
    need_program("prometheus-node-exporter")
    timer, textfile = blocks("A timer instead of the daemon")
    machine.tell("/sandbox/tasks", {"tasks": [a_listed("t1")]})

    machine.follow(timer + textfile)
    assert "triaged-once" in machine.run("systemctl", "list-timers")
    machine.run("systemctl", "start", "triaged-once")

    assert machine.history() == {"t1": ["confirmed"]}
    place = "/var/lib/prometheus/node-exporter"
    machine.run(
        *("systemd-run", "--unit=exporter", "--collect", "--property=DynamicUser=yes"),
        *("prometheus-node-exporter", "--collector.disable-defaults"),
        *("--collector.textfile", f"--collector.textfile.directory={place}"),
        "--web.listen-address=127.0.0.1:9100",
    )
    wanted = 'triaged_dismissals_total{reason="testing",rule="clutter",'
    eventually(lambda: wanted in exported(machine))
    assert 'triaged_poll_interval_seconds{workspace="default"} 1800' in (
        exported(machine)
    )
    machine.run("systemctl", "stop", "exporter", "triaged-once.timer")


def exported(machine: SystemdMachine) -> str:
    """Return what node_exporter shows, or nothing before it listens."""
    return machine.finish("curl", "-sS", "127.0.0.1:9100/metrics", ok=(0, 7)).stdout


def test_the_metrics_are_never_copied_through_a_link(machine: SystemdMachine) -> None:
    """A link in the daemon's directory does not make root publish another file."""
    machine.follow(blocks("A timer instead of the daemon")[1])
    machine.run("rm", "-f", "/var/lib/prometheus/node-exporter/triaged.prom")
    lines = (DEPLOY / "systemd/textfile.conf").read_text().replace("\\\n", " ")
    (script,) = re.findall(r"-euc '(.+)'", lines)
    machine.run("mkdir", "-p", "/var/lib/private/triaged")
    machine.run("ln", "-s", "/etc/shadow", "/var/lib/private/triaged/metrics.prom")

    machine.run("sh", "-euc", script, ok=(1,))

    machine.run("test", "!", "-e", "/var/lib/prometheus/node-exporter/triaged.prom")


def test_the_page_backs_up_and_restores(machine: SystemdMachine) -> None:
    """What the ledger held at the backup is there after the restore."""
    machine.tell("/sandbox/tasks", {"tasks": [a_listed("t1")]})
    machine.run("systemctl", "start", "triaged")
    eventually(lambda: machine.history() == {"t1": ["confirmed"]})
    backup, _, _, restore = blocks("Back up the ledger")

    machine.follow(backup)
    machine.tell("/sandbox/tasks", {"tasks": [a_listed("t2")]})
    eventually(lambda: "t2" in machine.history())
    machine.follow(restore)

    assert machine.show("ActiveState") == "active"
    assert machine.history() == {"t1": ["confirmed"]}


def test_the_logs_are_json_in_the_journal(machine: SystemdMachine) -> None:
    """Each line that the daemon writes is one JSON object with its event."""
    machine.run("systemctl", "start", "triaged")
    lines = [line for line in machine.journal().splitlines() if line.startswith("{")]

    assert "daemon.started" in {json.loads(line)["event"] for line in lines}


def test_the_page_makes_a_fleet_of_the_unit(machine: SystemdMachine) -> None:
    """One unit runs the workspaces of a directory, and takes a new one while it runs.

    Its keys are read by a group, the reload checks them, and commands find the fleet.
    """
    (block,) = blocks("A fleet")
    place = "/etc/triaged/fleet"
    try:
        machine.follow(block, stdin=KEY)
        machine.run("rm", "/etc/triaged/api-key")
        machine.write(f"{place}/rules.yaml", RULES)
        machine.write(f"{place}/fleet.yaml", FLEET)
        assert "1 usable workspace" in machine.run("triaged", "check")

        machine.run("systemctl", "start", "triaged")
        machine.run("systemctl", "reload", "triaged")
        eventually(lambda: states(machine) == {"acme": "working"})

        assert machine.run("stat", "-c", "%a", f"{place}/keys/acme") == "440\n"
        machine.write(f"{place}/fleet.yaml", FLEET + GLOBEX)
        eventually(lambda: set(states(machine)) == {"acme", "globex"})
        assert states(machine)["globex"] == "unusable"  # without its key
    finally:
        machine.run(
            "rm", "-rf", place, "/etc/systemd/system/triaged.service.d/fleet.conf"
        )
        machine.run("systemctl", "daemon-reload")


def states(machine: SystemdMachine) -> dict[str, str]:
    """Return the state of each workspace, by a command beside the daemon."""
    text = machine.run("triaged", "workspaces", "--format", "json", ok=(0, 1))
    rows = json.loads(text)
    return {row["workspace"]: row["state"] for row in rows}


def test_the_page_gives_the_ledgers_password(machine: SystemdMachine) -> None:
    """Daemon and commands get a password file that only they can read."""
    (block,) = blocks("A ledger in PostgreSQL")
    program, moved = "/opt/triaged/venv/bin/triaged", "/opt/triaged/venv/bin/moved"
    drop_in = "/etc/systemd/system/triaged.service.d/postgres.conf"
    try:
        machine.follow(block, stdin="db:5432:triaged:triaged:secret")
        machine.run("systemctl", "start", "triaged")
        pid = machine.show("MainPID")
        environ = machine.run("cat", f"/proc/{pid}/environ")
        (place,) = re.findall(r"PGPASSFILE=([^\0]+)", environ)

        assert machine.run("stat", "-c", "%a", f"/proc/{pid}/root{place}") == "400\n"
        machine.run("mv", program, moved)
        machine.write(program, STAND_IN)
        machine.run("chmod", "755", program)
        shown = machine.run("triaged", "status", "a $b")
        assert shown.split("\n")[:2] == ["db:5432:triaged:triaged:secret", "400"]
    finally:
        machine.run("mv", moved, program, ok=(0, 1))
        machine.run("rm", "-f", "/etc/triaged/pgpass", drop_in)
        machine.run("systemctl", "daemon-reload")
