"""The workspaces in force: changes are taken, and what is bad replaces nothing."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.builders import T0
from triaged.daemon import fleet_watcher
from triaged.daemon.file_looks import REJECTION_LOG_INTERVAL
from triaged.daemon.fleet_watcher import FleetWatcher
from triaged.errors import ConfigError, Problem
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import (
    FleetChanges,
    FleetWorkspace,
    LoadedFleet,
    Rejection,
    changes_between,
    keep_last_good,
)
from triaged.leadlex.api_key import KeySource

RULES: Final = """version: 1
rules: [{name: NAME, match: {type: campaign_start}, leave: true}]
"""
ENVIRON: Final = {f"{name}_KEY": f"wbk_{name}" for name in ("ACME", "BETA", "GAMMA")}


def entry(name: str, more: str = "") -> str:
    return f"  - {{name: {name}, key: {{env: {name.upper()}_KEY}}{more}}}\n"


def fleet(*entries: str) -> str:
    head = "version: 1\ndefaults: {rules: [base.yaml]}\nworkspaces:\n"
    return head + "".join(entries)


GOOD: Final = fleet(entry("acme"), entry("beta"))
LATER: Final = REJECTION_LOG_INTERVAL / timedelta(minutes=1)


class Watch:
    """A watcher, its directory, and what it logged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = dict(ENVIRON)
        self.watcher = FleetWatcher(directory, self.environ)
        self.logs: list[Any] = []

    def write(self, text: str, name: str = "fleet.yaml") -> None:
        (self.directory / name).write_text(text)

    def look(self, *, minutes: float = 0) -> tuple[list[str], list[str], list[str]]:
        """Look twice and return the names of what was added, changed and removed."""
        now = T0 + timedelta(minutes=minutes)
        with capture_logs() as logs:
            first = self.watcher.poll(now=now)
            changes = self.watcher.poll(now=now)
        self.logs = [event["event"] for event in logs]
        self.events = logs
        return names(first or changes)

    @property
    def running(self) -> list[str]:
        return sorted(self.watcher.workspaces)


def names(changes: FleetChanges) -> tuple[list[str], list[str], list[str]]:
    added, changed, removed = (
        [workspace.name for workspace in some]
        for some in (changes.added, changes.changed, changes.removed)
    )
    return added, changed, removed


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    watch = Watch(tmp_path)
    watch.write(GOOD)
    for name in ("base", "acme"):
        watch.write(RULES.replace("NAME", name), f"{name}.yaml")
    watch.watcher.load_initial(now=T0)
    return watch


def test_all_workspaces_are_added_at_first(watch: Watch) -> None:
    """At the start each usable workspace is new, and the next looks change nothing."""
    changes = FleetWatcher(watch.directory, ENVIRON).load_initial(now=T0)

    assert names(changes) == (["acme", "beta"], [], [])
    assert watch.look() == ([], [], [])
    assert watch.logs == []


def test_a_fleet_without_a_usable_workspace_does_not_start(tmp_path: Path) -> None:
    """There is nothing to fall back on, so it is an error with every problem."""
    (tmp_path / "fleet.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match="rules file cannot be read") as caught:
        FleetWatcher(tmp_path, ENVIRON).load_initial(now=T0)

    assert len(caught.value.problems) == 1


def test_what_changed_is_told(watch: Watch) -> None:
    """Who is new, who has other settings and who is gone; the others are not named."""
    watch.write(fleet(entry("acme", ", reserve: 0.5"), entry("gamma")))

    assert watch.look() == (["gamma"], ["acme"], ["beta"])
    assert watch.logs == ["fleet.reloaded"]
    assert watch.running == ["acme", "gamma"]
    assert watch.look() == ([], [], [])


def test_a_comment_or_another_place_is_no_change(watch: Watch) -> None:
    """A workspace in another file with the same settings goes on as it is."""
    watch.write("# comment\n" + fleet(entry("beta")))
    watch.write(fleet(entry("acme")), "acme.fleet.yaml")

    assert watch.look() == ([], [], [])
    assert watch.logs == []


def test_a_file_in_mid_write_is_not_read(watch: Watch) -> None:
    """Two looks have to agree, so half a file is never taken for a whole one."""
    watch.write(fleet(entry("acme")))
    watch.watcher.poll(now=T0)
    watch.write(GOOD + entry("gamma"))

    assert watch.look() == (["gamma"], [], [])


def test_a_file_that_changes_while_it_is_loaded(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written between the looks and the end of loading is not used."""

    def write_more(directory: Path, environ: Mapping[str, str]) -> LoadedFleet:
        loaded = load_fleet(directory, environ)
        watch.write(GOOD + entry("gamma"))
        return loaded

    watch.write(fleet(entry("acme")))
    monkeypatch.setattr(fleet_watcher, "load_fleet", write_more)
    assert watch.look() == ([], [], [])
    monkeypatch.setattr(fleet_watcher, "load_fleet", load_fleet)

    assert watch.look() == (["gamma"], [], [])


def test_a_file_that_changes_while_it_is_loaded_at_first(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next looks find the change."""
    watch.watcher = FleetWatcher(watch.directory, ENVIRON)

    def write_more(directory: Path, environ: Mapping[str, str]) -> LoadedFleet:
        loaded = load_fleet(directory, environ)
        watch.write(GOOD + entry("gamma"))
        return loaded

    monkeypatch.setattr(fleet_watcher, "load_fleet", write_more)
    watch.watcher.load_initial(now=T0)
    monkeypatch.setattr(fleet_watcher, "load_fleet", load_fleet)

    assert watch.look() == (["gamma"], [], [])


@pytest.mark.parametrize(
    "bad",
    [
        fleet(entry("acme", ", reserve: 2"), entry("beta", ", reserve: 0.1")),
        fleet(entry("acme", ", rules: [none.yaml]"), entry("beta", ", reserve: 0.1")),
        fleet(entry("acme", ", key: wbk_x"), entry("beta", ", reserve: 0.1")),
        fleet(entry("acme"), entry("acme"), entry("beta", ", reserve: 0.1")),
        fleet(
            "  - {name: ACME, key: {env: ACME_KEY}}\n", entry("beta", ", reserve: 0.1")
        ),
        fleet("  - acme\n", entry("beta", ", reserve: 0.1")),
    ],
    ids=["value", "rules", "key", "twice", "name", "no mapping"],
)
def test_a_bad_entry_keeps_its_last_good_form(watch: Watch, bad: str) -> None:
    """It costs itself only, and the complaint is repeated until it is fixed."""
    before = watch.watcher.workspaces["acme"]
    watch.write(bad)

    assert watch.look() == ([], ["beta"], [])
    assert set(watch.logs) == {"fleet.rejected", "fleet.reloaded"}
    assert watch.watcher.workspaces["acme"] is before
    assert [workspace.name for workspace in watch.watcher.kept] == ["acme"]
    assert watch.events[0]["kept"] == 1
    assert watch.look(minutes=1) == ([], [], [])
    assert watch.logs == []
    watch.look(minutes=LATER)
    assert set(watch.logs) == {"fleet.rejected"}
    watch.write(GOOD)
    assert watch.look(minutes=LATER) == ([], ["beta"], [])
    assert watch.logs == ["fleet.restored", "fleet.reloaded"]
    watch.look(minutes=3 * LATER)
    assert watch.logs == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("version: 1\nworkspaces: [\n"),
        lambda path: path.write_text(""),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: path.write_text(GOOD.replace("[base.yaml]", "7")),
    ],
    ids=["yaml", "empty", "unreadable", "defaults"],
)
def test_a_bad_file_keeps_its_workspaces(
    watch: Watch, damage: Callable[[Path], None]
) -> None:
    """Any of them may be meant, so each goes on; those of other files are untouched."""
    watch.write(fleet(entry("gamma")), "gamma.fleet.yaml")
    assert watch.look() == (["gamma"], [], [])
    damage(watch.directory / "fleet.yaml")
    watch.write(fleet(entry("gamma", ", reserve: 0")), "gamma.fleet.yaml")

    assert watch.look() == ([], ["gamma"], [])
    assert watch.running == ["acme", "beta", "gamma"]


@pytest.mark.parametrize(
    ("bad", "concerned"),
    [
        ("", ["acme", "beta"]),
        ("version: 1\0", ["acme", "beta"]),
        (None, ["acme", "beta", "gamma"]),
        (GOOD + "  - nonsense\n", ["acme", "beta"]),
        (
            fleet(entry("acme", ", api_url: 'http://x.example'"), entry("beta")),
            ["acme"],
        ),
        (fleet(entry("acme", ", rules: [none.yaml]"), entry("beta")), ["acme"]),
        (fleet(entry("acme"), entry("acme"), entry("beta")), ["acme"]),
        (
            fleet(entry("acme"), "  - {name: beta, key: {env: ACME_KEY}}\n"),
            ["acme", "beta"],
        ),
    ],
    ids=["empty", "nul", "gone", "entry", "url", "rules", "name", "key"],
)
def test_what_is_not_in_force_is_known_by_name(
    watch: Watch, bad: str | None, concerned: list[str]
) -> None:
    """Each workspace that may be meant is told, with file, line and column."""
    watch.write(fleet(entry("gamma")), "gamma.fleet.yaml")
    watch.look()
    before = watch.watcher.not_in_force()
    if bad is None:
        for path in watch.directory.glob("*fleet.yaml"):
            path.unlink()
    else:
        watch.write(bad)
    watch.look()
    told = watch.watcher.not_in_force()
    logged = [line for each in watch.events for line in each.get("problems", ())]

    assert before == dict.fromkeys(["acme", "beta", "gamma"])
    assert sorted(name for name, problem in told.items() if problem) == concerned
    assert logged
    for line in [*logged, *(told[name] for name in concerned)]:
        assert bad is None or re.match(r".*fleet\.yaml:\d+:\d+: \S", str(line))


def test_a_new_file_that_is_wrong_concerns_all(watch: Watch) -> None:
    """It is not known whom it describes, and somebody has to be told."""
    watch.write("version: 7\n", "new.fleet.yaml")
    watch.look()

    assert all(
        "new.fleet.yaml" in str(p) for p in watch.watcher.not_in_force().values()
    )
    assert len(watch.watcher.not_in_force()) == 2


def test_a_file_that_is_deleted_ends_its_workspaces(watch: Watch) -> None:
    """Deleting a file is how its workspaces are removed."""
    watch.write(fleet(entry("gamma")), "gamma.fleet.yaml")
    watch.look()
    (watch.directory / "gamma.fleet.yaml").unlink()

    assert watch.look() == ([], [], ["gamma"])


def test_a_directory_that_is_gone_ends_nothing(watch: Watch) -> None:
    """It may be a mount that comes back, so all workspaces go on."""
    (watch.directory / "fleet.yaml").unlink()

    assert watch.look() == ([], [], [])
    assert watch.logs == ["fleet.rejected"]
    assert watch.running == ["acme", "beta"]


def test_other_rules_must_load_before_they_are_given(watch: Watch) -> None:
    """A workspace whose new rules are bad keeps the old ones until they are fixed."""
    watch.write("version: 1\nrules: []\n", "acme.yaml")
    both = ", rules: [base.yaml, acme.yaml]"
    watch.write(fleet(entry("acme", both), entry("beta")))

    assert watch.look() == ([], [], [])
    assert watch.logs == ["fleet.rejected"]
    assert "acme.yaml:2:8" in watch.events[0]["problems"][0]
    assert len(watch.watcher.workspaces["acme"].rules) == 1
    watch.write(RULES.replace("NAME", "base"), "acme.yaml")
    watch.look()
    assert watch.logs == ["fleet.rejected"]
    acme = RULES.replace("NAME", "acme").replace("campaign_start", "list_operation")
    watch.write(acme, "acme.yaml")
    assert watch.look() == ([], ["acme"], [])
    assert watch.logs == ["fleet.restored", "fleet.reloaded"]


def test_a_file_that_was_awaited_is_noticed(watch: Watch) -> None:
    """A key or rules file that comes later makes its workspace start."""
    keyed = "  - {name: gamma, key: {file: gamma.key}}\n"
    watch.write(GOOD + keyed)
    assert watch.look() == ([], [], [])
    key = watch.directory / "gamma.key"
    key.write_text("wbk_gamma")
    key.chmod(0o644)
    watch.look()
    assert watch.logs == ["fleet.rejected"]
    key.chmod(0o600)

    assert watch.look() == (["gamma"], [], [])
    assert watch.logs == ["fleet.restored", "fleet.reloaded"]


def test_what_cannot_be_watched_is_tried_again(watch: Watch) -> None:
    """Whatever else ends a rejection is found when it would be repeated."""
    del watch.environ["GAMMA_KEY"]
    watch.write(GOOD + entry("gamma"))
    watch.look()
    assert watch.logs == ["fleet.rejected"]
    watch.environ["GAMMA_KEY"] = "wbk_gamma"
    assert watch.look() == ([], [], [])

    assert watch.look(minutes=LATER) == (["gamma"], [], [])


def test_a_name_that_moves_with_its_key_is_one_workspace(watch: Watch) -> None:
    """A kept workspace never runs beside another with its key."""
    renamed = "  - {name: acme2, key: {env: ACME_KEY}}\n"
    watch.write(fleet(renamed, entry("beta"), "  - nonsense\n"))

    assert watch.look() == (["acme2"], [], ["acme"])


@pytest.mark.anyio
async def test_a_reload_on_request_is_always_answered(watch: Watch) -> None:
    """It waits for whole files, and says so also when nothing has changed."""
    steps = iter(["version: 1\nwork", GOOD + "#", None, None])

    async def write_on(_: float) -> None:
        text = next(steps)
        if text is not None:
            watch.write(text)

    with capture_logs() as logs:
        changes = await watch.watcher.reload(now=T0, pause=write_on)

    assert not changes
    assert [event["event"] for event in logs] == ["fleet.reloaded"]


def test_a_config_map_is_swapped(tmp_path: Path) -> None:
    """Files behind a symbolic link that are replaced as a whole are picked up."""
    for name, text in (("one", GOOD), ("two", GOOD + entry("gamma"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fleet.yaml").write_text(text)
        (tmp_path / name / "base.yaml").write_text(RULES)
        os.utime(tmp_path / name / "fleet.yaml", (5, 5))
    (tmp_path / "..data").symlink_to("one")
    for name in ("fleet.yaml", "base.yaml"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    watch = Watch(tmp_path)
    watch.watcher.load_initial(now=T0)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "..data")

    assert watch.look() == (["gamma"], [], [])


def a_workspace(name: str, *, key: str, reserve: float, file: str) -> FleetWorkspace:
    return FleetWorkspace(
        name=name,
        rules=(),
        key=KeySource(),
        key_hash=key,
        key_name=f"env {key}",
        reserve=reserve,
        file=file,
    )


_NAMES: Final = st.sampled_from("abcd")
_WORKSPACES: Final = st.builds(
    a_workspace,
    _NAMES,
    key=st.sampled_from("1234"),
    reserve=st.sampled_from([0.1, 0.2]),
    file=st.sampled_from(["x", "y"]),
)
_PROBLEM: Final = Problem("x", 1, 1, "", "wrong")
_REJECTIONS: Final = st.builds(
    Rejection,
    file=st.sampled_from(["x", "y", None]),
    name=st.none() | _NAMES,
    problems=st.just((_PROBLEM,)),
)


def _distinct(some: list[FleetWorkspace]) -> dict[str, FleetWorkspace]:
    by_key = {workspace.key_hash: workspace for workspace in some}
    return {workspace.name: workspace for workspace in by_key.values()}


@given(
    st.lists(_WORKSPACES).map(_distinct),
    st.lists(_WORKSPACES).map(_distinct),
    st.lists(_REJECTIONS, max_size=3),
)
def test_what_a_reload_may_do(
    before: dict[str, FleetWorkspace],
    loaded: dict[str, FleetWorkspace],
    rejections: list[Rejection],
) -> None:
    """All that is good is in force, no key twice, and nothing ends for a mistake."""
    fleet = LoadedFleet(
        workspaces=tuple(loaded.values()),
        rejections=tuple(rejections),
        warnings=(),
        fingerprint="",
    )
    after = keep_last_good(before, fleet)
    changes = changes_between(before, after)
    keys = [workspace.key_hash for workspace in after.values()]

    assert loaded.items() <= after.items()
    assert after.items() <= (before | loaded).items()
    assert len(set(keys)) == len(keys)
    for workspace in changes.removed:
        is_replaced = workspace.key_hash in {w.key_hash for w in loaded.values()}
        assert is_replaced or not any(r.may_concern(workspace) for r in rejections)
    applied = {w.name: w for w in before.values() if w not in changes.removed}
    applied |= {w.name: w for w in (*changes.added, *changes.changed)}
    assert applied == after
