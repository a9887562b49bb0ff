"""The rules in force: one way to load them, and nothing bad ever replaces them."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from triaged.errors import ConfigError, RulesTestsFailed
from triaged.rulesfile.loader import LoadedRules, Rules, load_rules

# A complaint that was said once is overlooked; one that is said each minute is noise.
COMPLAIN_EVERY: Final = timedelta(minutes=10)

log = structlog.get_logger()


class RulesKeeper:
    """Holds the rules in force and watches their file by content.

    By content, because a ConfigMap changes under a symbolic link whose own time does
    not; twice, because an editor may be in the middle of writing.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_loaded: Callable[[Rules], None],
        on_rejected: Callable[[], None],
    ) -> None:
        self._path = path
        self._on_loaded = on_loaded
        self._on_rejected = on_rejected
        self._rules: Rules | None = None
        self._seen = ""
        self._tried = ""
        self._complained_at: datetime | None = None
        self.rejected: str | None = None

    @property
    def rules(self) -> Rules:
        """Return the rules in force; ``begin`` has loaded them."""
        if self._rules is None:
            raise RuntimeError("no rules have been loaded yet")
        return self._rules

    def begin(self, *, now: datetime) -> LoadedRules:
        """Load the rules for the first time.

        Raises:
            ConfigError: the file cannot be used.
            RulesTestsFailed: a test in it fails.
        """
        rules, loaded = load_rules(self._path, now=now)
        self._take(rules)
        return loaded

    def look(self, *, now: datetime) -> None:
        """Reload when the file has changed and two looks in a row agree on it."""
        digest = self._digest()
        settled, self._seen = digest == self._seen, digest
        if settled and digest not in {self.rules.ruleset.sha256, self._tried}:
            self.reload(now=now)
        elif settled and digest == self.rules.ruleset.sha256 and self.rejected:
            # Put back as it was: what is on disk is what is in force again.
            self._take(self.rules)
            log.info("rules.restored", sha256=digest)
        elif self._is_complaint_due(now):
            self._complain(now)

    def reload(self, *, now: datetime) -> None:
        """Load the file; keep the rules in force if it is bad, and say so."""
        self._tried = self._digest()
        try:
            rules, _ = load_rules(self._path, now=now)
        except (ConfigError, RulesTestsFailed) as error:
            self.rejected = str(error)
            self._on_rejected()
            self._complain(now)
            return
        self._take(rules)
        log.info("rules.reloaded", sha256=rules.ruleset.sha256)

    def _take(self, rules: Rules) -> None:
        self._rules = rules
        self._tried = rules.ruleset.sha256
        self.rejected = None
        self._complained_at = None
        self._on_loaded(rules)

    def _is_complaint_due(self, now: datetime) -> bool:
        since = self._complained_at
        return since is not None and now - since >= COMPLAIN_EVERY

    def _complain(self, now: datetime) -> None:
        self._complained_at = now
        problems = (self.rejected or "").splitlines()
        log.error("rules.rejected", file=str(self._path), problems=problems)

    def _digest(self) -> str:
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError as error:
            return f"unreadable: {error.strerror}"
