"""The rules of a file as they are now, for commands that run while it may be edited."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from triaged.rulesfile.loader import CompiledRules, load_rules
from triaged.rulesfile.sources import fingerprint


class FollowedRules:
    """Returns the rules in force: those of the file, loaded again when it has changed.

    ``rules`` are those that the command loaded before, however long ago: the file may
    have changed or gone since.  What is not a regular file (a pipe) can be read once
    only and is not followed.
    """

    def __init__(
        self, path: Path, rules: CompiledRules, now: Callable[[], datetime]
    ) -> None:
        self._path = path
        self._rules = rules
        self._now = now
        self._is_followed = path.is_file() or not path.exists()

    def __call__(self) -> CompiledRules:
        """Return the rules in force.

        Raises:
            ConfigError: the file cannot be used any more.
            RuleTestsFailed: a test in it fails.
        """
        if self._is_followed and fingerprint(self._path) != self._rules.ruleset.sha256:
            self._rules, _ = load_rules(self._path, now=self._now())
        return self._rules
