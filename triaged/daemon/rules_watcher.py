"""The rules in force: one way to load them, and nothing bad ever replaces them."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from triaged.errors import ConfigError, RuleTestsFailed
from triaged.rulesfile.loader import CompiledRules, LoadedRules, load_rules

# A complaint that was said once is overlooked; one that is said each minute is noise.
REJECTION_LOG_INTERVAL: Final = timedelta(minutes=10)

log = structlog.get_logger()


class RulesWatcher:
    """Holds the rules in force and watches their file by content.

    By content, because a ConfigMap changes under a symbolic link whose own time does
    not; twice, because an editor may be in the middle of writing.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_loaded: Callable[[CompiledRules], None],
        on_rejected: Callable[[], None],
    ) -> None:
        self._path = path
        self._on_loaded = on_loaded
        self._on_rejected = on_rejected
        self._rules: CompiledRules | None = None
        self._last_seen = ""
        self._last_tried = ""
        self._complained_at: datetime | None = None
        self.rejected: str | None = None

    @property
    def rules(self) -> CompiledRules:
        """Return the rules in force; ``begin`` has loaded them."""
        if self._rules is None:
            raise RuntimeError("no rules have been loaded yet")
        return self._rules

    def load_initial(self, *, now: datetime) -> LoadedRules:
        """Load the rules for the first time.

        Raises:
            ConfigError: the file cannot be used.
            RulesTestsFailed: a test in it fails.
        """
        rules, loaded = load_rules(self._path, now=now)
        self._activate(rules)
        return loaded

    def poll(self, *, now: datetime) -> None:
        """Reload when the file has changed and two looks in a row agree on it."""
        digest = self._digest()
        settled, self._last_seen = digest == self._last_seen, digest
        if settled and digest not in {self.rules.ruleset.sha256, self._last_tried}:
            self.reload(now=now)
        elif settled and digest == self.rules.ruleset.sha256 and self.rejected:
            # Put back as it was: what is on disk is what is in force again.
            self._activate(self.rules)
            log.info("rules.restored", sha256=digest)
        elif self._is_complaint_due(now):
            self._log_rejection(now)

    def reload(self, *, now: datetime) -> None:
        """Load the file; keep the rules in force if it is bad, and say so."""
        self._last_tried = self._digest()
        try:
            rules, _ = load_rules(self._path, now=now)
        except (ConfigError, RuleTestsFailed) as error:
            self.rejected = str(error)
            self._on_rejected()
            self._log_rejection(now)
            return
        self._activate(rules)
        log.info("rules.reloaded", sha256=rules.ruleset.sha256)

    def _activate(self, rules: CompiledRules) -> None:
        self._rules = rules
        self._last_tried = rules.ruleset.sha256
        self.rejected = None
        self._complained_at = None
        self._on_loaded(rules)

    def _is_complaint_due(self, now: datetime) -> bool:
        since = self._complained_at
        return since is not None and now - since >= REJECTION_LOG_INTERVAL

    def _log_rejection(self, now: datetime) -> None:
        self._complained_at = now
        problems = (self.rejected or "").splitlines()
        log.error("rules.rejected", file=str(self._path), problems=problems)

    def _digest(self) -> str:
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError as error:
            return f"unreadable: {error.strerror}"
