"""The rules of a file as they are now, for commands that run while it may be edited."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from triaged.errors import ConfigError, Problem
from triaged.rulesfile.loader import CompiledRules, load_rules


class FollowedRules:
    """Returns the rules in force: those of the file, loaded again when it has changed.

    What is not a regular file (a pipe) can be read once only and is not followed.
    """

    def __init__(
        self, path: Path, rules: CompiledRules, now: Callable[[], datetime]
    ) -> None:
        self._path = path
        self._rules = rules
        self._now = now
        self._is_followed = path.is_file()
        self._seen = self._content() if self._is_followed else b""

    def __call__(self) -> CompiledRules:
        """Return the rules in force.

        Raises:
            ConfigError: the file cannot be used any more.
            RuleTestsFailed: a test in it fails.
        """
        if not self._is_followed:
            return self._rules
        content = self._content()
        if content != self._seen:
            self._rules, _ = load_rules(self._path, now=self._now())
            self._seen = content
        return self._rules

    def _content(self) -> bytes:
        try:
            return hashlib.sha256(self._path.read_bytes()).digest()
        except OSError as error:
            why = error.strerror or type(error).__name__
            problem = Problem(str(self._path), 0, 0, "", f"cannot be read: {why}")
            raise ConfigError([problem]) from error
