"""The reference's tables have all that the program has, and nothing else."""

import re
from collections.abc import Iterator
from typing import Final

from docs.generate import DOCS
from triaged.cli import COMMAND_MODULES
from triaged.daemon.fleet_metrics import FLEET_DEFINITIONS, LATENESS
from triaged.daemon.metrics import DEFINITIONS, HISTOGRAMS
from triaged.rules.duration import format_duration
from triaged.rules.rule import SafetyLimits
from triaged.settings import Settings, read_settings


def table(page: str) -> Iterator[list[str]]:
    """Return the cells of each row of a page's first table."""
    text = (DOCS / page).read_text()
    first = re.search(r"^\|(?:.+\n\|)+.+$", text, re.MULTILINE)
    assert first is not None
    for line in first[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_command_is_in_the_reference() -> None:
    """The command table has every command, and no other."""
    rows = list(table("reference/commands.md"))

    assert [code_in(row[0])[0] for row in rows] == list(COMMAND_MODULES)
    assert all(row[1] for row in rows)


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


def test_every_setting_is_in_the_reference() -> None:
    """The settings table has every variable that the program reads, and no other."""
    environment = RecordingEnvironment(**GIVEN)
    settings_from(environment)
    read = {name for name in environment.asked if name.startswith("TRIAGED_")}
    named = {code_in(row[0])[0] for row in table("reference/settings.md")}

    assert len(read) > 10
    assert named == read


def test_the_defaults_in_the_reference_are_the_defaults() -> None:
    """Setting a variable to the default that the table states changes nothing."""
    unset = settings_from(RecordingEnvironment(**GIVEN))
    stated = {
        code_in(name)[0]: value[1]
        for name, _, default, _ in table("reference/settings.md")
        if (value := re.fullmatch(r"`([^`]+)`", default))
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


def test_every_metric_is_in_the_reference() -> None:
    """The metrics table has every metric and its labels, and no other."""
    named = {
        code_in(name)[0]: set(code_in(labels))
        for name, _, labels, _ in table("reference/metrics.md")
    }

    assert named == exported()


def test_the_safety_limits_on_the_page_are_the_defaults() -> None:
    """The limits that the page on rules states are those of a file without any."""
    text = (DOCS / "explanation/rules.md").read_text()
    stated = dict(re.findall(r"^\| `(m\w+)` \| (\S+) \|", text, re.MULTILINE))
    limits = SafetyLimits()

    assert stated == {
        "max_dismissals_per_cycle": str(limits.max_dismissals_per_cycle),
        "max_dismissals_per_day": str(limits.max_dismissals_per_day),
        "max_share_of_pending": str(limits.max_share_of_pending),
        "min_age": format_duration(limits.min_age),
    }
