"""The README says only what is so."""

import re
from pathlib import Path

import pytest

from triaged.cli import COMMAND_MODULES
from triaged.clock import SystemClock
from triaged.rulesfile.loader import compile_rules, load_rules, parse
from triaged.rulesfile.loader import run_rule_tests as run_tests

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_command_is_in_the_readme() -> None:
    """A command that exists is named, and a command that is named exists."""
    rows = re.findall(r"^\| `triaged (\w+).*?\|", README, re.MULTILINE)
    named = {*rows, "resume"} if "`triaged pause`, `resume`" in README else {*rows}

    assert named >= set(COMMAND_MODULES)
    assert named <= set(COMMAND_MODULES)


def test_the_rules_in_the_readme_work() -> None:
    """The README's rules load without a warning and their tests pass."""
    block = re.search(r"```yaml\n(.+?)```", README, re.DOTALL)
    assert block is not None
    loaded = parse(block[1].encode(), "README.md")
    report = run_tests(loaded, compile_rules(loaded), now=SystemClock().now())

    assert report.failures == ()
    assert loaded.warnings == ()
    assert report.passed == 5


def test_the_example_rules_are_clean() -> None:
    """rules.example.yaml loads without a warning and passes its own tests."""
    _, loaded = load_rules(ROOT / "rules.example.yaml", now=SystemClock().now())

    assert loaded.warnings == ()


@pytest.mark.parametrize("name", ["LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_files_that_the_readme_names_exist(name: str) -> None:
    """Whoever follows a link of the README arrives."""
    assert (ROOT / name).exists()
