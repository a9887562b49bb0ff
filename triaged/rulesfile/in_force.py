"""The current rules of files, for commands during which they may be edited."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from triaged.rulesfile.loader import CompiledRules, load_rules
from triaged.rulesfile.sources import fingerprint


class FollowedRules:
    """Returns the rules in force; reloads the files if one has changed.

    ``rules`` are those that the command loaded at its start; a file may have been
    changed or deleted since. Anything but a regular file (such as a pipe) can be read
    only once, and then none is followed.
    """

    def __init__(
        self, paths: Sequence[Path], rules: CompiledRules, now: Callable[[], datetime]
    ) -> None:
        self._paths = tuple(paths)
        self._rules = rules
        self._now = now
        self._is_followed = all(path.is_file() or not path.exists() for path in paths)

    def __call__(self) -> CompiledRules:
        """Return the rules in force.

        Raises:
            ConfigError: a file can no longer be used.
            RuleTestsFailed: a test in one fails.

        """
        sha256 = self._rules.ruleset.sha256
        if self._is_followed and fingerprint(*self._paths) != sha256:
            self._rules, _ = load_rules(*self._paths, now=self._now())
        return self._rules
