"""The current rules of files, for commands during which they may be edited."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from triaged.rulesfile.being_written import wait_until_written
from triaged.rulesfile.loader import CompiledRules, LoadedRules, load_rules
from triaged.rulesfile.sources import fingerprint


def load_written_rules(
    *paths: Path, now: datetime
) -> tuple[CompiledRules, LoadedRules]:
    """Load rules files as ``load_rules`` does, but none that is being written.

    Raises:
        ConfigError: a file cannot be used, or keeps changing.
        RuleTestsFailed: a test in one fails.
    """
    wait_until_written(paths, now=now)
    return load_rules(*paths, now=now)


class FollowedRules:
    """Returns the rules in force; reloads the files if one has changed.

    Anything but a regular file (such as a pipe) can be read only once, and then none
    is followed.
    """

    def __init__(
        self, paths: Sequence[Path], rules: CompiledRules, now: Callable[[], datetime]
    ) -> None:
        self._paths = tuple(paths)
        self._rules = rules
        self._now = now
        self._is_followed = all(path.is_file() or not path.exists() for path in paths)

    def __call__(self) -> CompiledRules:
        """Return the rules in force; raises as ``load_rules`` does."""
        sha256 = self._rules.ruleset.sha256
        if self._is_followed and fingerprint(*self._paths) != sha256:
            self._rules, _ = load_written_rules(*self._paths, now=self._now())
        return self._rules
