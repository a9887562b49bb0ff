"""The rules in force: one way to load them, and nothing bad ever replaces them."""

import stat
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from triaged.errors import ConfigError, RuleTestsFailed
from triaged.rulesfile.loader import CompiledRules, LoadedRules, load_rules
from triaged.rulesfile.sources import fingerprint

# A rejection logged once is overlooked; one logged each minute is noise.
REJECTION_LOG_INTERVAL: Final = timedelta(minutes=10)

# On SIGHUP: how soon after the first look the second one follows, and how many
# looks a file that goes on changing is given before the watch takes over.
RELOAD_LOOK_SECONDS: Final = 0.25
RELOAD_LOOKS: Final = 40

log = structlog.get_logger()


class _Look(NamedTuple):
    """A file as seen at one moment: its hash, or why it could not be read."""

    content: str = ""
    size: int = -1
    mtime_ns: int = 0


class RulesWatcher:
    """Holds the rules in force and watches their file.

    A file is loaded when two looks in a row see the same time, size and content, and
    a third one after loading still does: an editor may be in the middle of writing.
    The content counts because a ConfigMap changes under a symbolic link.  What is not
    a regular file, such as a pipe, can be read only once and is not watched.
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
        self._is_watched = True
        self._last_seen = _Look()
        self._in_force = ""
        self._last_tried = ""
        self._rejection_logged_at: datetime | None = None
        self.rejected: str | None = None

    @property
    def rules(self) -> CompiledRules:
        """Return the rules in force; ``load_initial`` has loaded them."""
        if self._rules is None:
            raise RuntimeError("no rules have been loaded yet")
        return self._rules

    def load_initial(self, *, now: datetime) -> LoadedRules:
        """Load the rules for the first time.

        Raises:
            ConfigError: the file cannot be used.
            RuleTestsFailed: a test in it fails.
        """
        self._is_watched = not _is_pipe(self._path)
        look = self._look()
        rules, loaded = load_rules(self._path, now=now)
        # Written meanwhile, the next looks find it changed.
        self._activate(rules, look)
        if not self._is_watched:
            log.warning("rules.not_watched", file=str(self._path))
        return loaded

    def poll(self, *, now: datetime) -> None:
        """Reload when the file has changed and two looks in a row agree on it."""
        if not self._is_watched:
            return
        look = self._look()
        is_stable, self._last_seen = look == self._last_seen, look
        if is_stable and look.content not in {self._in_force, self._last_tried}:
            self._load(look, now)
        elif is_stable and look.content == self._in_force and self.rejected:
            # Put back as it was: what is on disk is what is in force again.
            self._activate(self.rules, look)
            log.info("rules.restored", sha256=self.rules.ruleset.sha256)
        elif self._is_log_due(now):
            self._log_rejection(now)

    async def reload(
        self, *, now: datetime, pause: Callable[[float], Awaitable[None]]
    ) -> None:
        """Load the file on request, as soon as two looks in a row agree on it.

        A file that goes on changing is left to ``poll``.
        """
        if not self._is_watched:
            log.warning("rules.not_watched", file=str(self._path))
            return
        self._last_seen = self._look()
        for _ in range(RELOAD_LOOKS):
            await pause(RELOAD_LOOK_SECONDS)
            look = self._look()
            is_stable, self._last_seen = look == self._last_seen, look
            if is_stable and self._load(look, now):
                return

    def _load(self, look: _Look, now: datetime) -> bool:
        """Load the file; a bad one is refused, and the rules in force stay.

        Returns False when the file changed meanwhile: then nothing was decided.
        """
        try:
            rules, _ = load_rules(self._path, now=now)
        except (ConfigError, RuleTestsFailed) as error:
            if self._changed_since(look):
                return False
            self._last_tried = look.content
            self.rejected = str(error)
            self._on_rejected()
            self._log_rejection(now)
            return True
        if self._changed_since(look):
            return False
        # In force before it is logged: a reader of the line may rely on it.
        self._activate(rules, look)
        log.info("rules.reloaded", sha256=rules.ruleset.sha256)
        return True

    def _changed_since(self, look: _Look) -> bool:
        self._last_seen = self._look()
        return self._last_seen != look

    def _activate(self, rules: CompiledRules, look: _Look) -> None:
        self._rules = rules
        self._in_force = self._last_tried = look.content
        self.rejected = None
        self._rejection_logged_at = None
        self._on_loaded(rules)

    def _is_log_due(self, now: datetime) -> bool:
        since = self._rejection_logged_at
        return since is not None and abs(now - since) >= REJECTION_LOG_INTERVAL

    def _log_rejection(self, now: datetime) -> None:
        self._rejection_logged_at = now
        problems = (self.rejected or "").splitlines()
        log.error("rules.rejected", file=str(self._path), problems=problems)

    def _look(self) -> _Look:
        try:
            if _is_pipe(self._path):
                return _Look("not a regular file")
            seen = self._path.stat()
        except OSError as error:
            return _Look(f"unreadable: {error.strerror}")
        return _Look(fingerprint(self._path), seen.st_size, seen.st_mtime_ns)


def _is_pipe(path: Path) -> bool:
    """Return whether a path is there and is no regular file."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
