"""The files of a fleet, and the settings that each workspace has by them."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import T0
from triaged.errors import Severity
from triaged.fleet.files import read_fleet_files
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import FleetWorkspace, LoadedFleet, settings_of
from triaged.quota import PLANS, QuotaSettings
from triaged.rulesfile.loader import load_rules
from triaged.settings import Settings, env_name, read_settings

RULES: Final = """version: 1
rules: [{name: NAME, match: {type: campaign_start}, leave: true}]
"""
CONTRACT: Final = """version: 1
defaults: {poll_interval: 5m, rules: [base.yaml], labels: {region: eu}, reserve: 0.1}
workspaces:
  - name: acme
    api_url: https://acme.example.com/api
    api_plan: pro
    rules: [base.yaml, acme.yaml]
    key: {file: keys/acme}
    labels: {tier: gold}
  - name: beta
    key: {env: BETA_KEY}
    rate_limit: 5/10s
    daily_limit: 100
    poll_interval: 1h
    reserve: 0
"""
ENVIRON: Final = {f"{name}_KEY": f"wbk_{name.lower()}" for name in ("BETA", "C", "D")}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with the files of two workspaces."""
    (tmp_path / "fleet.yaml").write_text(CONTRACT)
    (tmp_path / "base.yaml").write_text(RULES.replace("NAME", "base"))
    acme = RULES.replace("NAME", "acme").replace("campaign_start", "list_operation")
    (tmp_path / "acme.yaml").write_text(acme)
    (tmp_path / "keys").mkdir()
    write_key(tmp_path / "keys/acme", "wbk_acme")
    return tmp_path


def write_key(path: Path, key: str) -> None:
    path.write_text(f"{key}\n")
    path.chmod(0o600)


def fleet_of(directory: Path, **changes: str) -> LoadedFleet:
    return load_fleet(directory, ENVIRON | changes)


def messages(fleet: LoadedFleet) -> list[str]:
    return [problem.message for problem in fleet.problems]


def base_settings(**environ: str) -> Settings:
    given = {env_name(name): value for name, value in environ.items()}
    return read_settings({"HOME": "/home/lex"} | given, {})


def test_each_key_is_read(directory: Path) -> None:
    """What a workspace does not say is said by the defaults of its file."""
    acme, beta = fleet_of(directory).workspaces

    assert acme == FleetWorkspace(
        name="acme",
        rules=(directory / "base.yaml", directory / "acme.yaml"),
        key=acme.key,
        key_hash="",
        key_name=f"file {directory}/keys/acme",
        labels={"region": "eu", "tier": "gold"},
        api_url="https://acme.example.com/api",
        api_plan="pro",
        poll_interval=timedelta(minutes=5),
        reserve=0.1,
    )
    assert beta == FleetWorkspace(
        name="beta",
        rules=(directory / "base.yaml",),
        key=beta.key,
        key_hash="",
        key_name="env BETA_KEY",
        labels={"region": "eu"},
        daily_limit=100,
        rate_limit=(5, 10.0),
        poll_interval=timedelta(hours=1),
        reserve=0.0,
    )
    assert [acme.key.read().reveal(), beta.key.read().reveal()] == [
        "wbk_acme",
        "wbk_beta",
    ]
    assert (acme.file, acme.line) == (f"{directory}/fleet.yaml", 4)


def test_every_default_may_stand_in_a_workspace(directory: Path) -> None:
    """And the other way round: it makes no difference where a setting is written."""
    keys = (
        "{api_url: 'https://x.example', api_plan: org, daily_limit: 9,"
        " rate_limit: 5/1m, poll_interval: 9m, reserve: 0.3, rules: [base.yaml],"
        " key: {env: C_KEY}, labels: {a: b}"
    )
    path = directory / "fleet.yaml"
    path.write_text(f"version: 1\nworkspaces:\n  - {keys}, name: c}}\n")
    there = fleet_of(directory).workspaces
    path.write_text(f"version: 1\ndefaults: {keys}}}\nworkspaces: [{{name: c}}]\n")

    assert fleet_of(directory).workspaces == there
    assert len(there) == 1


def test_several_files_of_one_form(directory: Path) -> None:
    """Each has its own defaults; hidden files, such as those of editors, are none."""
    for name, interval in (("c", "7m"), ("d", "9m")):
        (directory / f"{name}.fleet.yaml").write_text(
            f"version: 1\ndefaults: {{rules: [base.yaml], poll_interval: {interval}}}\n"
            f"workspaces: [{{name: {name}, key: {{env: {name.upper()}_KEY}}}}]\n"
        )
    (directory / ".e.fleet.yaml").write_text("nonsense")
    fleet = fleet_of(directory)

    assert fleet.problems == ()
    assert {w.name: w.poll_interval for w in fleet.workspaces} == {
        "c": timedelta(minutes=7),
        "d": timedelta(minutes=9),
        "acme": timedelta(minutes=5),
        "beta": timedelta(hours=1),
    }


def test_a_bad_workspace_costs_itself_only(directory: Path) -> None:
    """The other one can be used, and the rejection names the bad one."""
    path = directory / "fleet.yaml"
    path.write_text(CONTRACT.replace("api_plan: pro", "api_plan: free"))
    fleet = fleet_of(directory)
    (rejection,) = fleet.rejections

    assert [w.name for w in fleet.workspaces] == ["beta"]
    assert (rejection.file, rejection.name) == (str(path), "acme")
    assert rejection.problems == fleet.errors
    assert fleet.rules == (
        (directory / "base.yaml", directory / "acme.yaml"),
        (directory / "base.yaml",),
    )


def test_a_bad_file_costs_itself_only(directory: Path) -> None:
    """It may have held any workspace, so the rejection names none."""
    (directory / "c.fleet.yaml").write_text("version: 1\nworkspaces: [\n")
    fleet = fleet_of(directory)
    (rejection,) = fleet.rejections

    assert [w.name for w in fleet.workspaces] == ["acme", "beta"]
    assert (rejection.file, rejection.name) == (f"{directory}/c.fleet.yaml", None)
    assert not any(rejection.may_concern(w) for w in fleet.workspaces)


def test_a_file_that_cannot_be_read(directory: Path) -> None:
    """It is rejected like one with mistakes in it."""
    (directory / "c.fleet.yaml").mkdir()
    fleet = fleet_of(directory)

    assert len(fleet.workspaces) == 2
    assert messages(fleet) == ["cannot be read: Is a directory"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """Nothing is known then, so the rejection may concern every workspace."""
    fleet = fleet_of(tmp_path / "none")

    assert fleet.workspaces == ()
    assert messages(fleet) == ["No such file or directory"]
    assert fleet.rejections[0].file is None
    assert str(fleet.problems[0]) == f"{tmp_path}/none: No such file or directory"


def test_what_is_like_a_fleet_file_is_warned_of(directory: Path) -> None:
    """A file that is silently not read is a workspace that silently does not run."""
    for name in (
        "acme.fleet.yml",
        "Fleet.yaml",
        "acme-fleet.yaml",
        "x.fleet.yaml.yaml",
    ):
        (directory / name).touch()
    (directory / "fleet-notes.txt").touch()

    assert [p.severity for p in fleet_of(directory).problems] == [Severity.WARNING] * 4


def test_one_key_in_two_files(directory: Path) -> None:
    """Links and copies are the same key, and it has one quota: both are refused."""
    (directory / "keys/link").symlink_to("acme")
    (directory / "c.fleet.yaml").write_text(
        "version: 1\nworkspaces:\n"
        "  - {name: c, key: {file: keys/link}, rules: [base.yaml]}\n"
    )
    fleet = fleet_of(directory)

    assert [w.name for w in fleet.workspaces] == ["beta"]
    assert {r.name for r in fleet.rejections} == {"acme", "c"}


def test_a_list_outside_is_not_reached_by_a_link(directory: Path) -> None:
    """A rules file stays in the directory, also through a symbolic link."""
    (directory / "acme.yaml").unlink()
    (directory / "acme.yaml").symlink_to(Path(__file__))

    assert messages(fleet_of(directory)) == [
        "rules file leads outside the directory of the fleet"
    ]


def test_what_a_rejected_workspace_waits_for(directory: Path) -> None:
    """Whoever watches the fleet learns which files may make it usable."""
    (directory / "acme.yaml").rename(directory / "later")
    fleet = fleet_of(directory)

    assert directory / "keys/acme" in fleet.awaited
    assert messages(fleet)[0].startswith("rules file cannot be read: No such file")


def test_the_fingerprint_is_that_of_names_and_content(directory: Path) -> None:
    """It changes with each fleet file, and with nothing else."""
    first = fleet_of(directory).fingerprint
    (directory / "base.yaml").write_text("")
    same = read_fleet_files(directory).fingerprint
    (directory / "fleet.yaml").rename(directory / "x.fleet.yaml")
    renamed = read_fleet_files(directory).fingerprint
    (directory / "x.fleet.yaml").write_text(f"{CONTRACT}#\n")

    assert same == first
    assert len({first, renamed, fleet_of(directory).fingerprint}) == 3


def test_no_key_is_shown(directory: Path) -> None:
    """Neither by a workspace nor by the whole fleet, whatever prints it."""
    fleet = fleet_of(directory)

    assert "wbk_" not in repr(fleet)


def test_settings_of_a_workspace(directory: Path) -> None:
    """The workspace's own, and those of the environment where it has none."""
    base = base_settings(poll_interval="7m", state_dir="/var/lib/t", fleet="/fleet")
    acme, beta = fleet_of(directory).workspaces
    found = settings_of(acme, base)

    assert found.workspace == "acme"
    assert found.rules == acme.rules
    assert found.labels == {"region": "eu", "tier": "gold"}
    assert found.key.read().reveal() == "wbk_acme"
    assert found.fleet is None
    assert found.state_dir == Path("/var/lib/t")
    assert found.poll_interval == timedelta(minutes=5)
    assert found.quota == QuotaSettings.for_plan("pro", reserve=0.1)
    assert settings_of(beta, base).api_url == base.api_url
    assert settings_of(beta, base).quota == QuotaSettings(
        minute_limit=5, minute_window=10.0, daily_limit=100, reserve=0.0
    )
    load_rules(*found.rules, now=T0)


_GIVEN: Final = st.fixed_dictionaries(
    {},
    optional={
        "api_plan": st.sampled_from(sorted(PLANS)),
        "daily_limit": st.integers(1, 10**6).map(str),
        "rate_limit": st.integers(1, 10**6).map(lambda n: f"{n}/1m"),
        "reserve": st.sampled_from(["0.1", "0.5"]),
        "poll_interval": st.sampled_from(["1m", "2h"]),
        "api_url": st.just("https://x.example/api"),
    },
)


@given(_GIVEN, _GIVEN)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_fleet_file_means_what_the_environment_means(
    directory: Path, own: Mapping[str, str], default: Mapping[str, str]
) -> None:
    """A workspace has the settings that the same words have as variables."""
    lines = "".join(f", {name}: {value}" for name, value in own.items())
    defaults = "".join(f", {name}: {value}" for name, value in default.items())
    (directory / "fleet.yaml").write_text(
        f"version: 1\ndefaults: {{rules: [base.yaml]{defaults}}}\n"
        f"workspaces: [{{name: c, key: {{env: C_KEY}}{lines}}}]\n"
    )
    fleet = fleet_of(directory)
    found = settings_of(fleet.workspaces[0], base_settings())
    by_environment = base_settings(**{**default, **own})

    assert fleet.problems == ()
    assert (found.quota, found.poll_interval, found.api_url) == (
        by_environment.quota,
        by_environment.poll_interval,
        by_environment.api_url,
    )


@given(_GIVEN)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_the_files_do_not_say_is_the_environments(
    directory: Path, environ: Mapping[str, str]
) -> None:
    """A workspace without settings has all of those that the environment gives."""
    (directory / "fleet.yaml").write_text(
        "version: 1\nworkspaces: [{name: c, key: {env: C_KEY}, rules: [base.yaml]}]\n"
    )
    base = base_settings(**environ)
    found = settings_of(fleet_of(directory).workspaces[0], base)

    assert (found.quota, found.poll_interval, found.api_url) == (
        base.quota,
        base.poll_interval,
        base.api_url,
    )


@given(st.binary(max_size=60), st.integers(0, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damaged_files_are_answered(directory: Path, piece: bytes, at: int) -> None:
    """Whatever a fleet file holds, the result is workspaces and problems."""
    data = CONTRACT.encode()
    (directory / "fleet.yaml").write_bytes(data[:at] + piece + data[at:])
    fleet = fleet_of(directory)

    assert fleet.workspaces or fleet.errors


def test_the_example_in_the_documentation_works(tmp_path: Path) -> None:
    """The fleet file that the how-to shows can be used as it is."""
    page = (Path(__file__).parents[2] / "docs/how-to/fleet-files.md").read_text()
    (tmp_path / "fleet.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    for name in ("base", "acme"):
        (tmp_path / f"{name}.yaml").write_text(RULES.replace("NAME", name))
    (tmp_path / "keys").mkdir()
    write_key(tmp_path / "keys/acme", "wbk_acme")
    fleet = fleet_of(tmp_path, GLOBEX_KEY="wbk_globex")

    assert fleet.problems == ()
    assert [w.name for w in fleet.workspaces] == ["acme", "globex"]


def test_a_config_map(directory: Path, tmp_path: Path) -> None:
    """A mount that is links into a directory of links is read like any other."""
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026")
    for name in ("fleet.yaml", "base.yaml", "acme.yaml"):
        (directory / name).rename(mount / "..2026" / name)
        (mount / name).symlink_to(Path("..data") / name)
    text = CONTRACT.replace("keys/acme", os.fspath(directory / "keys/acme"))
    (mount / "..2026/fleet.yaml").write_text(text)

    assert [w.name for w in fleet_of(mount).workspaces] == ["acme", "beta"]
