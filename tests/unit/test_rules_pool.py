"""The rules of a fleet: loaded when needed, once for all who use the same."""

from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from tests.clocks import ManualClock
from triaged.daemon import rules_pool
from triaged.daemon.metrics import Metrics
from triaged.daemon.rules_pool import LOOK_SECONDS, RulesPool
from triaged.errors import ConfigError
from triaged.rulesfile.loader import load_rules
from triaged.rulesfile.sources import Fingerprints, fingerprint

RULES = """
version: 1
rules:
  - name: clutter
    mode: observe
    match: {description: '^TEST'}
    dismiss: testing
"""


class Pool:
    """A pool in a directory, and how often it loaded rules."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.pool = RulesPool(self.clock)
        self.loads = 0
        patch.setattr(rules_pool, "load_rules", self._load)

    def _load(self, *given: object, **named: object) -> object:
        self.loads += 1
        return load_rules(*given, **named)  # type: ignore[arg-type]

    def file(self, name: str, text: str = RULES) -> tuple[Path]:
        (self.directory / name).write_text(text)
        return (self.directory / name,)

    def look(self, seconds: float) -> None:
        """Let seconds pass as the daemon does."""
        for _ in range(int(seconds)):
            self.clock.advance(timedelta(seconds=1))
            self.pool.poll()


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    return Pool(tmp_path, monkeypatch)


def test_rules_are_shared(pool: Pool) -> None:
    """The same file, and another with the same content, are compiled once."""
    paths = pool.file("a.yaml")
    first = pool.pool.use(paths, "one", Metrics("one"))
    second = pool.pool.use(paths, "two", Metrics("two"))
    other = pool.pool.use(pool.file("b.yaml"), "three", Metrics("three"))

    assert first is second
    assert other.rules is first.rules
    assert pool.loads == 1


def test_a_change_reaches_all_users_in_time(pool: Pool) -> None:
    """Within 15 seconds the new rules are in force for everyone who uses the file."""
    paths = pool.file("a.yaml")
    shared = [pool.pool.use(paths, name, Metrics(name)) for name in ("one", "two")]
    before = shared[0].rules
    for number in range(9):
        pool.pool.use(pool.file(f"{number}.yaml", f"{RULES}# {number}\n"), "x", _none())
    pool.look(7)
    pool.file("a.yaml", RULES.replace("observe", "'off'"))
    pool.look(2 * LOOK_SECONDS + 1)

    assert shared[0].rules is shared[1].rules is not before


def test_a_file_that_cannot_be_used_costs_its_users(pool: Pool) -> None:
    """It is refused at each use until it is right; a later mistake is not in force."""
    paths = pool.file("a.yaml", "version: 2")
    metrics = Metrics("one")
    with pytest.raises(ConfigError):
        pool.pool.use(paths, "one", metrics)
    pool.file("a.yaml")
    shared = pool.pool.use(paths, "one", metrics)
    pool.file("a.yaml", "version: 2")
    pool.look(3 * LOOK_SECONDS)

    assert shared.rules.ruleset.rules[0].name == "clutter"
    assert shared.rejected is not None


def test_log_lines_name_the_files_and_no_workspace(pool: Pool) -> None:
    """Rules are shared, so what is wrong with them is no single workspace's."""
    paths = pool.file("a.yaml")
    contextvars = structlog.contextvars
    with structlog.testing.capture_logs([contextvars.merge_contextvars]) as logs:
        with contextvars.bound_contextvars(workspace="one", cycle="c"):
            pool.pool.use(paths, "one", Metrics("one"))
        pool.file("a.yaml", RULES.replace("observe", "'off'"))
        pool.look(3 * LOOK_SECONDS)
        pool.file("a.yaml", "version: 2")
        pool.look(3 * LOOK_SECONDS)
        pool.file("a.yaml", RULES.replace("observe", "'off'"))
        pool.look(3 * LOOK_SECONDS)

    assert list(dict.fromkeys(event["event"] for event in logs)) == [
        "rules.warning",
        "rules.reloaded",
        "rules.rejected",
        "rules.restored",
    ]
    for event in logs:
        assert event["file"] == str(paths[0])
        assert not {"workspace", "cycle"} & event.keys()


def test_what_none_uses_is_forgotten(pool: Pool) -> None:
    """Rules are kept as long as a workspace uses them."""
    paths = pool.file("a.yaml")
    pool.pool.use(paths, "one", Metrics("one"))
    pool.pool.use(paths, "two", Metrics("two"))
    pool.pool.release(paths, "one")
    pool.pool.release(paths, "two")
    pool.pool.release(paths, "two")
    pool.look(1)
    pool.pool.use(paths, "one", Metrics("one"))

    assert pool.loads == 2


def test_fingerprints_are_those_of_the_files(tmp_path: Path) -> None:
    """Whatever is remembered, a changed file or list has another fingerprint."""
    rules, words = tmp_path / "rules.yaml", tmp_path / "words.txt"
    of = Fingerprints()
    rules.write_text(RULES)
    later = rules.stat().st_ctime + 60
    for text in (RULES, RULES + "#", RULES + "#\n"):
        rules.write_text(text)
        for _ in range(2):
            assert of(rules, now=later) == fingerprint(rules)
    rules.write_text(RULES.replace("'^TEST'", "{words: {file: words.txt}}"))
    for text in ("acme", "initech"):
        words.write_text(text)
        assert of(rules, now=later) == fingerprint(rules)
    rules.unlink()
    assert of(rules, now=later) == fingerprint(rules)
    of.forget({words})


def _none() -> Metrics:
    return Metrics("x")
