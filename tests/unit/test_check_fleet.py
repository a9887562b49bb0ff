"""``triaged check`` of a directory of fleet files."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from triaged.cli import app
from triaged.cli.check_result import MAX_REFUSED

FLEETS: Final = Path(__file__).parents[1] / "golden/commands"
KEYS: Final = {"ACME_KEY": "wbk_acme", "BETA_KEY": "wbk_beta"}


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return shutil.copytree(FLEETS / "fleet", tmp_path / "fleet")


def check(*arguments: str | Path, **environ: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        app, ["check", *map(str, arguments)], env={**KEYS, **environ}
    )
    return done.exit_code, done.stdout


def as_json(*arguments: str | Path, **environ: str) -> tuple[int, Any]:
    code, text = check(*arguments, "--format", "json", **environ)
    return code, json.loads(text)


def test_the_fleet_of_the_environment_is_checked(fleet: Path) -> None:
    """Without an argument, TRIAGED_FLEET or --fleet names what is checked."""
    by_argument = check(fleet)

    assert by_argument == (0, f"{fleet}: 2 usable workspaces, 7 of 7 tests passed\n")
    assert check(TRIAGED_FLEET=str(fleet)) == by_argument
    assert check("--fleet", fleet) == by_argument


def test_rules_that_are_named_go_before_the_fleet(fleet: Path) -> None:
    """An argument is what the person means now."""
    code, text = check(fleet / "base.yaml", TRIAGED_FLEET=str(fleet))

    assert (code, text) == (
        0,
        f"{fleet}/base.yaml: 1 rule, 3 of 3 tests passed\n",
    )


def test_a_fleet_that_is_not_there(tmp_path: Path) -> None:
    """A directory that is set but missing is no reason to check anything else."""
    code, text = check(TRIAGED_FLEET=str(tmp_path / "none"))

    assert code == 78
    assert f"{tmp_path}/none: No such file or directory" in text
    assert "triaged init" not in text


def test_a_fleet_file_is_no_rules_file(fleet: Path) -> None:
    """It is checked with its directory, which it refers to."""
    done = CliRunner().invoke(app, ["check", f"{fleet}/fleet.yaml"])

    assert done.exit_code == 2
    assert f"check its directory: triaged check {fleet}" in done.stderr


def test_a_warning_fails_only_if_strict(fleet: Path) -> None:
    """A file that is not read is warned of, and strict makes that an error."""
    (fleet / "gamma.fleet.yml").touch()

    assert check(fleet)[0] == 0
    assert check("--strict", fleet)[0] == 78


def test_a_problem_of_a_shared_file_is_told_once(fleet: Path) -> None:
    """Every workspace that uses the file is refused, for one reason."""
    base = fleet / "base.yaml"
    base.write_text(base.read_text().replace("dismiss: testing", "dismis: testing"))
    code, document = as_json(fleet)

    assert code == 78
    assert [p["file"] for p in document["problems"]] == [str(base)]
    assert document["workspaces"] == {"usable": [], "refused": ["acme", "beta"]}


def test_rules_of_refused_workspaces_are_checked_too(fleet: Path) -> None:
    """A missing key hides no mistake in the rules."""
    acme = fleet / "acme.yaml"
    acme.write_text(acme.read_text().replace("leave: true", "leave: false"))
    code, document = as_json(fleet, ACME_KEY="")

    assert code == 78
    assert [p["path"] for p in document["problems"]] == [
        "workspaces[0].key.env",
        "rules[0].leave",
    ]


def test_rules_of_a_fleet_are_explained(fleet: Path) -> None:
    """The first workspace that has the rule will do."""
    code, text = check("--explain-rule", "campaigns-are-for-people", fleet)

    assert code == 0
    assert "campaign_start" in text
    assert check("--explain-rule", "none", fleet)[0] == 2


def test_conditions_of_a_fleet_are_loosened(fleet: Path) -> None:
    """What no test of the whole notices is told with the files that form it."""
    base = fleet / "base.yaml"
    base.write_text(base.read_text().replace("]'}", "]', type: contact_update}"))
    code, document = as_json("--mutate", fleet)

    assert code == 0
    assert {p["file"] for p in document["problems"]} == {
        f"{fleet}/base.yaml",
        f"{fleet}/base.yaml + {fleet}/acme.yaml",
    }


def test_many_refused_workspaces_fit_on_a_screen(fleet: Path) -> None:
    """The first are named, the others counted."""
    entries = "".join(f"  - {{name: w{n}, key: {{env: NO_KEY}}}}\n" for n in range(30))
    path = fleet / "fleet.yaml"
    path.write_text(path.read_text() + entries)
    _, text = check(fleet)

    assert f"w{MAX_REFUSED - 1} and 10 more\n" in text
    assert text.splitlines()[-1] == (
        f"{fleet}: 2 usable workspaces, 30 refused, 7 of 7 tests passed, 30 errors"
    )
