"""Which workspace of a fleet has which key, while key files change."""

from pathlib import Path

import pytest

from triaged.daemon.fleet_keys import FleetKeys
from triaged.errors import ConfigError
from triaged.fleet.loader import load_fleet
from triaged.leadlex.api_key import parse_key

A, B, NEW = "wbk_a", "wbk_b", "wbk_new"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(
        "version: 1\nrules: [{name: r, match: {description: x}, dismiss: testing}]\n"
    )
    lines = ["version: 1", "defaults: {rules: [rules.yaml]}", "workspaces:"]
    lines += [f"  - {{name: {name}, key: {{file: {name}.key}}}}" for name in "ab"]
    (tmp_path / "fleet.yaml").write_text("\n".join(lines))
    write_key(tmp_path, "a", A)
    write_key(tmp_path, "b", B)
    return tmp_path


@pytest.fixture
def keys(directory: Path) -> FleetKeys:
    keys = FleetKeys()
    follow(keys, directory)
    return keys


def write_key(directory: Path, name: str, key: str) -> None:
    file = directory / f"{name}.key"
    file.touch(mode=0o600)
    file.write_text(key)


def follow(keys: FleetKeys, directory: Path) -> None:
    loaded = load_fleet(directory, {})
    assert not loaded.errors
    keys.follow({workspace.name: workspace for workspace in loaded.workspaces})


def is_allowed(keys: FleetKeys, workspace: str, key: str) -> bool:
    try:
        keys.check(workspace, parse_key(key))
    except ConfigError as error:
        return key in str(error)  # which no message may show
    return True


def test_a_key_may_be_replaced(keys: FleetKeys) -> None:
    """A new one is used, and afterwards no other workspace may take it."""
    assert is_allowed(keys, "a", A)
    assert is_allowed(keys, "a", NEW)
    assert not is_allowed(keys, "b", NEW)
    assert is_allowed(keys, "b", B)


def test_a_key_in_use_is_no_other_workspaces(keys: FleetKeys, directory: Path) -> None:
    """Also if its owner has not run yet; what was replaced may be used again."""
    assert not is_allowed(keys, "b", A)
    write_key(directory, "a", NEW)
    assert is_allowed(keys, "a", NEW)
    assert is_allowed(keys, "b", A)


def test_a_key_in_another_file_is_that_workspaces(
    keys: FleetKeys, directory: Path
) -> None:
    """Whoever looks first: a key copied to two files is used by its owner at most."""
    write_key(directory, "a", NEW)

    assert not is_allowed(keys, "b", NEW)
    assert is_allowed(keys, "a", NEW)


def test_a_reload_forgets_no_key_in_use(keys: FleetKeys, directory: Path) -> None:
    """What a workspace uses stays its own, although its file holds another one."""
    assert is_allowed(keys, "a", NEW)
    write_key(directory, "a", "wbk_other")
    follow(keys, directory)

    assert not is_allowed(keys, "b", NEW)


def test_a_removed_workspace_has_no_key(keys: FleetKeys, directory: Path) -> None:
    """Its key may be given to another one."""
    fleet = directory / "fleet.yaml"
    fleet.write_text(fleet.read_text().replace("  - {name: a, key: {file: a.key}}", ""))
    follow(keys, directory)

    assert is_allowed(keys, "b", A)
