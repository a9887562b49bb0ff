"""The rules in force: good ones replace, bad ones are complained of until mended."""

from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.builders import T0
from triaged.daemon.rules_watcher import REJECTION_LOG_INTERVAL, RulesWatcher
from triaged.errors import ConfigError, RuleTestsFailed
from triaged.rulesfile.loader import CompiledRules

GOOD = """
version: 1
rules:
  - {name: clutter, match: {description: ^TEST}, dismiss: testing}
tests:
  - name: goes
    task: {type: contact_update, description: TEST}
    expect: {decision: dismiss}
"""
BETTER = GOOD + "# better\n"
BAD = "version: 1\nrules: []\n"
FAILING = GOOD.replace("decision: dismiss", "decision: leave")


class Watch:
    """A keeper, its file, and what it told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded: list[str] = []
        self.rejected = 0
        self.keeper = RulesWatcher(
            path, on_loaded=self._loaded, on_rejected=self._rejected
        )

    def _loaded(self, rules: CompiledRules) -> None:
        self.loaded.append(rules.source)

    def _rejected(self) -> None:
        self.rejected += 1

    def look(self, *, minutes: float = 0) -> list[str]:
        """Look twice and return the names of what was logged."""
        with capture_logs() as logs:
            self.keeper.poll(now=T0 + timedelta(minutes=minutes))
            self.keeper.poll(now=T0 + timedelta(minutes=minutes))
        return [event["event"] for event in logs]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    path = tmp_path / "rules.yaml"
    path.write_text(GOOD)
    watch = Watch(path)
    watch.keeper.load_initial(now=T0)
    return watch


def test_a_changed_file_is_taken_once(watch: Watch) -> None:
    """New content replaces the rules in force, and only once."""
    watch.path.write_text(BETTER)

    assert watch.look() == ["rules.reloaded"]
    assert watch.look() == []
    assert watch.loaded == [GOOD, BETTER]


def test_a_file_in_mid_write_is_not_read(watch: Watch) -> None:
    """Two looks have to agree, so half a file is never taken for a whole one."""
    watch.path.write_text(BAD)
    watch.keeper.poll(now=T0)
    watch.path.write_text(BETTER)

    assert watch.look() == ["rules.reloaded"]
    assert watch.rejected == 0


@pytest.mark.parametrize("bad", [BAD, FAILING, None])
def test_a_bad_file_never_replaces_a_good_one(watch: Watch, bad: str | None) -> None:
    """Wrong, failing its tests or gone: the complaint comes back until it is mended."""
    if bad is None:
        watch.path.unlink()
    else:
        watch.path.write_text(bad)
    later = REJECTION_LOG_INTERVAL / timedelta(minutes=1)

    assert watch.look() == ["rules.rejected"]
    assert watch.look(minutes=1) == []
    assert watch.look(minutes=later) == ["rules.rejected"]
    assert watch.keeper.rules.source == GOOD
    assert watch.keeper.rejected
    watch.path.write_text(GOOD)
    assert watch.look(minutes=later) == ["rules.restored"]
    assert watch.keeper.rejected is None


def test_a_bad_file_keeps_it_from_starting(tmp_path: Path) -> None:
    """At the start there is nothing to fall back on, so it is an error."""
    path = tmp_path / "rules.yaml"
    path.write_text(BAD)
    with pytest.raises(ConfigError):
        Watch(path).keeper.load_initial(now=T0)
    path.write_text(FAILING)
    with pytest.raises(RuleTestsFailed, match="goes"):
        Watch(path).keeper.load_initial(now=T0)
