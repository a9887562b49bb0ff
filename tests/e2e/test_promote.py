"""Promote and demote by hand: what they confirm is so, whatever came between."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.builders import T0
from tests.e2e.harness import a_listed, add
from tests.e2e.inprocess import CommandLine, FixedClock, settings_for
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.sandbox.settings import SandboxSettings

RULES: Final = r"""
version: 1
safety: {min_age: 0s, max_share_of_pending: 1.0}
rules:
- {name: clutter, match: {description: '^\[TEST\]'}, dismiss: testing}
"""
OTHER: Final = RULES.replace("TEST", "DRAFT")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def sandbox(clock: FixedClock) -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, clock) as running:
        yield running


@pytest.fixture
def line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: RunningSandbox,
    clock: FixedClock,
) -> CommandLine:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "other.yaml").write_text(OTHER)
    line = CommandLine(tmp_path, monkeypatch, clock, settings_for(sandbox.api_url))
    assert line.run("run", "--once").code == 0
    return line


def is_dismissed(line: CommandLine, sandbox: RunningSandbox) -> bool:
    """Return whether the next cycle dismisses what the rule matches."""
    add(sandbox, [a_listed("t1")])
    assert line.run("run", "--once").code in {0, 4}
    return sandbox.world.store.status_of("t1") == "dismissed"


@pytest.mark.parametrize(
    "step", [timedelta(hours=-1), timedelta(0), timedelta(hours=1)]
)
def test_the_last_change_counts_whatever_the_clock(
    line: CommandLine, sandbox: RunningSandbox, clock: FixedClock, step: timedelta
) -> None:
    """A clock that was set back does not let an earlier promotion win."""
    assert line.run("demote", "clutter").code == 0
    assert line.run("promote", "clutter").code == 0
    clock.at += step
    said = line.run("demote", "clutter")
    clock.at = T0 + timedelta(hours=2)

    assert said.out == "clutter only observes from now on; it dismisses nothing more.\n"
    assert not is_dismissed(line, sandbox)


@pytest.mark.parametrize("rules", ["other.yaml", "observing.yaml"])
def test_a_demotion_holds_for_the_rules_that_dismiss(
    line: CommandLine, sandbox: RunningSandbox, rules: str
) -> None:
    """A shell with another rules file, or one not loaded yet, demotes all the same."""
    observing = OTHER.replace("dismiss:", "mode: observe, dismiss:")
    (line.directory / "observing.yaml").write_text(observing)
    said = line.run("demote", "clutter", "--rules", rules)

    assert (said.code, said.out.split(";")[0]) == (
        0,
        "clutter only observes from now on",
    )
    assert not is_dismissed(line, sandbox)


def test_a_promotion_of_other_rules_is_told(line: CommandLine) -> None:
    """A rule that the daemon does not have cannot act from its next cycle on."""
    assert line.run("demote", "clutter", "--rules", "other.yaml").code == 0
    other = line.run("promote", "clutter", "--rules", "other.yaml")
    own = line.run("promote", "clutter")

    assert "the daemon's last cycle had another rule clutter" in other.err
    assert "another rule" not in own.err
