"""The rules in force: good ones replace, bad ones are logged until they are fixed."""

import os
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests.builders import T0
from triaged.daemon.file_looks import REJECTION_LOG_INTERVAL
from triaged.daemon.rules_watcher import RulesWatcher
from triaged.errors import ConfigError, RuleTestsFailed
from triaged.rulesfile.loader import load_rules

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
    """A watcher, its file, and what it reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded: list[str] = []
        self.watcher = RulesWatcher((path,), on_loaded=self._loaded)

    def _loaded(self) -> None:
        self.loaded.append(self.watcher.rules.source)

    def look(self, *, minutes: float = 0) -> list[str]:
        """Look twice and return the names of what was logged."""
        with capture_logs() as logs:
            self.watcher.poll(now=T0 + timedelta(minutes=minutes))
            self.watcher.poll(now=T0 + timedelta(minutes=minutes))
        return [event["event"] for event in logs]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    path = tmp_path / "rules.yaml"
    path.write_text(GOOD)
    watch = Watch(path)
    watch.watcher.load_initial(now=T0)
    return watch


def test_a_changed_file_is_taken_once(watch: Watch) -> None:
    """New content replaces the rules in force, and only once."""
    watch.path.write_text(BETTER)

    assert watch.look() == ["rules.reloaded"]
    assert watch.look() == []
    assert watch.loaded == [GOOD, BETTER]


def test_each_of_several_files_is_watched(tmp_path: Path) -> None:
    """A change of any reloads them all; one that is gone or bad keeps the old rules."""
    paths = (tmp_path / "base.yaml", tmp_path / "acme.yaml")
    other = GOOD.replace("name: clutter", "name: other").replace("TEST", "OTHER")
    for path, text in zip(paths, (GOOD, other), strict=True):
        path.write_text(text)
    loaded: list[str] = []
    watcher = RulesWatcher(paths, on_loaded=lambda: loaded.append("once"))

    def look() -> list[Any]:
        with capture_logs() as logs:
            watcher.poll(now=T0)
            watcher.poll(now=T0)
        return [event["event"] for event in logs]

    watcher.load_initial(now=T0)
    paths[1].write_text(f"{other}# better\n")
    assert look() == ["rules.reloaded"]
    paths[0].unlink()
    assert look() == ["rules.rejected"]
    assert [rule.name for rule in watcher.rules.ruleset.rules] == ["clutter", "other"]
    paths[0].write_text(GOOD)
    assert look() == ["rules.restored"]
    assert len(loaded) == 3


def test_a_file_in_mid_write_is_not_read(watch: Watch) -> None:
    """Two looks have to agree, so half a file is never taken for a whole one."""
    watch.path.write_text(BAD)
    watch.watcher.poll(now=T0)
    assert watch.watcher.rejected is None
    watch.path.write_text(BETTER)

    assert watch.look() == ["rules.reloaded"]


@pytest.mark.parametrize("bad", [BAD, FAILING, None])
def test_a_bad_file_never_replaces_a_good_one(watch: Watch, bad: str | None) -> None:
    """Wrong, failing its tests or gone: the complaint is repeated until it is fixed."""
    if bad is None:
        watch.path.unlink()
    else:
        watch.path.write_text(bad)
    later = REJECTION_LOG_INTERVAL / timedelta(minutes=1)

    assert watch.look() == ["rules.rejected"]
    assert watch.look(minutes=1) == []
    assert watch.look(minutes=later) == ["rules.rejected"]
    assert watch.watcher.rules.source == GOOD
    assert watch.watcher.rejected
    watch.path.write_text(GOOD)
    assert watch.look(minutes=later) == ["rules.restored"]
    assert watch.watcher.rejected is None


def test_a_bad_file_keeps_it_from_starting(tmp_path: Path) -> None:
    """At the start there is nothing to fall back on, so it is an error."""
    path = tmp_path / "rules.yaml"
    path.write_text(BAD)
    with pytest.raises(ConfigError):
        Watch(path).watcher.load_initial(now=T0)
    path.write_text(FAILING)
    with pytest.raises(RuleTestsFailed, match="goes"):
        Watch(path).watcher.load_initial(now=T0)


@pytest.mark.anyio
async def test_a_reload_waits_for_a_whole_file(watch: Watch) -> None:
    """On request, too, half a file is not loaded: two looks have to agree."""
    steps = iter([BAD, BAD + "#", BETTER, None, None])

    async def write_on(_: float) -> None:
        text = next(steps)
        if text is not None:
            watch.path.write_text(text)

    watch.path.write_text("version: 1\nru")
    with capture_logs() as logs:
        await watch.watcher.reload(now=T0, pause=write_on)

    assert [event["event"] for event in logs] == ["rules.reloaded"]
    assert watch.loaded == [GOOD, BETTER]
    assert watch.watcher.rejected is None


@pytest.mark.anyio
async def test_a_reload_of_the_same_file(watch: Watch) -> None:
    """A request is always answered, also when nothing has changed."""

    async def wait(_: float) -> None:
        pass

    with capture_logs() as logs:
        await watch.watcher.reload(now=T0, pause=wait)

    assert [event["event"] for event in logs] == ["rules.reloaded"]


def test_a_file_that_changes_while_it_is_loaded(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written between the looks and the end of loading is not decided on."""
    real = load_rules

    def write_more(path: Path, *, now: datetime) -> Any:
        path.write_text(BETTER)
        return real(path, now=now)

    watch.path.write_text(BAD)
    monkeypatch.setattr(watch.watcher, "_load_rules", write_more)
    assert watch.look() == []
    monkeypatch.setattr(watch.watcher, "_load_rules", real)

    assert watch.look() == ["rules.reloaded"]
    assert watch.watcher.rejected is None


def test_a_touched_file_counts_as_being_written(watch: Watch) -> None:
    """Equal content under another time is a file that somebody may be writing."""
    watch.path.write_text(BETTER)
    os.utime(watch.path, (1, 1))
    watch.watcher.poll(now=T0)
    os.utime(watch.path, (2, 2))
    watch.watcher.poll(now=T0)
    assert watch.loaded == [GOOD]
    watch.watcher.poll(now=T0)

    assert watch.loaded == [GOOD, BETTER]


def test_new_rules_are_in_force_before_it_is_logged(watch: Watch) -> None:
    """Whoever reads `rules.reloaded` may rely on the new rules."""
    in_force: list[str] = []

    def look(*_: object) -> Any:
        in_force.append(watch.watcher.rules.source)
        raise structlog.DropEvent

    structlog.configure(processors=[look])
    watch.path.write_text(BETTER)
    watch.watcher.poll(now=T0)
    watch.watcher.poll(now=T0)

    assert in_force == [BETTER]


def test_a_config_map_is_swapped(tmp_path: Path) -> None:
    """A file behind a symbolic link that is replaced as a whole is picked up."""
    for name, text in (("one", GOOD), ("two", BETTER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.yaml").write_text(text)
        os.utime(tmp_path / name / "rules.yaml", (5, 5))
    data = tmp_path / "..data"
    data.symlink_to("one")
    (tmp_path / "rules.yaml").symlink_to("..data/rules.yaml")
    watch = Watch(tmp_path / "rules.yaml")
    watch.watcher.load_initial(now=T0)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(data)

    assert watch.look() == ["rules.reloaded"]


@pytest.mark.anyio
async def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """What can be read only once is loaded, and then neither watched nor re-read."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(GOOD,))
    writer.start()
    watch = Watch(path)
    watch.watcher.load_initial(now=T0)
    writer.join(5)

    async def wait(_: float) -> None:
        raise AssertionError

    assert watch.look(minutes=60) == []
    await watch.watcher.reload(now=T0, pause=wait)
    assert watch.loaded == [GOOD]
    assert watch.watcher.rejected is None
