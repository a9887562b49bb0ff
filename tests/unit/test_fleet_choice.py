"""Which workspaces a command is for while entries of the fleet files are wrong."""

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from tests.builders import T0
from tests.e2e.harness import RULES
from tests.e2e.inprocess import CommandLine, FixedClock
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.ledger.location import LedgerLocation
from triaged.ledger.observations import NewObservation
from triaged.ledger.opening import make_daemon_lock, shared_databases

TEAMS = {"acme": "a", "bolt": "b", "corp": "b"}
OTHER = "version: 1\nrules: [{name: a, match: {type: campaign_start}, leave: true}]"


class FleetLine:
    """A command line with a fleet of three workspaces, all of which have run."""

    def __init__(self, command: CommandLine, place: LedgerLocation) -> None:
        self.command = command
        self.place = place
        self.run = command.run
        self.entries = {
            name: f"name: {name}, key: {{file: keys/{name}}}, labels: {{team: {team}}}"
            for name, team in TEAMS.items()
        }
        (command.directory / "keys").mkdir()
        (command.directory / "rules.yaml").write_text(RULES)
        for name in TEAMS:
            self.key(name).touch(mode=0o600)
            self.key(name).write_text(f"wbk_{name}")
            with Ledger.open(place, workspace=name) as ledger:
                ledger.bind("http://127.0.0.1:1/a", at=T0)
        self.write()

    def key(self, name: str) -> Path:
        return self.command.directory / "keys" / name

    def write(self, **entries: str) -> None:
        """Write the fleet file, with some of its entries as given."""
        lines = ["version: 1", "defaults: {rules: [rules.yaml]}", "workspaces:"]
        lines += [f"  - {{{entry}}}" for entry in (self.entries | entries).values()]
        (self.command.directory / "fleet.yaml").write_text("\n".join(lines))

    def paused(self) -> set[str]:
        found = set()
        for name in TEAMS:
            with Ledger.open(self.place, workspace=name) as ledger:
                if ledger.flags.get(FlagName.PAUSED):
                    found.add(name)
        return found


@pytest.fixture
def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: LedgerLocation
) -> FleetLine:
    settings = {"TRIAGED_FLEET": str(tmp_path), "TRIAGED_STATE_DIR": str(tmp_path)}
    if place.url is not None:
        settings["TRIAGED_LEDGER_URL"] = place.url
    command = CommandLine(tmp_path, monkeypatch, FixedClock(), settings)
    return FleetLine(command, place)


def test_the_only_usable_workspace_is_not_the_only_one(fleet: FleetLine) -> None:
    """A stop without a name would end with 0, and the other ones would go on."""
    fleet.entries = {name: fleet.entries[name] for name in ("acme", "corp")}
    fleet.key("corp").chmod(0o644)
    fleet.write()
    of_two = fleet.run("pause")
    fleet.write(corp="name: CORP, key: {file: keys/corp}")
    nameless = fleet.run("pause")
    del fleet.entries["acme"]
    fleet.write()
    of_one = fleet.run("pause")

    assert (of_two.code, nameless.code, of_one.code) == (2, 2, 0)
    assert "2 workspaces (acme, corp); name one" in of_two.err
    assert "a workspace (acme), and others whose names" in nameless.err
    assert fleet.paused() == {"corp"}


def _open_key(fleet: FleetLine) -> None:
    fleet.key("corp").chmod(0o644)


def _no_key(fleet: FleetLine) -> None:
    fleet.key("corp").unlink()


def _one_key(fleet: FleetLine) -> None:
    fleet.key("corp").write_text("wbk_acme")


def _bad_url(fleet: FleetLine) -> None:
    fleet.write(corp=fleet.entries["corp"] + ", api_url: 'http://example.com'")


def _bad_limit(fleet: FleetLine) -> None:
    fleet.write(corp=fleet.entries["corp"] + ", daily_limit: nope")


def _misspelled(fleet: FleetLine) -> None:
    fleet.write(corp=fleet.entries["corp"] + ", poll_intervall: 5m")


@pytest.mark.parametrize(
    "spoil", [_open_key, _no_key, _one_key, _bad_url, _bad_limit, _misspelled]
)
def test_an_emergency_stop_misses_no_workspace(
    fleet: FleetLine, spoil: Callable[[FleetLine], None]
) -> None:
    """A daemon runs one whose entry is wrong now; its labels still choose it."""
    spoil(fleet)
    paused = fleet.run("pause", "-l", "team=b")
    found = fleet.paused()
    resumed = fleet.run("resume", "-l", "team=b")

    assert (paused.code, resumed.code) == (0, 0)
    assert found == {"bolt", "corp"}
    assert fleet.paused() == set()
    assert "corp" in paused.out


def test_the_only_one_that_is_meant_may_have_a_bad_entry(fleet: FleetLine) -> None:
    """It is paused, rather than not to be found."""
    fleet.key("acme").unlink()

    assert fleet.run("pause", "-l", "team=a").code == 0
    assert fleet.paused() == {"acme"}


@pytest.mark.parametrize(
    "labels",
    [
        "lables: {team: b}",
        "labels: {team: 7}",
        "labels: [b]",
        "labels: {team: a}, labels: {team: b}",
        "<<: {labels: {team: b}}",
        "yes: {team: b}",
        "? {labels: x} : {team: b}",
    ],
)
def test_one_that_may_be_meant_is_paused_but_not_resumed(
    fleet: FleetLine, labels: str
) -> None:
    """Where labels cannot be told, to stop is safe and to go on is not."""
    fleet.write(corp=f"name: corp, key: {{file: keys/corp}}, {labels}")
    paused = fleet.run("pause", "-l", "team=b")
    found = fleet.paused()
    resumed = fleet.run("resume", "-l", "team=b")

    assert (paused.code, found) == (0, {"bolt", "corp"})
    assert "corp is included, since it may be meant: " in paused.err
    assert (resumed.code, fleet.paused()) == (78, {"corp"})
    assert "corp is left out: " in resumed.err


@pytest.mark.parametrize(
    "entry", ["name: Corp_1, labels: {team: b}", "labels: {team: b}"]
)
def test_names_that_cannot_be_read_are_told_of(fleet: FleetLine, entry: str) -> None:
    """What matches is paused, and the code says that it may not be all."""
    fleet.write(corp=f"{entry}, key: {{file: keys/corp}}")
    done = fleet.run("pause", "-l", "team=b")

    assert (done.code, fleet.paused()) == (78, {"bolt"})
    (line,) = done.err.splitlines()
    assert "triaged pause --all reaches them" in line


def test_a_file_that_cannot_be_read_is_told_of(fleet: FleetLine) -> None:
    """Also if nothing else has the label: that is no mistake of the user."""
    other = fleet.command.directory / "more.fleet.yaml"
    other.write_text("version: 1\nworkspaces: [")
    some = fleet.run("pause", "-l", "team=a")
    none = fleet.run("pause", "-l", "team=z")

    assert (some.code, none.code) == (78, 78)
    assert fleet.paused() == {"acme"}
    for done in (some, none):
        assert "triaged pause --all reaches them: " in done.err
        assert str(other) in done.err
    assert "no workspace in" in none.err


def test_what_is_left_out_of_a_report_is_said(fleet: FleetLine) -> None:
    """The ledger knows it, so the report has it; what is not known has a line."""
    fleet.key("corp").chmod(0o644)
    fleet.write(bolt="name: BOLT, key: {file: keys/bolt}, labels: [a]")
    status = fleet.run("status", "--all", "--format", "json")
    history = fleet.run("history", "--all", "--format", "json")
    labelled = fleet.run("history", "-l", "team=a")
    budget = fleet.run("budget", "--all", "--format", "json")

    assert list(status.json) == list(history.json) == ["acme", "corp"]
    assert (history.code, labelled.code) == (78, 78)
    for done in (status, history):
        corp, nameless = sorted(done.err.splitlines())
        assert corp.startswith("triaged: corp is known from the ledger alone: ")
        assert "chmod 600" in corp
        assert "without a readable name may be meant too; --workspace" in nameless
    assert list(budget.json) == ["acme"]
    assert "corp is left out: " in budget.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("history",),
        ("history", "--held"),
        ("veto", "t1"),
        ("veto", "--list"),
    ],
)
def test_a_name_is_enough_for_the_ledger(
    fleet: FleetLine, arguments: tuple[str, ...]
) -> None:
    """What it knows of a workspace does not depend on its key, nor on its entry."""
    good = fleet.run(*arguments, "--workspace", "corp")
    fleet.key("corp").unlink()
    bad = fleet.run(*arguments, "--workspace", "corp")
    (fleet.command.directory / "fleet.yaml").write_text("version: 1")
    lost = fleet.run(*arguments, "--workspace", "corp")
    unknown = fleet.run(*arguments, "--workspace", "corpp")

    assert good.code == bad.code == lost.code == (1 if arguments == ("status",) else 0)
    assert "corp is known from the ledger alone: " in bad.err
    assert unknown.code == 78


def test_no_call_is_made_with_a_key_of_somebody_else(fleet: FleetLine) -> None:
    """The key of the environment is not that of a workspace whose own is missing."""
    fleet.command.settings["TRIAGED_API_KEY"] = "wbk_other"
    with Ledger.open(fleet.place, workspace="corp") as ledger:
        seen = NewObservation(
            task_id="t1", rule="clutter", reason="testing", fingerprint="f"
        )
        ledger.observations.record([seen], at=T0)
    fleet.key("corp").unlink()
    done = fleet.run("history", "--agreement", "--workspace", "corp")

    assert done.code == 78
    assert "no API key" in done.err


def test_the_table_has_the_labels_that_can_be_read(fleet: FleetLine) -> None:
    """They choose its row too; a row without readable labels is told of."""
    fleet.key("corp").unlink()
    fleet.write(bolt="name: bolt, key: {file: keys/bolt}, labels: [b]")
    rows = {
        row["workspace"]: row
        for row in fleet.run("workspaces", "--format", "json").json
    }
    chosen = fleet.run("workspaces", "-l", "team=b", "--format", "json")

    assert rows["corp"]["labels"] == {"team": "b"}
    assert [row["workspace"] for row in chosen.json] == ["corp"]
    assert "left out, since their labels cannot be read: bolt" in chosen.err


def test_a_rule_is_demoted_wherever_it_is(fleet: FleetLine) -> None:
    """A workspace without it costs no other, and is named; promotion is for one."""
    (fleet.command.directory / "own.yaml").write_text(OTHER)
    fleet.write(
        acme=fleet.entries["acme"] + ", rules: [own.yaml]",
    )
    demoted = fleet.run("demote", "clutter", "--all")
    promoted = fleet.run("promote", "clutter", "--all")
    changes = {}
    for name in TEAMS:
        with Ledger.open(fleet.place, workspace=name) as ledger:
            changes[name] = len(ledger.rule_changes.changes())

    assert demoted.code == promoted.code == 2
    assert "triaged: acme: Invalid value for RULE: there is no rule" in demoted.err
    assert changes == {"acme": 0, "bolt": 1, "corp": 1}


def test_the_budget_of_each(fleet: FleetLine) -> None:
    """JSON has a value for each workspace."""
    fleet.write(bolt=fleet.entries["bolt"] + ", api_plan: pro")
    found = fleet.run("budget", "--all", "--format", "json")

    assert found.code == 0
    limits = {name: each["daily_limit"] for name, each in found.json.items()}
    assert limits == {"acme": 100, "bolt": 1000, "corp": 100}


def test_a_stop_of_all_names_the_daemons(fleet: FleetLine) -> None:
    """One of them, and how many there are."""
    since = FixedClock().now()
    lock = partial(make_daemon_lock, fleet.place, workspace="", since=since)
    none = fleet.run("pause", "--all")
    with lock():
        one = fleet.run("pause", "--all")
        with lock() if fleet.place.url else nullcontext():
            two = fleet.run("resume", "--all")

    daemon = f"process {os.getpid()} on {socket.gethostname()}"
    assert "all workspaces, ledger" in none.out
    assert "no daemon runs on it" in none.out
    assert f"used by the daemon, {daemon}" in one.out
    number = "2 daemons, one of them" if fleet.place.url else "the daemon,"
    assert f"used by {number} {daemon}" in two.out


def test_the_ledger_is_opened_once_for_many(fleet: FleetLine) -> None:
    """To open it takes longer than to pause; what shares it may not close it."""
    with shared_databases():
        with Ledger.open(fleet.place, workspace="acme") as acme:
            acme.vetoes.add("t1", at=T0)
        with Ledger.open(fleet.place, workspace="bolt") as bolt:
            assert bolt.vetoes.all() == []
        with Ledger.open(fleet.place, workspace="acme") as again:
            assert again.vetoes.task_ids() == {"t1"}
        ledgers = (acme, bolt, again)
        assert len({id(one._shared) for one in ledgers}) == 1  # noqa: SLF001
