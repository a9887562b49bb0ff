"""The recipes of the documentation are rules files that are fit to be copied."""

from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from triaged.cli import app

RECIPES: Final = sorted((Path(__file__).parents[2] / "docs" / "recipes").glob("*.yaml"))


def test_there_are_ten() -> None:
    """What the documentation names is there."""
    assert {path.stem for path in RECIPES} == {
        "stale-searches",
        "duplicates-but-for-numbers",
        "near-duplicates",
        "test-clutter",
        "limit-too-big",
        "created-at-weekends",
        "client-from-a-list",
        "certain-campaign",
        "old-unless-board-or-partner",
        "empty-query",
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_is_clean(path: Path) -> None:
    """No warning, every test passes, and no condition can be lost unnoticed."""
    result = CliRunner().invoke(app, ["check", "--strict", "--mutate", str(path)])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_has_a_sentence(path: Path) -> None:
    """A lawyer can read what each rule does."""
    name = next(
        line.split("name: ")[1]
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("  - name: ")
    )

    result = CliRunner().invoke(app, ["check", "--explain-rule", name, str(path)])

    assert result.exit_code == 0, result.output
    assert result.output.startswith("Dismiss as ")
