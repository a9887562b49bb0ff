"""The README's tables and samples agree with the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from triaged.cli import COMMAND_MODULES
from triaged.clock import SystemClock
from triaged.daemon.fleet_metrics import FLEET_DEFINITIONS, LATENESS
from triaged.daemon.metrics import DEFINITIONS, HISTOGRAMS
from triaged.rulesfile.loader import compile_rules, load_rules, parse
from triaged.rulesfile.loader import run_rule_tests as run_tests
from triaged.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_command_is_in_the_readme() -> None:
    """The command table has every command, and no other."""
    spans = [span for row in table("Commands") for span in code_in(row[0])]
    named = {span.removeprefix("triaged ").split()[0] for span in spans}

    assert named - {"--task", "--verify"} == set(COMMAND_MODULES)


def table(heading: str) -> Iterator[list[str]]:
    """Return the cells of each row of the first table below a heading."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in re.findall(r"^\| (`.+) \|$", section, re.MULTILINE):
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


class RecordingEnvironment(dict[str, str]):
    """An environment that records which of our variables are read."""

    def __init__(self, **given: str) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name, default)


def settings_from(environment: RecordingEnvironment) -> Settings:
    return read_settings(environment, {})


# Read together with this one, and of no effect without it.
GIVEN: Final = {"STATE_DIRECTORY": "/var/lib/triaged"}


def test_every_setting_is_in_the_readme() -> None:
    """The settings table has every variable that the program reads, and no other."""
    environment = RecordingEnvironment(**GIVEN)
    settings_from(environment)
    read = {name for name in environment.asked if name.startswith("TRIAGED_")}
    named = {name for row in table("Settings") for name in code_in(row[0])}

    assert len(read) > 10
    assert named == read


def test_the_defaults_in_the_readme_are_the_defaults() -> None:
    """Setting a variable to the default that the table states changes nothing."""
    unset = settings_from(RecordingEnvironment(**GIVEN))
    stated = {
        name: default[1]
        for names, defaults, _ in table("Settings")
        for name, text in zip(code_in(names), defaults.split(";"), strict=False)
        if (default := re.fullmatch(r"`([^`]+)`(?: \(.*\))?", text.strip()))
    }
    changed = {
        name
        for name, default in stated.items()
        if settings_from(RecordingEnvironment(**GIVEN, **{name: default})) != unset
    }

    assert {"TRIAGED_API_URL", "TRIAGED_RETENTION", "TRIAGED_LOG_LEVEL"} <= set(stated)
    assert changed == set()


def exported() -> dict[str, set[str]]:
    """Return the labels, but for the workspace, of every metric that is exported."""
    every = (*DEFINITIONS, *HISTOGRAMS, *FLEET_DEFINITIONS, LATENESS)
    return {f"triaged_{each.name}": set(each.labels) for each in every}


def test_every_metric_is_in_the_readme() -> None:
    """The metrics table has every metric and its labels, and no other."""
    named = {
        code_in(name)[0]: set(code_in(labels)) for name, labels, _ in table("Metrics")
    }

    assert named == exported()


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
    """The README links to files that exist."""
    assert (ROOT / name).exists()
