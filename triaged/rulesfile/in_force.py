"""The current rules of a file, for commands during which it may be edited."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from triaged.rulesfile.loader import CompiledRules, load_rules
from triaged.rulesfile.sources import fingerprint


class FollowedRules:
    """Returns the rules in force; reloads the file if it has changed.

    ``rules`` are those that the command loaded at its start; the file may have been
    changed or deleted since. Anything but a regular file (such as a pipe) can be read
    only once and is not followed.
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
            ConfigError: the file can no longer be used.
            RuleTestsFailed: a test in it fails.

        """
        if self._is_followed and fingerprint(self._path) != self._rules.ruleset.sha256:
            self._rules, _ = load_rules(self._path, now=self._now())
        return self._rules
